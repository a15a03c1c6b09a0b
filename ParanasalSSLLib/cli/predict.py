"""`paranasal predict`: scores every scan of a call; a bad one is reported and the next one begun."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.cli.command import Call
from ParanasalSSLLib.cli.events import CallFailed, ScanDone, ScanLeftOut, Summary
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.jobs import Job, Settled, check_ids, plan_jobs
from ParanasalSSLLib.cli.key import KeyFile, refuse_key
from ParanasalSSLLib.cli.needs import (
    BundleLoader,
    CallFailedError,
    Needs,
    check_model,
    read_boxes,
    require_dicom,
)
from ParanasalSSLLib.cli.pool import default_processes, score_in_parallel
from ParanasalSSLLib.cli.scan_list import read_scan_list
from ParanasalSSLLib.cli.score import Ids, Outcome, Scorer, Show
from ParanasalSSLLib.cli.searched import search_scans
from ParanasalSSLLib.cli.stopping import stop_with_input, stopped_by_sigterm
from ParanasalSSLLib.cli.telling import Telling
from ParanasalSSLLib.cli.views import JsonView, QuietView, TerminalView, View
from ParanasalSSLLib.devices import DeviceName, share_one_heap
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.results.layout import TABLE
from ParanasalSSLLib.results.older import refuse_foreign_overview, refuse_unsafe_output
from ParanasalSSLLib.scans.source import ScanSource

if TYPE_CHECKING:
    from ParanasalSSLLib.model.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Finds both maxillary sinuses in each scan, scores them and writes their results.

    SCANS are files, or folders: of one DICOM series, of patients, a BIDS data set, a CD, a tree of
    images. All that shows the sinuses is scored; derivatives and results are no further scans.

    Residual map, segmentation, boxes and reports go to OUTPUT/sub-0001, OUTPUT/sub-0002, ...; a scan
    that is scored again replaces its own result once the new one is complete, other results are left
    alone. Of several scans there is an overview: OUTPUT/index.html (what needs a look first) and
    OUTPUT/results.csv (one row for each scan and side). Names of the inputs are printed, but not
    written. Exit status: 0 all scans were scored, 1 one or more failed (the summary says which and
    why), 2 wrong usage. Research use only; this gives no diagnosis.
    """

    scans: list[Path] | None = None
    """NIfTI, NRRD or MetaImage file, zip of one series, or folder with any of these; one or more."""
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
    series: list[int] | None = None
    """Score only this one of the scans in a folder: its number in the list that is printed; give it
    once for each (unset: all).
    """
    jobs: int | None = None
    """Scans to score at the same time, 1 or more, each in a process of its own of up to 1.5 GB
    (unset: what cores and memory allow).
    """
    scan_list: Path | None = None
    """File of scans and the ids of their results, in place of SCANS, as programs that run this write it
    (`cli/scan_list.py`; unset: none).
    """
    key: Path | None = None
    """File that says which result is which scan, with its path, as a table (.csv); it cannot lie in
    the folder of the results (unset: none).
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
        if self.scans is None and self.scan_list is None:
            raise BadConfig("SCANS must be given")
        if self.scan_list is not None and (self.scans or self.boxes or self.id or self.series):
            raise BadConfig("--scan-list says by itself what is scored")
        if self.boxes and len(self.scans or ()) > 1:
            raise BadConfig("--boxes belongs to one scan: give one scan only")
        if not str(self.output).strip() or str(self.output) == ".":
            raise BadConfig("--output names no folder of its own")
        if self.output.exists() and not self.output.is_dir():
            raise BadConfig(f"--output {self.output} is a file; name a folder")
        if self.id is not None:
            check_ids(self.id, len(self.scans or ()))
        if self.note is not None and any("\ud800" <= letter <= "\udfff" for letter in self.note):
            raise BadConfig("--note has letters that are no UTF-8: use a terminal in UTF-8")
        if self.jobs is not None and self.jobs < 1:
            raise BadConfig(f"--jobs {self.jobs}: at least one scan at a time")


Done = Callable[[ScanDone], None]


def run_predict(config: PredictConfig, call: Call, done: Done | None = None) -> int:
    """Score every scan; a bad one is reported and the next one begun. Returns the exit status.

    done: called with every scan that was scored, once its results are there.
    """
    if config.end_with_input:
        stop_with_input()
    with stopped_by_sigterm():
        return _run_shown(config, call, done)


def _run_shown(config: PredictConfig, call: Call, done: Done | None) -> int:
    if not config.json_progress:
        view = QuietView() if call.quiet else TerminalView(config.dicom_out)
        return _run(config, view, call.debug, done)
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # whatever else is printed must not break the JSON lines
        return _run(config, JsonView(output), call.debug, done)


def _run(config: PredictConfig, view: View, debug: bool, done: Done | None) -> int:
    try:
        jobs = _plan(config, view)
        view.begin(len(jobs))
        telling = _telling(config, len(jobs), view, done)
        outcomes = _score(config, jobs, telling, debug)
    except CallFailedError as error:
        view.show(CallFailed(type(error.reason).__name__, explain(error.reason)))
        if debug:
            traceback.print_exception(error.reason)
        return 1
    finally:
        view.close()
    summary = _summary(outcomes, config.output)
    view.show(summary)
    return summary.exit_status


def _summary(outcomes: list[Outcome], out: Path) -> Summary:
    done = sum(isinstance(outcome, ScanDone) for outcome in outcomes)
    left_out = sum(isinstance(outcome, ScanLeftOut) for outcome in outcomes)
    failed = len(outcomes) - done - left_out
    return Summary(done, failed, str(out), 1 if failed or not done else 0)


def _plan(config: PredictConfig, view: View) -> list[Job]:
    """The scans of the call. Raises `CallFailedError` for what is wrong, cheap checks first."""
    try:
        scans, ids = _scans(config, view)
        jobs = plan_jobs(scans, config.keep_names, ids)
        refuse_unsafe_output(
            config.output, [job.scan_id for job in jobs], [scan.path for scan in scans]
        )
        refuse_foreign_overview(config.output)
        if config.key is not None:
            refuse_key(config.key, config.output)
        if config.dicom_out:
            require_dicom()
        check_model(config.model, config.device)
    except (ParanasalError, OSError) as error:
        raise CallFailedError(error) from error
    return jobs


def _scans(config: PredictConfig, view: View) -> tuple[list[ScanSource], list[str] | None]:
    """The scans, and the ids that they were given."""
    if config.scan_list is None:
        return search_scans(config.scans or [], config, view.show), config.id
    listed = read_scan_list(config.scan_list)
    check_ids(list(listed), len(listed))
    return list(listed.values()), list(listed)


def _score(config: PredictConfig, jobs: list[Job], telling: Telling, debug: bool) -> list[Outcome]:
    named = config.id is not None or config.scan_list is not None
    ids = Settled(config.output, named)
    make = partial(make_scorer, config, debug)
    processes = _processes(config, len(jobs))
    try:
        if processes > 1:
            return score_in_parallel(jobs, processes, make, ids, telling.show, config.output)
        scorer = make(ids, telling.show)
        return [scorer.score(job) for job in jobs]
    finally:
        telling.end()


def _telling(config: PredictConfig, scans: int, view: View, done: Done | None) -> Telling:
    key = KeyFile(config.key) if config.key is not None else None
    if scans < 2 and not (config.output / TABLE).exists():
        return Telling(view, None, key, done)
    from ParanasalSSLLib.results.overview import Overview

    return Telling(view, Overview(config.output), key, done)


def _processes(config: PredictConfig, scans: int) -> int:
    if config.jobs is not None:
        return min(config.jobs, scans)
    return default_processes(scans) if config.device in ("auto", "cpu") else 1


def make_scorer(config: PredictConfig, debug: bool, ids: Ids, show: Show) -> Scorer:
    """What scores the scans of a call in one process; begins to load the model.

    Raises `CallFailedError` where the boxes cannot be read.
    """
    try:
        placement = read_boxes(config.boxes) if config.boxes else None
    except (ParanasalError, OSError) as error:
        raise CallFailedError(error) from error
    share_one_heap()
    loader = BundleLoader(lambda: load_model(config.model, config.device))
    needs = Needs(loader, placement)
    return Scorer(config.output, needs, ids, show, config.note, config.dicom_out, debug)


def load_model(model: Path | None, device: str) -> Bundle:
    """The bundle in the folder `model`, or the shipped one, on a device of `--device`."""
    from ParanasalSSLLib.devices import resolve_device
    from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path

    return load_bundle(model or shipped_bundle_path(), resolve_device(device))
