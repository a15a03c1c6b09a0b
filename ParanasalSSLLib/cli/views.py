"""What a call shows while it runs: a table for people, or JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from ParanasalSSLLib.cli.events import (
    CallFailed,
    Event,
    ScanDone,
    ScanFailed,
    StageBegun,
    Summary,
    to_json,
)
from ParanasalSSLLib.progress import Progress, ProgressBar, Stage


class View(Protocol):
    """Shows the events of a call."""

    def show(self, event: Event, /) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class JsonView:
    """The call as JSON lines."""

    stream: TextIO

    def show(self, event: Event) -> None:
        self.stream.write(to_json(event) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class TerminalView:
    """A bar while it runs, then a table per scan and a summary."""

    scans: int
    dicom_wanted: bool = False
    _done: list[ScanDone] = field(default_factory=list, init=False)
    _failed: list[ScanFailed] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._bar = ProgressBar(self.scans)

    def show(self, event: Event) -> None:
        match event:
            case StageBegun():
                self._bar.start(event.id)
                self._bar(Progress(Stage(event.stage), event.fraction))
            case ScanDone():
                self._scan_done(event)
            case ScanFailed():
                self._scan_failed(event)
            case Summary():
                self._summary(event)
            case CallFailed():
                self._bar.close()
                print(f"paranasal: {event.message}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()

    def _scan_done(self, done: ScanDone) -> None:
        self._done.append(done)
        self._bar.finish()
        print(f"\n{done.id}  {done.input}")
        for line in result_table(done.report):
            print(f"  {line}")
        for reason in done.report["quality"]["reasons"]:
            print(f"  ! {reason}")
        how = "replaced" if done.replaced else "written to"
        print(f"  {how} {done.folder} ({done.seconds:.1f} s)", flush=True)

    def _scan_failed(self, failed: ScanFailed) -> None:
        self._failed.append(failed)
        self._bar.finish()
        print(f"\n{failed.id}  {failed.input}\n  FAILED: {failed.message}", flush=True)

    def _summary(self, summary: Summary) -> None:
        self._bar.close()
        print(f"\n{summary.done} of {self.scans} {_plural(self.scans, 'scan')} scored.")
        for done in self._done if self.dicom_wanted else []:
            lacking = _lacking_dicom(done.report["files"])
            if lacking:
                print(f"{done.id}: {lacking}")
        if self._done:
            _print_how_to_open(self._done[-1])
        if self._failed:
            sys.stdout.flush()
            print("\n".join(_failure_lines(Path(summary.out), self._failed)), file=sys.stderr)


def result_table(report: Mapping[str, Any]) -> list[str]:
    """The lines of a scan's small table: side, probability, decision, anomaly volume, quality."""
    lines = [f"{'side':<7}{'probability':>11}  {'decision':<9}{'anomaly volume':>14}  quality"]
    for side, sinus in report["sinuses"].items():
        lines.append(
            f"{side:<7}{sinus['probability']:>11.2f}  {sinus['decision']:<9}"
            f"{sinus['anomaly_ml']:>11.1f} ml  {report['quality']['verdict']}"
        )
    return lines


def _lacking_dicom(files: Mapping[str, str]) -> str | None:
    """Why a DICOM file that was asked for is not there."""
    if "dicom_sr" not in files:
        return "no DICOM files, because this scan is no DICOM series."
    if "dicom_seg" not in files:
        return "no DICOM segmentation, because no voxel is marked; the DICOM report is there."
    return None


def _plural(number: int, word: str) -> str:
    return word if number == 1 else word + "s"


def _print_how_to_open(done: ScanDone) -> None:
    from ParanasalSSLLib.results.write import ScanFiles

    files = ScanFiles(Path(done.folder), done.id)
    print(
        f"Look at it: open {files.report_html} in a browser.\n"
        f"In 3D Slicer: load {done.input} (Add data, or the DICOM module), then drag\n"
        f"  {files.segmentation.name},\n  {files.boxes.name} and\n  {files.residual_map.name}\n"
        f"from {files.folder} into its window."
    )
    for sentence in (*done.report["model"]["notices"], done.report["notice"]):
        print(f"Note: {sentence}")


def _failure_lines(out: Path, failed: list[ScanFailed]) -> Iterable[str]:
    yield f"{len(failed)} {_plural(len(failed), 'scan')} failed:"
    for failure in failed:
        prefix = "" if failure.input in failure.message else f"{failure.input}: "
        yield f"  {prefix}{failure.message}"
        if failure.older_result:
            yield f"    ({out / failure.id} still holds an older result.)"
