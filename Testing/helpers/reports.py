"""Reports against the published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import REPORT_SCHEMA


def validate(report: Any) -> None:
    Draft202012Validator(json.loads(REPORT_SCHEMA.read_text())).validate(report)


def validated(out: Path) -> dict[str, Any]:
    """All reports of an output folder by their scans' ids; each obeys the schema."""
    reports = {}
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        path = ScanFiles(folder, folder.name).report_json
        reports[folder.name] = json.loads(path.read_text(encoding="utf-8"))
        validate(reports[folder.name])
        assert reports[folder.name]["scan"] == folder.name
    return reports
