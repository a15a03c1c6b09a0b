"""200 kills at random moments lose nothing: python Testing/soak/kills.py [--kills N] [--seed N]

SIGKILL, over and over, of `paranasal predict` of one scan, of a folder of scans, of one with `--jobs
2`, and of `paranasal prepare`, each of which goes on from what the killed call before has left. Every
second kill takes all processes of the call, the others only the first one, whose end the others have
to notice. After every kill each result
is whole (report, files, checksums) with the user's notes in it, or the older one waits to be put back;
after the last an undisturbed call ends with everything in place and nothing left behind. Registration
and networks are stand-ins.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

for _place in ("helpers", "soak"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _place))

from paranasal_training.data.store import CropStore  # noqa: E402
from paranasal_training.prepare import parallel, work  # noqa: E402
from paranasal_training.prepare.site import prepare  # noqa: E402
from reports import validate  # noqa: E402
from site_scans import by_hand, save_boxes, save_head, save_table  # noqa: E402
from soak_command import stand_in_command  # noqa: E402
from soak_scans import head  # noqa: E402

from ParanasalSSLLib import predict  # noqa: E402
from ParanasalSSLLib.boxes.placement import Placement  # noqa: E402
from ParanasalSSLLib.boxes.quality import Quality  # noqa: E402
from ParanasalSSLLib.files import sha256  # noqa: E402
from ParanasalSSLLib.results.older import read_object  # noqa: E402
from ParanasalSSLLib.scans.volume import write_volume  # noqa: E402

NOTE = "a user's note"
END_AT_LAST_S = 60.0  # for processes whose first one was killed


@dataclass(frozen=True)
class Run:
    """A command that is killed.

    start: in a process of its own; returns its exit status. check: what is wrong now, at any moment;
    with True, what is wrong after a call that was not disturbed. again: makes room for the next call
    where one has come to its end.
    """

    name: str
    start: Callable[[], int]
    check: Callable[[bool], Iterator[str]]
    again: Callable[[], None] = lambda: None


def result_faults(out: Path, name: str) -> Iterator[str]:
    """What is wrong with a result, or with the older one where that was moved aside."""
    there = [out / name] if (out / name).exists() else [*out.glob(f".{name}.*.old")]
    if len(there) != 1:
        yield f"{name}: {len(there)} results"
        return
    [folder] = there
    report = read_object(folder / f"{name}_report.json")
    if not report:
        yield f"{folder.name} has no report"
        return
    validate(report)
    for file, known in report["checksums"].items():
        if not (folder / file).is_file() or sha256(folder / file) != known:
            yield f"{folder.name}: {file} is missing or damaged"
    if not (folder / "notes.txt").is_file() or (folder / "notes.txt").read_text() != NOTE:
        yield f"{folder.name} lost the notes"


def predicting(place: Path, scans: int, jobs: int = 1) -> Run:
    """One scan, or a folder of several; results with notes are there from before."""
    inputs, out = place / "scans", place / "out"
    inputs.mkdir(parents=True)
    for number in range(scans):
        write_volume(head(np.random.default_rng(number)), inputs / f"{number}.nii.gz")
    before = {path: sha256(path) for path in inputs.iterdir()}
    source = inputs if scans > 1 else inputs / "0.nii.gz"
    names = [f"sub-{number:04d}" for number in range(1, scans + 1)]

    def start() -> int:
        with stand_in_command(jobs) as command:
            return command(source, out)[0]

    def check(undisturbed: bool) -> Iterator[str]:
        if {path: sha256(path) for path in inputs.iterdir()} != before:
            yield "an input was changed"
        for name in names:
            yield from result_faults(out, name)
        yield from others_in(out, names) if undisturbed else ()

    if in_child(start) != 0:
        raise RuntimeError("the first call failed")
    for name in names:
        (out / name / "notes.txt").write_text(NOTE)
    words = "one scan" if scans == 1 else "a folder of scans" + f", --jobs {jobs}" * (jobs > 1)
    return Run(f"predict, {words}", start, check)


def others_in(out: Path, names: list[str]) -> Iterator[str]:
    """What lies in an output folder beside the results and the tables of all."""
    tables = ("dataset_description.json", "index.html", "results.csv", "findings.csv")
    known = {*names, *tables}
    if left := sorted({path.name for path in out.iterdir()} - known):
        yield f"left behind: {left}"


def preparing(place: Path) -> Run:
    """A site of three patients; notes in the quality folder are there from before."""
    for number in range(3):
        save_head(place / f"scans/{number}.nii.gz", number)
        save_boxes(place / f"boxes/{number}.mrk.json")
    rows = [f"scans/{number}.nii.gz,P{number},{number % 2},0" for number in range(3)]
    table = save_table(place / "cohort.csv", "path,patient,left_label,right_label", *rows)
    crops, quality = place / "crops", place / "crops.quality"

    def one_by_one(jobs: list[work.ScanJob], _processes: int | None) -> Iterator[work.Outcome]:
        yield from map(work.do_scan, jobs)

    def start() -> int:
        lost = Placement({}, Quality("failed", ("No head.",)))
        with (
            patch.object(predict, "find_boxes", lambda _volume: lost),
            patch.object(parallel, "in_parallel", one_by_one),
        ):
            prepare(by_hand(table), crops)
        return 0

    def check(undisturbed: bool) -> Iterator[str]:
        if (crops.exists() or undisturbed) and len(CropStore.open(crops).table) != 6:
            yield "the store lacks crops"
        notes = [quality] if quality.exists() else [*place.glob(".crops.quality.*.old")]
        if [(folder / "notes.txt").read_text() for folder in notes] != [NOTE]:
            yield f"the notes are lost: {notes}"
        left = [path.name for path in place.glob(".*")]
        if undisturbed and left:
            yield f"left behind: {left}"

    def again() -> None:
        shutil.rmtree(crops, ignore_errors=True)

    if in_child(start) != 0:
        raise RuntimeError("the first call failed")
    (quality / "notes.txt").write_text(NOTE)
    again()
    return Run("prepare", start, check, again)


# ----------------------------------------------------------------------------------- killing


def in_child(
    start: Callable[[], int], kill_after: float | None = None, with_all: bool = True
) -> int:
    """Exit status of a call in a process of its own; -9 where it was killed in time.

    Returns once all processes have ended that it had started.

    Args:
        with_all: kill those too.

    Raises:
        TimeoutError: some live on.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        status = 99
        try:
            with silence():
                status = start()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        kill_all(child) if with_all else os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    wait_for_all(child)
    return status


