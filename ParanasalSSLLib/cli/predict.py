"""`paranasal predict`: scores every scan of a call; a bad one is reported and the next one begun."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.cli.command import Call
from ParanasalSSLLib.cli.events import CallFailed, ScanDone, ScanFailed, StageBegun, Summary
from ParanasalSSLLib.cli.jobs import Job, check_ids, plan_jobs, settle
from ParanasalSSLLib.cli.views import JsonView, QuietView, TerminalView, View
from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig, Cancelled, ParanasalError, UnsafeOutput
from ParanasalSSLLib.progress import Progress, ProgressSink
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.older import refuse_unsafe_output

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.model.bundle import Bundle
    from ParanasalSSLLib.predict import FoundSinuses
    from ParanasalSSLLib.scans.source_series import SourceSeries

STOPPED = 130  # exit status
END_AT_LAST_S = 20


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Finds both maxillary sinuses in each scan, scores them and writes their results.

    Residual map, segmentation, boxes and reports go to OUTPUT/sub-0001, OUTPUT/sub-0002, ...; a scan
    that is scored again replaces its own result once the new one is complete, other results are left
    alone. Names of the inputs are printed, but not written. Exit status: 0 all scans were scored, 1
    one or more failed (the summary says which and why), 2 wrong usage. Research use only; this gives
    no diagnosis.
    """

    scans: list[Path]
    """NIfTI, NRRD or MetaImage file, folder of one DICOM series, or zip of one; one or more."""
    output: Path
    """Folder for the results."""
    device: DeviceName = "auto"
    """Where the networks run: cpu, cuda, mps, or a GPU if there is one (auto)."""
    model: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    boxes: list[Path] | None = None
    """File of boxes corrected by hand (.mrk.json of 3D Slicer, or .json), for one scan; give it twice
    for two files, Slicer saves each box in its own (unset: boxes are placed by registration).
    """
    keep_names: bool = False
    """Name results after the input files, which may hold patients' names (default: sub-0001 and so
    on; a number that another scan's result has is passed over).
    """
    id: list[str] | None = None
    """What to call the results of a scan, letters, digits, - and _, 64 at most; give it once for each
    scan, in their order (unset: sub-0001 and so on).
    """
    note: str | None = None
    """Sentence about the scans that the reports will show (unset: none)."""
    dicom_out: bool = False
    """For scans that are DICOM series also write a DICOM segmentation and a DICOM structured report
    (default: not). Unlike all other results they carry the patient's and the study's identity. Needs
    highdicom.
    """
    json_progress: bool = False
    """Print one JSON object per line on standard output and nothing else (default: a table)."""
    end_with_input: bool = False
    """Stop when standard input ends, with nothing left half-written: for programs that run this, so
    that it ends when they do (default: it does not matter).
    """

    def __post_init__(self) -> None:
        if self.boxes and len(self.scans) > 1:
            raise BadConfig("--boxes belongs to one scan: give one scan only")
        if not str(self.output).strip() or str(self.output) == ".":
            raise BadConfig("--output names no folder of its own")
        if self.output.exists() and not self.output.is_dir():
            raise BadConfig(f"--output {self.output} is a file; name a folder")
        if self.id is not None:
            check_ids(self.id, len(self.scans))
        if self.note is not None and any("\ud800" <= letter <= "\udfff" for letter in self.note):
            raise BadConfig("--note has letters that are no UTF-8: use a terminal in UTF-8")


def run_predict(config: PredictConfig, call: Call) -> int:
    """Score every scan; a bad one is reported and the next one begun. Returns the exit status."""
    if config.end_with_input:
        stop_with_input()
    jobs = plan_jobs(config.scans, config.keep_names, config.id)
    if not config.json_progress:
        view = QuietView() if call.quiet else TerminalView(len(jobs), config.dicom_out)
        return _run_jobs(jobs, config, view, call.debug)
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # whatever else is printed must not break the JSON lines
        return _run_jobs(jobs, config, JsonView(output), call.debug)


def _run_jobs(jobs: list[Job], config: PredictConfig, view: View, debug: bool) -> int:
    try:
        needs = _Needs.of(config, jobs)
        outcomes = [_run_job(job, config, needs, view, debug) for job in jobs]
    except _CallFailedError as error:
        view.show(CallFailed(type(error.reason).__name__, explain(error.reason)))
        if debug:
            traceback.print_exception(error.reason)
        return 1
    finally:
        view.close()
    failed = sum(isinstance(outcome, ScanFailed) for outcome in outcomes)
    status = 1 if failed else 0
    view.show(Summary(len(jobs) - failed, failed, str(config.output), status))
    return status


