"""One scan of a call, from its file to its results; whatever is wrong with it stops no other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ParanasalSSLLib.cli.events import Event, ScanDone, ScanFailed, ScanLeftOut, StageBegun
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.jobs import Job
from ParanasalSSLLib.cli.needs import CallFailedError, Needs
from ParanasalSSLLib.errors import (
    Cancelled,
    NotAHead,
    SinusOutsideImage,
    UnsafeOutput,
    UnsupportedScan,
)
from ParanasalSSLLib.progress import Progress

if TYPE_CHECKING:
    from ParanasalSSLLib.predict import FoundSinuses
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.scans.source_series import SourceSeries

SHOWS_NO_SINUSES = (NotAHead, SinusOutsideImage, UnsupportedScan)
Outcome = ScanDone | ScanFailed
Show = Callable[[Event], None]


class Ids(Protocol):
    """Gives a scan its final id once it was read: `jobs.Settled`, or one in another process."""

    def settle(self, job: Job, sha256: str | None, refused: bool = False) -> Job:
        """See `jobs.Settled.settle`."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores the scans of a call, one after another.

    out: folder of the results. note, dicom_out: as the user gave them. debug: print tracebacks.
    """

    out: Path
    needs: Needs
    ids: Ids
    show: Show
    note: str | None = None
    dicom_out: bool = False
    debug: bool = False

    def score(self, job: Job) -> Outcome:
        """Score and write one scan; every error but a stop becomes a `ScanFailed`.

        Raises:
            CallFailedError: the model cannot be loaded.
            Cancelled, KeyboardInterrupt: stopped; nothing is left half-written.
        """
        outcome: Outcome
        settled: Job | None = None
        started = time.perf_counter()
        try:
            found = self._find(job)
            settled = self.ids.settle(job, _fingerprint(found))
            outcome = self._finish(settled, found, started)
        except (CallFailedError, Cancelled):
            raise
        except (
            Exception
        ) as error:  # one bad scan, whatever is wrong with it, never stops the others
            if self.debug:
                traceback.print_exc()
            outcome = failure(settled or self.ids.settle(job, None), error, self.out)
        self.show(outcome)
        return outcome

    def _find(self, job: Job) -> FoundSinuses:
        from ParanasalSSLLib.predict import find_sinuses

        scan = job.scan
        return find_sinuses(scan.path, self.needs.placement, self._progress(job), scan.files)

    def _progress(self, job: Job) -> Callable[[Progress], None]:
        def show(now: Progress) -> None:
            fraction = round(now.fraction, 3)
            self.show(StageBegun(**job.about(), stage=now.stage.value, fraction=fraction))

        return show

    def _finish(self, job: Job, found: FoundSinuses, started: float) -> ScanDone:
        from ParanasalSSLLib.predict import score_sinuses
        from ParanasalSSLLib.results.write import write_scan

        # Before scoring: a series that no DICOM file can refer to is refused early.
        series = _source_series(job, found) if self.dicom_out else None
        progress, bundle = self._progress(job), self.needs.loader.bundle()
        result = score_sinuses(found, bundle, progress)
        while True:
            replaced = (self.out / job.scan_id).exists()
            try:
                record = write_scan(
                    result, bundle.card, self.out, job.scan_id, progress, self.note, series
                )
            except UnsafeOutput:  # another process took the id meanwhile
                settled = self.ids.settle(job, _fingerprint(found), refused=True)
                if settled == job:
                    raise
                job = settled
            else:
                return self._done(job, record, replaced, started)

    def _done(self, job: Job, record: ScanRecord, replaced: bool, started: float) -> ScanDone:
        return ScanDone(
            **job.about(),
            folder=str(self.out / job.scan_id),
            replaced=replaced,
            seconds=round(time.perf_counter() - started, 2),
            report=record.to_json(),
        )


def failure(job: Job, error: Exception, out: Path) -> ScanFailed:
    """The outcome of a scan that was not scored."""
    left_out = job.scan.searched and isinstance(error, SHOWS_NO_SINUSES)
    kind = ScanLeftOut if left_out else ScanFailed
    older = (out / job.scan_id).exists()
    words = explain(error)
    return kind(**job.about(), error=type(error).__name__, message=words, older_result=older)


def _fingerprint(found: FoundSinuses) -> str:
    from ParanasalSSLLib.results.record import fingerprint

    return fingerprint(found.volume)


def _source_series(job: Job, found: FoundSinuses) -> SourceSeries | None:
    """What the DICOM files of a scan refer to; None for a scan that is no DICOM series."""
    if found.volume.provenance.format != "DICOM":
        return None
    from ParanasalSSLLib.scans.source_series import read_source_series

    return read_source_series(job.scan.files or job.scan.path)
