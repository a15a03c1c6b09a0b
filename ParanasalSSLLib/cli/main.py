"""The command `paranasal`: finds its sub-commands by entry points and turns errors into words.

Exit status: 0 all went well; 1 something failed (said on standard error); 2 wrong usage;
130 stopped by Ctrl-C. Nothing heavy is imported before a sub-command runs, so that `--help`
comes at once.
"""

from __future__ import annotations

import _thread
import argparse
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ParanasalSSLLib.errors import Cancelled, ParanasalError
from ParanasalSSLLib.progress import JsonLines, Progress, ProgressBar

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.model.bundle import Bundle
    from ParanasalSSLLib.predict import FoundSinuses
    from ParanasalSSLLib.results.write import ScanFiles
    from ParanasalSSLLib.scans.dicom import SourceSeries
    from ParanasalSSLLib.sinuses import Side

COMMANDS_GROUP = "paranasal.commands"
STOPPED = 130  # exit status
END_AT_LAST_S = 20

Subparsers = Any  # argparse's own type for it is private


# -------------------------------------------------------------------------------------- main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `paranasal` with `arguments` (default: the command line's); returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except ParanasalError as error:
        print(f"paranasal: {error}", file=sys.stderr)
        if getattr(args, "debug", False):
            traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        print("paranasal: stopped; what was complete is kept.", file=sys.stderr)
        return STOPPED


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command that is installed.

    A sub-command is an entry point of the group `paranasal.commands`: a function that takes the
    sub-parsers, adds its own, and sets `run` (arguments -> exit status) as its default. One whose
    requirements are not installed is left out, with a word at the end of the help.
    """
    parser = argparse.ArgumentParser(
        prog="paranasal",
        description="Finds anomalies of the maxillary sinuses in head MRI. Research use only.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    register_predict(subparsers)
    register_devices(subparsers)
    missing = []
    for point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda point: point.name):
        if point.name == "predict":  # registered above, so that it is there without installing
            continue
        try:
            point.load()(subparsers)
        except ImportError as error:
            missing.append(f"{point.name} (needs {error.name or error})")
    if missing:
        parser.epilog = "Not available here: " + ", ".join(missing) + "."
    return parser


class _ShowVersion(argparse.Action):
    """Reads the installed version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ParanasalSSLLib.results.write import software_version

        print(f"{parser.prog} {software_version()}")
        parser.exit()


# ----------------------------------------------------------------------------------- predict


def register_predict(subparsers: Subparsers) -> None:
    """Add `paranasal predict`."""
    parser = subparsers.add_parser(
        "predict",
        help="score the maxillary sinuses of head MRI scans",
        description=(
            "Finds both maxillary sinuses in each scan, scores them and writes residual map, "
            "segmentation, boxes and reports to OUT/sub-0001, OUT/sub-0002, ... in the order of "
            "the scans. An older result of the same name is replaced once the new one is "
            "complete. Names of the inputs are printed, but not written."
        ),
        epilog=(
            "Exit status: 0 all scans were scored, 1 one or more failed (the summary says which "
            "and why), 2 wrong usage. Research use only; this gives no diagnosis."
        ),
    )
    add = parser.add_argument
    add(
        "scans",
        nargs="+",
        type=Path,
        metavar="SCAN",
        help="NIfTI, NRRD or MetaImage file, folder of one DICOM series, or zip of one",
    )
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the networks run (default: auto, a GPU if there is one)",
    )
    add("--model", type=Path, metavar="FOLDER", help="model bundle (default: the shipped one)")
    add(
        "--boxes",
        type=Path,
        action="append",
        metavar="FILE",
        help=(
            "boxes corrected by hand (.mrk.json of 3D Slicer, or .json), for one SCAN; give it twice "
            "for two files, Slicer saves each box in its own"
        ),
    )
    add(
        "--keep-names",
        action="store_true",
        help="name results after the input files (which may hold patients' names)",
    )
    add(
        "--id",
        action="append",
        dest="ids",
        metavar="ID",
        help="what to call the results of a SCAN; give it once for each, in their order",
    )
    add("--note", metavar="TEXT", help="a sentence about the scans that the reports will show")
    add(
        "--dicom-out",
        action="store_true",
        help=(
            "for scans that are DICOM series also write a DICOM segmentation and a DICOM "
            "structured report; unlike all other results they carry the patient's and the study's "
            "identity (needs highdicom)"
        ),
    )
    add(
        "--json-progress",
        action="store_true",
        help="print one JSON object per line on standard output and nothing else",
    )
    add(
        "--end-with-input",
        action="store_true",
        help=(
            "stop when standard input ends, with nothing left half-written: for programs that run "
            "this, so that it ends when they do"
        ),
    )
    add("--debug", action="store_true", help="show the place in the program where an error arose")
    parser.set_defaults(run=run_predict, parser=parser)


