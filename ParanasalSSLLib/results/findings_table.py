"""All findings of a folder's scans as one table, a row for each.

Imports the standard library only, so that Slicer's panel can use it before anything is installed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.files import write_whole

if TYPE_CHECKING:
    from ParanasalSSLLib.results.record import ScanRecord

_MIDDLE = ("right_mm", "front_mm", "up_mm")  # RAS of the scan
COLUMNS = (
    *("id", "side", "finding", "ml", "diameter_mm", "depth_mm", "wall", "form"),
    *_MIDDLE,
)


def write_findings(path: Path, records: Iterable[ScanRecord]) -> None:
    """Write the table as CSV, whole or not at all."""
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(row for record in records for row in finding_rows(record))


def finding_rows(record: ScanRecord) -> list[dict[str, object]]:
    """A row for each finding of a scan, those of a side numbered from 1, the largest first."""
    return [
        {
            **dict(zip(_MIDDLE, finding.center_ras_mm, strict=True)),
            "id": record.scan,
            "side": side.value,
            "finding": number,
            "ml": finding.ml,
            "diameter_mm": finding.diameter_mm,
            "depth_mm": finding.depth_mm,
            "wall": finding.wall or "",
            "form": finding.form,
        }
        for side, sinus in record.sinuses.items()
        for number, finding in enumerate(sinus.findings or (), start=1)
    ]
