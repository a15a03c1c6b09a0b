"""What a call shows while it runs: a table for people, or JSON lines for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ParanasalSSLLib.cli.events import (
    CallFailed,
    Event,
    Note,
    ScanDone,
    ScanFailed,
    ScanLeftOut,
    StageBegun,
    Summary,
    to_json,
)
from ParanasalSSLLib.progress import Progress, ProgressBar, Stage
from ParanasalSSLLib.sinuses import DECISION_WORDS, Decision, Side, number_words, probability_words

if TYPE_CHECKING:
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.results.sinus_record import SinusRecord


def say(*lines: str, error: bool = False, stream: TextIO | None = None) -> None:
    """Print lines, on standard output or standard error; a closed pipe is no error."""
    stream = stream or (sys.stderr if error else sys.stdout)
    try:
        print(*lines, sep="\n", file=stream, flush=True)
    except OSError:  # whoever read it has gone (`| head`): what is left to say is dropped
        _drop_what_follows(stream)


def _drop_what_follows(stream: TextIO) -> None:
    """Else Python complains once more at its end, when it flushes."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class View(Protocol):
    """Shows the events of a call."""

    def begin(self, scans: int, /) -> None:
        """So many scans will follow."""

    def show(self, event: Event, /) -> None:
        """Tell one event."""

    def close(self) -> None:
        """Nothing more will come."""


@dataclass(frozen=True)
class JsonView:
    """The call as JSON lines."""

    stream: TextIO

    def begin(self, scans: int) -> None:
        """Every event says how many there are."""

    def show(self, event: Event) -> None:
        """Write the event as one line."""
        say(to_json(event), stream=self.stream)

    def close(self) -> None:
        """Nothing is open."""