def kill_all(group: int) -> None:
    """The processes of a group; its first one may have to make it a group yet."""
    os.kill(group, signal.SIGSTOP)  # it starts no others meanwhile
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    os.kill(group, signal.SIGKILL)


def wait_for_all(group: int) -> None:
    deadline = time.monotonic() + END_AT_LAST_S
    while alive := [one for one in Path("/proc").glob("[0-9]*/stat") if is_in(group, one)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes live on: {[one.parent.name for one in alive]}")
        time.sleep(0.02)


def is_in(group: int, stat: Path) -> bool:
    """Whether a process (its /proc/ID/stat) belongs to a group, and has not ended."""
    try:
        state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(its_group) == group and state != "Z"


@contextmanager
def silence() -> Iterator[None]:
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


def kill_often(run: Run, kills: int, rng: np.random.Generator) -> tuple[int, list[str]]:
    """Kills that hit a call, and what was wrong after any of them."""
    started = time.monotonic()
    faults = [] if in_child(run.start) == 0 else ["an undisturbed call failed"]
    longest = 1.1 * (time.monotonic() - started)
    run.again()
    hit = 0
    while hit < kills:
        status = in_child(run.start, float(rng.uniform(0, longest)), with_all=hit % 2 == 0)
        if status == -signal.SIGKILL:
            hit += 1
            faults += [f"{run.name}, kill {hit}: {fault}" for fault in run.check(False)]
        elif status != 0:
            faults.append(f"{run.name}: a call after a kill ended with {status}")
            break
        run.again()
    if in_child(run.start) != 0:
        faults.append(f"{run.name}: the last call failed")
    return hit, faults + [f"{run.name}, at the end: {fault}" for fault in run.check(True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    commands = ("scan", "folder", "jobs", "prepare")
    parser.add_argument("--only", nargs="+", choices=commands, default=commands)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        place = Path(name)
        runs = {
            "scan": lambda: predicting(place / "one", 1),
            "folder": lambda: predicting(place / "many", 2),
            "jobs": lambda: predicting(place / "parallel", 4, jobs=2),
            "prepare": lambda: preparing(place / "site"),
        }
        for command in given.only:
            share = -(-given.kills // len(given.only))
            run, started = runs[command](), time.monotonic()
            hit, found = kill_often(run, share, rng)
            faults += found
            taken = f"{time.monotonic() - started:.0f} s"
            print(f"{run.name}: {hit} kills, {len(found)} faults, {taken}", flush=True)
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