def run_predict(args: argparse.Namespace) -> int:
    """Score every scan; a bad one is reported and the next one begun."""
    if args.boxes is not None and len(args.scans) > 1:
        args.parser.error("--boxes belongs to one scan: give one SCAN only")
    if args.out.exists() and not args.out.is_dir():
        args.parser.error(f"--out {args.out} is a file; name a folder")
    if args.end_with_input:
        _end_with_input()
    if args.ids is not None:
        _check_ids(args)
    jobs = plan_jobs(args.scans, args.keep_names, args.ids)
    if not args.json_progress:
        return _run_jobs(jobs, args, TerminalView(len(jobs), args.dicom_out))
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # whatever else is printed must not break the JSON lines
        return _run_jobs(jobs, args, JsonView(output))


def _end_with_input() -> None:
    """Do as Ctrl-C does when standard input ends: its other end was closed, or was killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been started deaf to it

    def wait() -> None:
        # Not through sys.stdin, whose lock a waiting thread would still hold at the normal end.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        _thread.interrupt_main()
        time.sleep(END_AT_LAST_S)  # in case that the main thread never comes out of a library
        os._exit(STOPPED)

    threading.Thread(target=wait, daemon=True, name="input").start()


@dataclass(frozen=True)
class Job:
    """One scan of the call: its place in the list (from 1), where it is, what it will be called."""

    number: int
    of: int
    source: Path
    scan_id: str


def _check_ids(args: argparse.Namespace) -> None:
    if len(args.ids) != len(args.scans):
        args.parser.error("give --id once for each SCAN")
    if len({name.casefold() for name in args.ids}) < len(args.ids):
        args.parser.error("two scans cannot have the same --id")
    for name in args.ids:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            args.parser.error(f"--id {name!r}: use letters, digits, - and _ only")


def plan_jobs(
    scans: Sequence[Path], keep_names: bool = False, ids: Sequence[str] | None = None
) -> list[Job]:
    """Give every scan a neutral id by its place in the list, or on request one from its name.

    ids: what the scans are to be called instead, in their order.
    """
    if ids is not None:
        pairs = zip(scans, ids, strict=True)
        return [Job(number, len(scans), *pair) for number, pair in enumerate(pairs, start=1)]
    jobs: list[Job] = []
    taken: set[str] = set()
    for number, source in enumerate(scans, start=1):
        scan_id = f"sub-{number:04d}"
        if keep_names:
            scan_id = _unused(_id_from_name(source) or scan_id, taken)
        taken.add(scan_id.casefold())
        jobs.append(Job(number, len(scans), source, scan_id))
    return jobs


def _id_from_name(source: Path) -> str | None:
    """`sub-01_ses-2` of a BIDS name, else `sub-` and the name's letters and digits."""
    name = source.resolve().name
    bids = re.match(r"sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?(?=[_.]|$)", name)
    if bids:
        return bids.group()
    stem = name if source.is_dir() else name.split(".")[0]
    label = re.sub(r"[^A-Za-z0-9]", "", stem)
    return f"sub-{label}" if label else None


