"""2,000 hostile inputs from a seeded generator: python Testing/soak/soak.py [--cases N] [--seed N]

Each ends in a volume whose content lies where it lay, or in a refusal in words that names the input;
never in a traceback, a swapped side, a changed input or a file left behind. One in forty goes through
the whole command, with stand-ins for networks and registration: a result is whole or not there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

for _place in ("helpers", "soak"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _place))

from reports import validated  # noqa: E402
from soak_files import FILES  # noqa: E402
from soak_scans import Case, difference  # noqa: E402
from soak_series import SERIES  # noqa: E402

from ParanasalSSLLib.errors import ParanasalError  # noqa: E402
from ParanasalSSLLib.scans.read import read_volume  # noqa: E402

MAKERS = (*FILES, *SERIES)
WHOLE_COMMAND = 40  # each of so many cases
Command = Callable[
    [Path, Path], tuple[int, str]
]  # scan and output -> exit status and what it printed


@dataclass
class Figures:
    """What came of the cases."""

    read: int = 0
    refused: int = 0
    scored: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.read + self.refused} inputs of {len(self.kinds)} kinds: {self.read} read, each "
            f"voxel in its place; {self.refused} refused in words; {self.scored + self.failed} by the "
            f"whole command ({self.scored} scored, {self.failed} refused); {len(self.faults)} faults"
        )


def soak(numbers: range, seed: int, place: Path, command: Command | None = None) -> Figures:
    """Make and try the cases of these numbers below an empty folder `place`."""
    figures = Figures()
    for number in numbers:
        folder = place / f"{number:05d}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = MAKERS[int(rng.integers(len(MAKERS)))](folder, rng)
            figures.kinds[case.kind] += 1
            before = tree(place)
            faults = [*try_reading(case, figures)]
            if command and number % WHOLE_COMMAND == 0:
                faults += try_command(case, place / "out", command, figures)
        if tree(place) != before:
            faults.append("an input was changed, or a file left behind")
        figures.faults += [f"case {number} ({case.kind}): {fault}" for fault in faults]
        shutil.rmtree(os.fsencode(folder))
    return figures


def try_reading(case: Case, figures: Figures) -> Iterator[str]:
    try:
        volume = read_volume(case.path)
    except ParanasalError as error:
        figures.refused += 1
        if case.expect == "read":
            yield f"is refused: {error}"
        if str(case.path) not in str(error) or "Traceback" in str(error):
            yield f"says no name of the input: {error}"
        return
    except Exception:
        yield f"traceback: {traceback.format_exc()}"
        return
    figures.read += 1
    if case.expect == "refuse":
        yield "is read"
    if case.in_doubt and not volume.provenance.sides_in_doubt:
        yield "is read without a doubt"
    if case.truth is not None and (wrong := difference(volume, case.truth)):
        yield wrong


def try_command(case: Case, out: Path, command: Command, figures: Figures) -> Iterator[str]:
    status, printed = command(case.path, out)
    if status not in (0, 1) or re.search("Traceback|unexpected problem", printed):
        yield f"status {status}: {printed}"
    reports = validated(out) if out.exists() else {}
    if status == 0 and not reports:  # several from a folder of several series
        yield "status 0, but no result"
    for name, report in reports.items():
        there = {path.name for path in (out / name).iterdir()}
        if len(there) != 1 + len(report["checksums"]) or not there > report["checksums"].keys():
            yield f"a result of {sorted(there)}"
    if left := [p.name for p in out.glob(".*")]:
        yield f"left behind: {left}"
    figures.scored += status == 0
    figures.failed += status != 0
    shutil.rmtree(out, ignore_errors=True)


def tree(folder: Path) -> set[tuple[bytes, int, int]]:
    """All entries below a folder; of files with size and time."""
    found = set()
    for here, folders, names in os.walk(os.fsencode(folder)):
        for name in (*folders, *names):
            status = os.lstat(path := os.path.join(here, name))
            known = (0, 0) if os.path.isdir(path) else (status.st_size, status.st_mtime_ns)
            found.add((path, *known))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    from soak_command import stand_in_command

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name, stand_in_command() as command:
        place = Path(name)
        os.environ["TMPDIR"] = tempfile.tempdir = str(place / "tmp")
        (place / "tmp").mkdir()
        figures = soak(range(given.first, given.first + given.cases), given.seed, place, command)
        tempfile.tempdir = None
    for fault in figures.faults:
        print(fault)
    print(f"seed {given.seed}: {figures}; {time.monotonic() - started:.0f} s")
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