def _run_job(
    job: Job, config: PredictConfig, needs: _Needs, view: View, debug: bool
) -> ScanDone | ScanFailed:
    """Score and write one scan; every error but a stop becomes a `ScanFailed`."""
    outcome: ScanDone | ScanFailed
    started = time.perf_counter()
    try:
        found = _find(job, config, needs, view)
        job = _settled(job, config, needs, found)
        outcome = _finish(job, config, needs, view, found, started)
    except (_CallFailedError, Cancelled):
        raise
    except Exception as error:  # one bad scan, whatever is wrong with it, never stops the others
        if debug:
            traceback.print_exc()
        older, kind = (config.output / job.scan_id).exists(), type(error).__name__
        outcome = ScanFailed(**job.about(), error=kind, message=explain(error), older_result=older)
    view.show(outcome)
    return outcome


def _progress(job: Job, view: View) -> ProgressSink:
    def show(now: Progress) -> None:
        fraction = round(now.fraction, 3)
        view.show(StageBegun(**job.about(), stage=now.stage.value, fraction=fraction))

    return show


def _find(job: Job, config: PredictConfig, needs: _Needs, view: View) -> FoundSinuses:
    from ParanasalSSLLib.predict import find_sinuses

    return find_sinuses(job.source, needs.placement, _progress(job, view))


def _settled(job: Job, config: PredictConfig, needs: _Needs, found: FoundSinuses) -> Job:
    """The job under its final id. Raises `UnsafeOutput` where --id names another scan's result."""
    from ParanasalSSLLib.results.older import refuse_other_scan
    from ParanasalSSLLib.results.record import fingerprint

    sha256 = fingerprint(found.volume)
    if config.id is None:
        job = settle(job, config.output, sha256, needs.written)
    else:
        refuse_other_scan(ScanFiles.in_output(config.output, job.scan_id), sha256)
    needs.written.add(job.scan_id)
    return job


def _finish(
    job: Job,
    config: PredictConfig,
    needs: _Needs,
    view: View,
    found: FoundSinuses,
    started: float,
) -> ScanDone:
    from ParanasalSSLLib.predict import score_sinuses
    from ParanasalSSLLib.results.write import write_scan

    # Before scoring: a series that no DICOM file can refer to is refused early.
    series = _source_series(job.source, found) if config.dicom_out else None
    progress, bundle = _progress(job, view), needs.loader.bundle()
    result = score_sinuses(found, bundle, progress)

    def write(job: Job) -> ScanDone:
        folder = config.output / job.scan_id
        replaced = folder.exists()
        record = write_scan(
            result, bundle.card, config.output, job.scan_id, progress, config.note, series
        )
        seconds, report = round(time.perf_counter() - started, 2), record.to_json()
        return ScanDone(
            **job.about(), folder=str(folder), replaced=replaced, seconds=seconds, report=report
        )

    while True:
        try:
            return write(job)
        except UnsafeOutput:  # another process took the id meanwhile
            needs.written.discard(job.scan_id)
            settled = _settled(job, config, needs, found)
            if settled == job:
                raise
            job = settled


def stop_with_input() -> None:
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


def explain(error: Exception) -> str:
    """What a person can do about an error, in one sentence that names no place in the program."""
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


def load_model(model: Path | None, device: str) -> Bundle:
    """The bundle in the folder `model`, or the shipped one, on a device of `--device`."""
    from ParanasalSSLLib.devices import resolve_device
    from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path

    return load_bundle(model or shipped_bundle_path(), resolve_device(device))


@dataclass(frozen=True, eq=False)
class _Needs:
    """What all scans of a call need: the model, and the boxes that the user gives, if any.

    written: ids of the scans that this call has dealt with.
    """

    loader: BundleLoader
    placement: Placement | None = None
    written: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, config: PredictConfig, jobs: Sequence[Job]) -> _Needs:
        """Begin to load the model. Raises `_CallFailedError` for what is wrong, cheap checks first."""
        try:
            ids = [job.scan_id for job in jobs]
            refuse_unsafe_output(config.output, ids, config.scans)
            if config.dicom_out:
                _require_dicom()
            placement = _read_boxes(config.boxes) if config.boxes else None
            _check_model(config)
        except (ParanasalError, OSError) as error:
            raise _CallFailedError(error) from error
        return cls(BundleLoader(lambda: load_model(config.model, config.device)), placement)


def _check_model(config: PredictConfig) -> None:
    """A wrong model or device is told before a registration has been waited for."""
    from ParanasalSSLLib.devices import resolve_device
    from ParanasalSSLLib.model.bundle_folder import check_bundle

    if config.model is not None:
        check_bundle(config.model)
    if config.device not in ("auto", "cpu"):
        resolve_device(config.device)


def _read_boxes(paths: list[Path]) -> Placement:
    from ParanasalSSLLib.boxes.placement import read_placement

    return read_placement(*paths)


def _require_dicom() -> None:
    from ParanasalSSLLib.results.dicom import require_highdicom

    require_highdicom()


def _source_series(source: Path, found: FoundSinuses) -> SourceSeries | None:
    """What the DICOM files of a scan refer to; None for a scan that is no DICOM series."""
    if found.volume.provenance.format != "DICOM":
        return None
    from ParanasalSSLLib.scans.source_series import read_source_series

    return read_source_series(source)