def _unused(scan_id: str, taken: set[str]) -> str:
    candidate, copy = scan_id, 1
    while candidate.casefold() in taken:  # some file systems do not tell a from A
        copy += 1
        candidate = f"{scan_id}x{copy}"
    return candidate


class View(Protocol):
    """Shows what happens: a table for people or JSON lines for programs."""

    def begin(self, job: Job) -> None: ...
    def progress(self, progress: Progress, /) -> None: ...
    def done(self, job: Job, done: FinishedScan) -> None: ...
    def failed(self, job: Job, failure: FailedScan) -> None: ...
    def summary(
        self, out: Path, finished: list[FinishedScan], failed: list[FailedScan]
    ) -> None: ...
    def impossible(self, error: Exception) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class FinishedScan:
    """One scan that was scored: its files and the content of report.json."""

    job: Job
    files: ScanFiles
    report: dict[str, Any]
    replaced: bool
    seconds: float

    @property
    def lacking_dicom(self) -> str | None:
        """Why a DICOM file that was asked for is not there."""
        if "dicom_sr" not in self.report["files"]:
            return "no DICOM files, because this scan is no DICOM series."
        if "dicom_seg" not in self.report["files"]:
            return "no DICOM segmentation, because no voxel is marked; the DICOM report is there."
        return None


@dataclass(frozen=True, eq=False)
class FailedScan:
    """One scan that was not scored, and why. `kind` is the name of the error's class."""

    job: Job
    kind: str
    message: str
    older_result: bool


def _run_jobs(jobs: list[Job], args: argparse.Namespace, view: View) -> int:
    loader = BundleLoader(lambda: _load_bundle(args.model, args.device))
    finished: list[FinishedScan] = []
    failed: list[FailedScan] = []
    try:
        given = _read_boxes(args.boxes)
        if args.dicom_out:
            _require_dicom()
        for job in jobs:
            view.begin(job)
            outcome = _run_job(job, args, given, loader, view)
            if isinstance(outcome, FinishedScan):
                finished.append(outcome)
                view.done(job, outcome)
            else:
                failed.append(outcome)
                view.failed(job, outcome)
        view.summary(args.out, finished, failed)
    except _CallFailedError as error:
        view.impossible(error.reason)
        if args.debug:
            traceback.print_exception(error.reason)
        return 1
    finally:
        view.close()
    return 1 if failed else 0


def _run_job(
    job: Job, args: argparse.Namespace, given: Given, loader: BundleLoader, view: View
) -> FinishedScan | FailedScan:
    """Score and write one scan; every error but a stop becomes a `FailedScan`."""
    from ParanasalSSLLib.predict import find_sinuses, score_sinuses
    from ParanasalSSLLib.results.write import read_report, write_scan

    started = time.perf_counter()
    existed = (args.out / job.scan_id).exists()
    try:
        found = find_sinuses(job.source, given.boxes, view.progress, given.placed)
        # Before scoring: a series that no DICOM file can refer to is refused early.
        series = _source_series(job.source, found) if args.dicom_out else None
        bundle = loader.bundle()
        result = score_sinuses(found, bundle, view.progress)
        files = write_scan(
            result, bundle.card, args.out, job.scan_id, view.progress, args.note, series
        )
        return FinishedScan(
            job, files, read_report(files.report_json), existed, time.perf_counter() - started
        )
    except (_CallFailedError, Cancelled):
        raise
    except Exception as error:  # one bad scan, whatever is wrong with it, never stops the others
        if args.debug:
            traceback.print_exc()
        return FailedScan(job, type(error).__name__, _explain(error), existed)


def _explain(error: Exception) -> str:
    if isinstance(error, ParanasalError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this scan. Close other programs and try again."
    if isinstance(error, ImportError):
        return f"A part of the installation is missing ({error}). Install the project again."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})." if error.filename else f"{error.strerror}."
    text = str(error).strip().split("\n")[0]
    return (
        f"An unexpected problem ({type(error).__name__}{': ' if text else ''}{text}). "
        "Run it again with --debug and report what it prints."
    )


