"""All results of a folder at a glance: `index.html`, what needs a look first, `results.csv` and
`findings.csv`.

All are written anew, whole, from what lies in the folder and what has just failed; they hold no path
and no name of a scan. Several calls may write them at once.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ParanasalSSLLib.files import alone, write_whole
from ParanasalSSLLib.results.findings_table import write_findings
from ParanasalSSLLib.results.layout import FINDINGS, GENERATOR, OVERVIEW, TABLE, ScanFiles
from ParanasalSSLLib.results.listing import (
    STATE_WORDS,
    Entry,
    Row,
    State,
    harmless,
    most_urgent_first,
)
from ParanasalSSLLib.results.reading import VERDICT_WORDS, read_reading
from ParanasalSSLLib.results.record import RESEARCH_USE, read_report
from ParanasalSSLLib.results.sinus_record import SinusRecord
from ParanasalSSLLib.sinuses import DECISION_WORDS, Decision, Side, probability_words

OF_SCAN = ("id", "state", "series", "modality", "quality", "analysed", "model", "model_version")
OF_SIDE = (
    *("probability", "decision", "threshold", "opacity_ml", "opacity_fraction"),
    *("cavity_ml", "filled_fraction", "depth_mm", "grade", "findings"),
)
OF_READER = ("reader", "reader_comment")  # the verdict on the side; the words on the scan
COLUMNS = (*OF_SCAN, "side", *OF_SIDE, *OF_READER, "error")
_TEMPLATES = Path(__file__).parents[1] / "data"
_REST = 20  # the page is drawn again after so many times what it took
_ERRORS: Mapping[str, str] = {
    "UnreadableScan": "cannot be read",
    "UnsupportedScan": "no three-dimensional grey MRI, or not of a known orientation",
    "SeveralSeries": "several series in one place",
    "NotAHead": "the sinuses were not found",
    "SinusOutsideImage": "the image does not hold the sinuses",
    "UnsafeOutput": "the results would have replaced something else",
    "ProcessDied": "its process ended unexpectedly",
    "MemoryError": "not enough memory",
}


@dataclass(eq=False)
class Overview:
    """The overview of one folder of results."""

    out: Path
    _read: dict[str, tuple[int, Row]] = field(default_factory=dict, init=False)
    _lost: dict[str, Entry] = field(default_factory=dict, init=False)
    _drawn: tuple[float, float] = field(default=(0.0, 0.0), init=False)  # when, how long it took

    def failed(self, scan_id: str, state: State, error: str) -> None:
        """Note a scan that was not scored. error: name of the error's class."""
        self._lost[scan_id] = Entry(scan_id, "", state, error)

    def write(self, last: bool = True) -> None:
        """Write the table, and the page unless it was drawn just now and this is not the last time."""
        with alone(self.out / TABLE):
            rows = most_urgent_first(self._rows())
            with (
                write_whole(self.out / TABLE) as temporary,
                temporary.open("w", newline="", encoding="utf-8") as file,
            ):
                table = csv.DictWriter(file, COLUMNS, restval="")
                table.writeheader()
                table.writerows(line for row in rows for line in _lines(row))
            records = [row.record for row in rows if row.record is not None]
            write_findings(self.out / FINDINGS, records)
            began, took = self._drawn
            if last or time.monotonic() > began + _REST * took:
                self._draw(rows)

    def _draw(self, rows: list[Row]) -> None:
        began = time.monotonic()
        write_page(rows, self.out / OVERVIEW)
        self._drawn = began, time.monotonic() - began

    def _rows(self) -> Iterator[Row]:
        self._read_new()
        yield from (row for _, row in self._read.values())
        lost = _failures_in(self.out / TABLE) | self._lost
        yield from (Row(entry) for name, entry in sorted(lost.items()) if name not in self._read)

    def _read_new(self) -> None:
        """Read what other calls, this one and readers have written since the last time.

        A reading that is written changes the report, too.
        """
        found = {}
        for path in self.out.glob("[!.]*/*_report.json"):
            name = path.parent.name
            files = ScanFiles.in_output(self.out, name)
            if path != files.report_json:
                continue
            with suppress(OSError, ValueError):  # gone, or damaged
                changed = path.stat().st_mtime_ns
                known = self._read.get(name)
                is_known = known is not None and known[0] == changed
                found[name] = known if known and is_known else (changed, _row(files))
        self._read = dict(sorted(found.items()))


