"""`paranasal predict`: scores every scan of a call; a bad one is reported and the next one begun."""

from __future__ import annotations

import _thread
import argparse
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ParanasalSSLLib.cli.events import CallFailed, ScanDone, ScanFailed, StageBegun, Summary
from ParanasalSSLLib.cli.jobs import Job, plan_jobs
from ParanasalSSLLib.cli.views import JsonView, TerminalView, View
from ParanasalSSLLib.errors import Cancelled, ParanasalError
from ParanasalSSLLib.progress import Progress

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.model.bundle import Bundle
    from ParanasalSSLLib.predict import FoundSinuses
    from ParanasalSSLLib.scans.source_series import SourceSeries

STOPPED = 130  # exit status
END_AT_LAST_S = 20


def register_predict(subparsers: Any) -> None:
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
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the results")
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
    if args.output.exists() and not args.output.is_dir():
        args.parser.error(f"--output {args.output} is a file; name a folder")
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


def _run_jobs(jobs: list[Job], args: argparse.Namespace, view: View) -> int:
    try:
        return _score_all(jobs, args, view)
    except _CallFailedError as error:
        view.show(CallFailed(type(error.reason).__name__, _explain(error.reason)))
        if args.debug:
            traceback.print_exception(error.reason)
        return 1
    finally:
        view.close()


def _score_all(jobs: list[Job], args: argparse.Namespace, view: View) -> int:
    loader = BundleLoader(lambda: _load_bundle(args.model, args.device))
    given = _read_boxes(args.boxes)
    if args.dicom_out:
        _require_dicom()
    done = 0
    for job in jobs:
        outcome = _run_job(job, args, given, loader, view)
        done += isinstance(outcome, ScanDone)
        view.show(outcome)
    failed = len(jobs) - done
    status = 1 if failed else 0
    view.show(Summary(done, failed, str(args.output), status))
    return status


def _run_job(
    job: Job, args: argparse.Namespace, given: Placement | None, loader: BundleLoader, view: View
) -> ScanDone | ScanFailed:
    """Score and write one scan; every error but a stop becomes a `ScanFailed`."""
    from ParanasalSSLLib.predict import find_sinuses, score_sinuses
    from ParanasalSSLLib.results.write import read_report, write_scan

    def progress(progress: Progress) -> None:
        view.show(StageBegun(**about, stage=progress.stage.value, fraction=progress.fraction))

    started = time.perf_counter()
    about = job.about()
    existed = (args.output / job.scan_id).exists()
    try:
        found = find_sinuses(job.source, given, progress)
        # Before scoring: a series that no DICOM file can refer to is refused early.
        series = _source_series(job.source, found) if args.dicom_out else None
        bundle = loader.bundle()
        result = score_sinuses(found, bundle, progress)
        files = write_scan(
            result, bundle.card, args.output, job.scan_id, progress, args.note, series
        )
        seconds = round(time.perf_counter() - started, 2)
        report = read_report(files.report_json)
        return ScanDone(
            **about, folder=str(files.folder), replaced=existed, seconds=seconds, report=report
        )
    except (_CallFailedError, Cancelled):
        raise
    except Exception as error:  # one bad scan, whatever is wrong with it, never stops the others
        if args.debug:
            traceback.print_exc()
        return ScanFailed(
            **about, error=type(error).__name__, message=_explain(error), older_result=existed
        )


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


def _check_ids(args: argparse.Namespace) -> None:
    if len(args.ids) != len(args.scans):
        args.parser.error("give --id once for each SCAN")
    if len({name.casefold() for name in args.ids}) < len(args.ids):
        args.parser.error("two scans cannot have the same --id")
    for name in args.ids:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            args.parser.error(f"--id {name!r}: use letters, digits, - and _ only")


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

    Importing torch takes about as long as the registration, which runs outside Python's
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
    from ParanasalSSLLib.devices import resolve_device
    from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path

    return load_bundle(model or shipped_bundle_path(), resolve_device(device))


def _read_boxes(paths: list[Path] | None) -> Placement | None:
    if paths is None:
        return None
    from ParanasalSSLLib.boxes.placement import read_placement

    try:
        return read_placement(*paths)
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
    from ParanasalSSLLib.scans.source_series import read_source_series

    return read_source_series(source)