class _CallFailedError(Exception):
    """What all scans need (model, device, boxes) is not there."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class BundleLoader:
    """Loads the model beside the reading and registration of the first scan.

    Importing torch and monai takes about as long as the registration, which runs outside Python's
    global lock.
    """

    def __init__(self, load: Callable[[], Bundle]) -> None:
        # What the main thread needs meanwhile is imported first: two threads that import the same
        # packages in different orders may see them half-made.
        import ParanasalSSLLib.results.write  # noqa: F401

        self._load = load
        self._bundle: Bundle | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="bundle")
        self._thread.start()

    def bundle(self) -> Bundle:
        """Wait for the model. An error of it is no fault of the scan's."""
        self._thread.join()
        if self._error is not None:
            raise _CallFailedError(self._error)
        assert self._bundle is not None
        return self._bundle

    def _work(self) -> None:
        try:
            self._bundle = self._load()
        except Exception as error:
            self._error = error


def _load_bundle(model: Path | None, device: str) -> Bundle:
    from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path
    from ParanasalSSLLib.predict import resolve_device

    return load_bundle(model or shipped_bundle_path(), resolve_device(device))


@dataclass(frozen=True, eq=False)
class Given:
    """Boxes that the user gives, if any, and how well those that no hand has moved were placed."""

    boxes: Mapping[Side, SinusBox] | None = None
    placed: Quality | None = None


def _read_boxes(paths: list[Path] | None) -> Given:
    if paths is None:
        return Given()
    from ParanasalSSLLib.boxes.box import read_boxes
    from ParanasalSSLLib.boxes.quality import read_placed_quality

    try:
        return Given(read_boxes(*paths), read_placed_quality(paths[0]))
    except ParanasalError as error:
        raise _CallFailedError(error) from error


def _require_dicom() -> None:
    from ParanasalSSLLib.results.dicom_objects import require_highdicom

    try:
        require_highdicom()
    except ParanasalError as error:
        raise _CallFailedError(error) from error


def _source_series(source: Path, found: FoundSinuses) -> SourceSeries | None:
    """What the DICOM files of a scan refer to; None for a scan that is no DICOM series."""
    if found.volume.provenance.format != "DICOM":
        return None
    from ParanasalSSLLib.scans.dicom import read_source_series

    return read_source_series(source)


# ----------------------------------------------------------------------------------- devices


def register_devices(subparsers: Subparsers) -> None:
    """Add `paranasal devices`."""
    parser = subparsers.add_parser(
        "devices",
        help="list where the networks can run",
        description="Lists the devices that --device takes; `auto` takes the first.",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run_devices)


def run_devices(args: argparse.Namespace) -> int:
    """Print each device with what people call it."""
    from ParanasalSSLLib.predict import device_title, present_devices

    titles = {device: device_title(device) for device in present_devices()}
    if args.json:
        print(json.dumps({"devices": titles}))
    else:
        print("\n".join(f"{device:<5} {title}" for device, title in titles.items()))
    return 0


# ------------------------------------------------------------------------------------- views


