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


RESULT, ORIGIN = "kept", "origin"  # facts on the scan's node: keys of these
_results: dict[str, ScanFiles] = {}
_origins: dict[str, Origin] = {}
_folders: list[Path] = []


def newFolder() -> Path:
    """An empty folder that lives as long as this session."""
    folder = Path(tempfile.mkdtemp(prefix="ParanasalResult-", dir=slicer.app.temporaryPath))
    _folders.append(folder)
    return folder


def keepResult(scan: vtkMRMLScalarVolumeNode, files: ScanFiles | None) -> None:
    """What is shown of the scan is written there; an earlier run's files are no longer needed.

    Every result has a key of its own: a scene that was saved after an earlier run, or a copy of the
    scan, must not get the files of this one.
    """
    older = attributeOf(scan, RESULT)
    setAttribute(scan, RESULT, None)
    if older is not None and not _isInUse(older):
        _forget(older)
    if files is not None:
        setAttribute(scan, RESULT, key := uuid.uuid4().hex)
        _results[key] = files


def _isInUse(key: str) -> bool:
    scans = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return any(attributeOf(scan, RESULT) == key for scan in scans)


def _forget(key: str) -> None:
    older = _results.pop(key, None)
    if older is not None and older.folder.parent in _folders:
        shutil.rmtree(older.folder.parent, ignore_errors=True)
        _folders.remove(older.folder.parent)


def resultOf(scan: vtkMRMLScalarVolumeNode) -> ScanFiles | None:
    """The files of what is shown; None for a scene that was loaded, or a scan without results."""
    files = _results.get(attributeOf(scan, RESULT) or "")
    return files if files is not None and files.report_json.is_file() else None


def keepOrigin(scan: vtkMRMLScalarVolumeNode, origin: Origin) -> None:
    """Remember where a scan was opened from."""
    key = attributeOf(scan, ORIGIN) or uuid.uuid4().hex
    setAttribute(scan, ORIGIN, key)
    _origins[key] = origin


def originOf(scan: vtkMRMLScalarVolumeNode) -> Origin | None:
    """Where a scan was opened from in this session; None if not by this module."""
    return _origins.get(attributeOf(scan, ORIGIN) or "")


@atexit.register
def _tidyUp() -> None:
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
