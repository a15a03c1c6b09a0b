"""Scans with the ids of their results as a file, for programs that start `paranasal predict`.

A command line is too short for hundreds of scans, and has no place for the files of a DICOM series that
shares its folder with others. The file holds paths: it is private. Needs no other package.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.source import ScanSource

FORMAT, VERSION = "paranasal-scan-list", 1


def write_scan_list(path: Path, scans: Mapping[str, ScanSource]) -> None:
    """Write the scans, by the ids of their results."""
    entries = [
        {
            "id": identifier,
            "path": os.fspath(scan.path),
            "files": [os.fspath(file) for file in scan.files],
            "about": scan.about,
            "searched": scan.searched,
        }
        for identifier, scan in scans.items()
    ]
    content = {"format": FORMAT, "version": VERSION, "scans": entries}
    path.write_text(json.dumps(content), encoding="utf-8")


def read_scan_list(path: Path) -> dict[str, ScanSource]:
    """The scans by the ids of their results, in their order. Raises `BadConfig`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError("another format")
        return {entry["id"]: _source(entry) for entry in content["scans"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} is no list of scans, or damaged ({error}).") from error


def _source(entry: Mapping[str, Any]) -> ScanSource:
    files = tuple(map(Path, entry["files"]))
    return ScanSource(Path(entry["path"]), files, entry["about"], entry["searched"])