def update_overview(out: Path) -> None:
    """Write the overview of a folder anew, if it has one: a reader has said something of a result.

    Raises:
        ImportError: jinja2 is not installed; the tables are written, the page stays as it was.
        OSError: the folder cannot be written.
    """
    if (out / TABLE).is_file():
        _overview_of(out).write()


@cache
def _overview_of(out: Path) -> Overview:
    """One for each folder, so that only what has changed is read again."""
    return Overview(out)


def _row(files: ScanFiles) -> Row:
    record = read_report(files.report_json)
    return Row(Entry(files.scan_id, "", "done"), record, read_reading(files, record))


def _failures_in(table: Path) -> dict[str, Entry]:
    """What earlier calls could not score."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return {
            line["id"]: Entry(line["id"], "", line["state"], line["error"])  # type: ignore[arg-type]
            for line in lines
            if line["state"] in ("failed", "left out")
        }
    except (OSError, ValueError, KeyError):
        return {}


def _lines(row: Row) -> Iterator[dict[str, Any]]:
    """One line for each side; one for a scan that was not scored."""
    entry, record = row.entry, row.record
    about: dict[str, Any] = {"id": entry.identifier, "state": entry.state, "error": entry.message}
    if record is None:
        yield about
        return
    about |= {
        "series": harmless(record.image.description),
        "modality": record.image.modality,
        "quality": row.quality,
        "analysed": record.analysed,
        "model": record.model.name,
        "model_version": record.model.version,
    }
    verdicts = row.reading.verdicts if row.reading is not None else {}
    comment = row.reading.comment if row.reading is not None else ""
    for side, sinus in record.sinuses.items():
        said = {"reader": verdicts.get(side, ""), "reader_comment": harmless(comment)}
        numbers = {name: getattr(sinus, name, None) for name in OF_SIDE}
        if sinus.findings is not None:
            numbers["findings"] = len(sinus.findings)
        known = {name: value for name, value in numbers.items() if value is not None}
        yield about | {"side": side.value} | known | said


# ---------------------------------------------------------------------------------------- the page


def write_page(rows: list[Row], path: Path) -> None:
    """Write the page of rows that are in order; links lead to the reports beside it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["probability"] = probability_words
    records = [row.record for row in rows if row.record is not None]
    text = environment.get_template(
        "overview_template.html"
    ).render(
        rows=rows,
        files=lambda row: ScanFiles(Path(row.entry.identifier), row.entry.identifier),
        thumbnail=_thumbnail,
        counts=_counts(rows),
        sides=(Side.RIGHT, Side.LEFT),  # as in the pictures
        states=STATE_WORDS,
        verdicts=VERDICT_WORDS,
        decisions=DECISION_WORDS,
        errors=_ERRORS,
        generator=GENERATOR,
        research_use=RESEARCH_USE,
        models=sorted({f"{one.model.name} {one.model.version}" for one in records}),
        notices=sorted(
            {n for one in records if one.model.simulated for n in one.model.notices[:1]}
        ),
    )
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _counts(rows: list[Row]) -> dict[str, int]:
    """What the page's head counts, in words."""
    return {
        "to review": sum(row.quality == "review" for row in rows),
        "with a suspected anomaly": sum(any(map(_is_suspected, _sinuses(row))) for row in rows),
        "read": sum(row.is_read for row in rows),
        "scored": sum(row.record is not None for row in rows),
        "failed": sum(row.entry.state == "failed" for row in rows),
        "left out": sum(row.entry.state == "left out" for row in rows),
    }


def _sinuses(row: Row) -> list[SinusRecord]:
    return list(row.record.sinuses.values()) if row.record is not None else []


def _is_suspected(sinus: SinusRecord) -> bool:
    return sinus.decision == Decision.ANOMALY


def _thumbnail(row: Row) -> str | None:
    """Name of the picture that shows the most: the likelier side's finding, else both sinuses."""
    record = row.record
    if record is None:
        return None
    sides = sorted(record.sinuses, key=lambda side: -(row.probability(side) or 0.0))
    names = [f"{side.value}finding_slices" for side in sides[:1]] + ["middle_slices"]
    return next((record.files[name] for name in names if name in record.files), None)