class JsonView:
    """The call as JSON lines; the events are described in `progress.JsonLines`."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = JsonLines(stream)

    def begin(self, job: Job) -> None:
        self._lines.start(id=job.scan_id, scan=job.number, of=job.of, input=str(job.source))

    def progress(self, progress: Progress) -> None:
        self._lines(progress)

    def done(self, job: Job, done: FinishedScan) -> None:
        self._lines.scan_event(
            "scan_done",
            folder=str(done.files.folder),
            replaced=done.replaced,
            seconds=round(done.seconds, 2),
            report=done.report,
        )

    def failed(self, job: Job, failure: FailedScan) -> None:
        self._lines.scan_event(
            "scan_failed",
            error=failure.kind,
            message=failure.message,
            older_result=failure.older_result,
        )

    def summary(self, out: Path, finished: list[FinishedScan], failed: list[FailedScan]) -> None:
        self._lines.event(
            "summary",
            done=len(finished),
            failed=len(failed),
            out=str(out),
            exit_status=1 if failed else 0,
        )

    def impossible(self, error: Exception) -> None:
        self._lines.event(
            "failed", error=type(error).__name__, message=_explain(error), exit_status=1
        )

    def close(self) -> None:
        pass


@dataclass
class TerminalView:
    """A bar while it runs, then a table per scan and a summary."""

    scans: int
    dicom_wanted: bool = False
    _bar: ProgressBar = field(init=False)

    def __post_init__(self) -> None:
        self._bar = ProgressBar(self.scans)

    def begin(self, job: Job) -> None:
        self._bar.start(job.scan_id)

    def progress(self, progress: Progress) -> None:
        self._bar(progress)

    def done(self, job: Job, done: FinishedScan) -> None:
        self._bar.finish()
        print(f"\n{job.scan_id}  {job.source}")
        for line in result_table(done.report):
            print(f"  {line}")
        for reason in done.report["quality"]["reasons"]:
            print(f"  ! {reason}")
        how = "replaced" if done.replaced else "written to"
        print(f"  {how} {done.files.folder} ({done.seconds:.1f} s)", flush=True)

    def failed(self, job: Job, failure: FailedScan) -> None:
        self._bar.finish()
        print(f"\n{job.scan_id}  {job.source}\n  FAILED: {failure.message}", flush=True)

    def summary(self, out: Path, finished: list[FinishedScan], failed: list[FailedScan]) -> None:
        self._bar.close()
        print(f"\n{len(finished)} of {self.scans} {_plural(self.scans, 'scan')} scored.")
        for done in finished if self.dicom_wanted else []:
            if done.lacking_dicom:
                print(f"{done.job.scan_id}: {done.lacking_dicom}")
        if finished:
            _print_how_to_open(finished[-1])
        if failed:
            sys.stdout.flush()
            print("\n".join(_failure_lines(out, failed)), file=sys.stderr)

    def impossible(self, error: Exception) -> None:
        self._bar.close()
        print(f"paranasal: {_explain(error)}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def result_table(report: dict[str, Any]) -> list[str]:
    """The lines of a scan's small table: side, probability, decision, anomaly volume, quality."""
    lines = [f"{'side':<7}{'probability':>11}  {'decision':<9}{'anomaly volume':>14}  quality"]
    for side, sinus in report["sinuses"].items():
        lines.append(
            f"{side:<7}{sinus['probability']:>11.2f}  {sinus['decision']:<9}"
            f"{sinus['anomaly_ml']:>11.1f} ml  {report['quality']['verdict']}"
        )
    return lines


def _plural(number: int, word: str) -> str:
    return word if number == 1 else word + "s"


def _print_how_to_open(done: FinishedScan) -> None:
    files = done.files
    print(
        f"Look at it: open {files.report_html} in a browser.\n"
        f"In 3D Slicer: load {done.job.source} (Add data, or the DICOM module), then drag\n"
        f"  {files.segmentation.name},\n  {files.boxes.name} and\n  {files.residual_map.name}\n"
        f"from {files.folder} into its window."
    )
    for sentence in (*done.report["model"]["notices"], done.report["notice"]):
        print(f"Note: {sentence}")


def _failure_lines(out: Path, failed: list[FailedScan]) -> Iterable[str]:
    yield f"{len(failed)} {_plural(len(failed), 'scan')} failed:"
    for failure in failed:
        source = os.fspath(failure.job.source)
        prefix = "" if source in failure.message else f"{source}: "
        yield f"  {prefix}{failure.message}"
        if failure.older_result:
            yield f"    ({out / failure.job.scan_id} still holds an older result.)"


if __name__ == "__main__":
    sys.exit(main())
