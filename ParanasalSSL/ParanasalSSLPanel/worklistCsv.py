"""The numbers of a worklist as tables for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.results.findings_table import write_findings
from ParanasalSSLLib.results.listing import Row, harmless
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel.compute import modelName

FIGURES = (  # of a side
    *("probability", "decision", "opacity_ml", "opacity_fraction"),
    *("cavity_ml", "filled_fraction", "depth_mm", "grade"),
)


def exportCsv(rows: Iterable[Row], path: Path, withNames: bool = False) -> None:
    """All numbers as a table, and beside it one of all findings, named `..._findings.csv`.

    The scans' file names, which may hold patients', only on request.
    """
    rows = list(rows)
    names = ["scan"] if withNames else []
    sides = [f"{side.value}_{figure}" for side in Side for figure in (*FIGURES, "reader")]
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
        table = csv.writer(f)
        table.writerow(
            ["id", *names, "state", "quality", *sides, "reader_comment", "model", "message"]
        )
        for row in rows:
            table.writerow(_csvRow(row, withNames))
    records = [row.record for row in rows if row.record is not None]
    write_findings(path.with_name(f"{path.stem}_findings.csv"), records)


def _csvRow(row: Row, withNames: bool) -> list[object]:
    sinuses = row.record.sinuses if row.record is not None else {}
    verdicts = row.reading.verdicts if row.reading is not None else {}
    numbers = [
        number
        for side in Side
        for number in (
            *(getattr(sinuses.get(side), each, None) for each in FIGURES),
            verdicts.get(side, ""),
        )
    ]
    comment = harmless(row.reading.comment) if row.reading is not None else ""
    model = modelName(row.record.model) if row.record is not None else ""
    names = [harmless(row.entry.name)] if withNames else []
    message = harmless(row.entry.message) if withNames else ""  # it may name the file
    return [
        row.entry.identifier,
        *names,
        row.entry.state,
        row.quality,
        *numbers,
        comment,
        model,
        message,
    ]
