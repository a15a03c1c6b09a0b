"""The files behind what is shown of a scan: its result, and where the scan came from.

Known to this session only: a saved scene is not to hold paths of this computer.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer import vtkMRMLScalarVolumeNode

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel.scanNodes import attributeOf, setAttribute


@dataclass(frozen=True)
class Origin:
    """source: where the scan was read from. home: its result in a worklist."""

    source: ScanSource
    home: ScanFiles


_results: dict[str, ScanFiles] = {}
_origins: dict[str, Origin] = {}
_folders: list[Path] = []


def newFolder() -> Path:
    """An empty folder that lives as long as this session."""
    folder = Path(tempfile.mkdtemp(prefix="ParanasalResult-", dir=slicer.app.temporaryPath))
    _folders.append(folder)
    return folder


def keepResult(scan: vtkMRMLScalarVolumeNode, files: ScanFiles | None) -> None:
    """What is shown of the scan is written there; an earlier run's files are no longer needed."""
    key = _keyOf(scan)
    older = _results.pop(key, None)
    if older is not None and older.folder.parent in _folders:
        shutil.rmtree(older.folder.parent, ignore_errors=True)
        _folders.remove(older.folder.parent)
    if files is not None:
        _results[key] = files


def resultOf(scan: vtkMRMLScalarVolumeNode) -> ScanFiles | None:
    """The files of what is shown; None for a scene that was loaded, or a scan without results."""
    files = _results.get(attributeOf(scan, "kept") or "")
    return files if files is not None and files.report_json.is_file() else None


def keepOrigin(scan: vtkMRMLScalarVolumeNode, origin: Origin) -> None:
    """Remember where a scan was opened from."""
    _origins[_keyOf(scan)] = origin


def originOf(scan: vtkMRMLScalarVolumeNode) -> Origin | None:
    """Where a scan was opened from in this session; None if not by this module."""
    return _origins.get(attributeOf(scan, "kept") or "")


def _keyOf(scan: vtkMRMLScalarVolumeNode) -> str:
    key = attributeOf(scan, "kept") or uuid.uuid4().hex
    setAttribute(scan, "kept", key)
    return key


@atexit.register
def _tidyUp() -> None:
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