class QuietView:
    """Only what went wrong."""

    def begin(self, scans: int) -> None:
        """Nothing is wrong yet."""

    def show(self, event: Event) -> None:
        """Write the event's message, if it is an error."""
        match event:
            case ScanFailed():
                say(f"{event.input}: {event.message}", error=True)
            case CallFailed():
                say(f"paranasal: {event.message}", error=True)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class TerminalView:
    """A bar while it runs, then a table per scan and a summary."""

    dicom_wanted: bool = False
    _scans: int = field(default=0, init=False)
    _bar: ProgressBar | None = field(default=None, init=False)
    _last: tuple[ScanDone, ScanRecord] | None = field(default=None, init=False)
    _lacking: list[str] = field(default_factory=list, init=False)  # DICOM files, in words
    _failed: list[ScanFailed] = field(default_factory=list, init=False)

    def begin(self, scans: int) -> None:
        """Show a bar for so many scans."""
        self._scans = scans
        self._bar = ProgressBar(scans)

    def show(self, event: Event) -> None:
        """Draw the bar, or write the scan's table, or an error."""
        match event:
            case Note():
                self._clear()
                say(event.message)
            case StageBegun():
                if self._bar is not None:
                    self._bar.report(
                        event.scan, event.id, Progress(Stage(event.stage), event.fraction)
                    )
            case ScanDone():
                self._scan_done(event)
            case ScanFailed():
                self._scan_failed(event)
            case Summary():
                self._summary(event)
            case CallFailed():
                self.close()
                say(f"paranasal: {event.message}", error=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()

    def _clear(self, finished: int | None = None) -> None:
        """Make room for lines. finished: number of a scan that is done or has failed."""
        if self._bar is not None:
            self._bar.finish(finished)

    def _scan_done(self, done: ScanDone) -> None:
        from ParanasalSSLLib.results.record import ScanRecord

        record = ScanRecord.from_json(done.report)
        self._last = done, record
        if self.dicom_wanted and (lacking := _lacking_dicom(record.files)):
            self._lacking.append(f"{done.id}: {lacking}")
        self._clear(done.scan)
        table = [f"  {line}" for line in result_table(record)]
        of_scan = _notices(record)[1]
        reasons = [f"  ! {one}" for one in (*record.quality.reasons, *of_scan)]
        how = "replaced" if done.replaced else "written to"
        say(
            f"\n{done.id}  {_where(done)}",
            *table,
            *reasons,
            f"  {how} {done.folder} ({done.seconds:.1f} s)",
        )

    def _scan_failed(self, failed: ScanFailed) -> None:
        self._failed.append(failed)
        self._clear(failed.scan)
        how = "LEFT OUT" if isinstance(failed, ScanLeftOut) else "FAILED"
        say(f"\n{failed.id}  {_where(failed)}\n  {how}: {failed.message}")

    def _summary(self, summary: Summary) -> None:
        self.close()
        say(
            f"\n{summary.done} of {self._scans} {_plural(self._scans, 'scan')} scored.",
            *self._lacking,
        )
        if self._last:
            say(*_how_to_open(*self._last))
        left_out = [one for one in self._failed if isinstance(one, ScanLeftOut)]
        if left_out:
            say(f"{len(left_out)} {_plural(len(left_out), 'scan')} left out:", *_reasons(left_out))
        failed = [one for one in self._failed if not isinstance(one, ScanLeftOut)]
        if failed:
            say(*_failure_lines(Path(summary.out), failed), error=True)


def _where(event: ScanDone | ScanFailed) -> str:
    return f"{event.input} ({event.series})" if event.series else event.input


def result_table(record: ScanRecord) -> list[str]:
    """The lines of a scan's small table: one for each side, and its largest finding below it."""
    outlined = any(sinus.grade is not None for sinus in record.sinuses.values())
    measured = f"{'filled':>8}{'grade':>7}" if outlined else ""
    head = f"{'side':<6}{'probability':>11}  {'decision':<20}{'opacity':>9}{measured}  boxes"
    lines = [head]
    for side, sinus in record.sinuses.items():
        line = (
            f"{side:<6}{probability_words(sinus.probability):>11}"
            f"  {DECISION_WORDS[sinus.decision]:<20}{number_words(sinus.opacity_ml, '{:.1f}'):>6} ml"
        )
        if outlined:
            filled = number_words(sinus.filled_fraction, "{:.0%}")
            line += f"{filled:>8}{number_words(sinus.grade, '{}'):>7}"
        lines.append(f"{line}  {record.quality.verdict}")
    return lines + [
        line for side, sinus in record.sinuses.items() for line in _largest(side, sinus)
    ]


def _largest(side: Side, sinus: SinusRecord) -> list[str]:
    """The largest finding of a side that is called anomalous, in a line."""
    if sinus.decision != Decision.ANOMALY or not sinus.findings:
        return []
    more = len(sinus.findings) - 1
    rest = f"; {more} more" if more else ""
    return [f"{side}: {sinus.findings[0].words}{rest}"]


def _lacking_dicom(files: Mapping[str, str]) -> str | None:
    """Why a DICOM file that was asked for is not there."""
    if "dicom_sr" not in files:
        return "no DICOM files, because this scan is no DICOM series."
    if "dicom_seg" not in files:
        return "no DICOM segmentation, because nothing is outlined; the DICOM report is there."
    return None


def _plural(number: int, word: str) -> str:
    return word if number == 1 else word + "s"


def _how_to_open(done: ScanDone, record: ScanRecord) -> Iterable[str]:
    from ParanasalSSLLib.results.layout import ScanFiles

    files = ScanFiles(Path(done.folder), done.id)
    yield f"Look at it: open {files.report_html} in a browser."
    yield f"In 3D Slicer: load {done.input} (Add data, or the DICOM module), then drag"
    yield f"  {files.segmentation.name},\n  {files.boxes.name} and\n  {files.residual_map.name}"
    yield f"from {files.folder} into its window."
    for sentence in (*record.model.repeatability_words, *_notices(record)[0], record.notice):
        yield f"Note: {sentence}"


def _notices(record: ScanRecord) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Notices of the model, the same for every scan, and those of this scan and its run."""
    of_model = int(record.model.simulated)  # it comes first
    return record.model.notices[:of_model], record.model.notices[of_model:]


def _failure_lines(out: Path, failed: list[ScanFailed]) -> Iterable[str]:
    yield f"{len(failed)} {_plural(len(failed), 'scan')} failed:"
    for failure, line in zip(failed, _reasons(failed), strict=True):
        yield line
        if failure.older_result:
            yield f"    ({out / failure.id} still holds an older result.)"


def _reasons(failed: Sequence[ScanFailed]) -> Iterable[str]:
    for failure in failed:
        where = _where(failure)
        yield f"  {'' if where in failure.message else f'{where}: '}{failure.message}"


# ----------------------------------------------------------------------- results of other commands


def show_result(result: Path | Mapping[str, Any] | None) -> None:
    """What a command has made: where it is, or its figures as a table."""
    if isinstance(result, Path):
        say(f"Wrote {result}")
    elif result is not None:
        say(*figure_lines(result))


def figure_lines(figures: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    """Figures as lines; parts that have the same figures (validation, test) stand side by side.

    Settings (`config`) are left out: they stand in the files that the command has written.
    """
    told: set[str] = set()
    for name, value in figures.items():
        if name == "config":
            continue
        if _is_table(value):
            yield f"{indent}{name}"
            yield from (f"{indent}  {line}" for line in _rows(value))
            continue
        if not isinstance(value, Mapping):
            yield f"{indent}{name:<24} {_short(value)}"
            continue
        alike = {n: part for n, part in figures.items() if _are_alike(part, value)}
        if len(alike) > 1 and name not in told:
            yield from (indent + line for line in _side_by_side(alike))
            told |= set(alike)
        elif name not in told:
            yield f"{indent}{name}"
            yield from figure_lines(value, indent + "  ")


def _are_alike(one: Any, other: Mapping[str, Any]) -> bool:
    """Whether both are parts with the same plain figures."""
    return (
        isinstance(one, Mapping)
        and set(one) == set(other)
        and not any(isinstance(value, Mapping) for value in (*one.values(), *other.values()))
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _rows(table: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """A list of records with the same names as a table, the names above."""
    names = list(table[0])
    cells = [names, *([_short(row.get(name, "-")) for name in names] for row in table)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    for line in cells:
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))


def _side_by_side(parts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    names = list(dict.fromkeys(name for part in parts.values() for name in part))
    yield f"{'':<24}" + "".join(f" {part:>16}" for part in parts)
    for name in names:
        values = (_short(part[name]) if name in part else "" for part in parts.values())
        yield f"{name:<24}" + "".join(f" {value:>16}" for value in values)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
