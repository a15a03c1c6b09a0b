"""Everything about a scan as files: report, residual, segments, boxes, scene, and DICOM objects."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBoxes, ParanasalError
from ParanasalSSLPanel.boxes import boxesOf, qualityOf
from ParanasalSSLPanel.compute import Settings
from ParanasalSSLPanel.folders import freeIdentifier, unwritableWords
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener
from ParanasalSSLPanel.scans import volumeFromNode

DESCRIPTION = "dataset_description.json"


def dicomFilesOf(scan: vtkMRMLScalarVolumeNode) -> list[Path]:
    """The files of the series that a volume was loaded from; empty if it is not from DICOM."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (scan.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not uids:
        return []
    files = [Path(database.fileForInstance(uid)) for uid in uids]
    return files if all(file.is_file() for file in files) else []


@dataclass(eq=False)
class Export:
    """Scores a scan once more in its boxes, as `paranasal predict` does, and keeps all its files.

    done: with the folder that holds everything. failed: with a sentence.
    """

    scan: vtkMRMLScalarVolumeNode
    folder: Path
    settings: Settings
    done: Callable[[Path], None]
    failed: Callable[[str], None]
    log: Callable[[str], None] = lambda line: None
    _inputs: Path = field(init=False)
    _failure: str = field(default="", init=False)
    _process: LibraryProcess = field(init=False)

    def start(self) -> None:
        """Raises `ParanasalError`s for a scan without boxes, or a folder that cannot be written."""
        from ParanasalSSLLib.boxes import write_boxes

        boxes = boxesOf(self.scan)
        if not boxes:
            raise BadBoxes(_("There are no boxes yet. Press Place boxes first."))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParanasalError(unwritableWords(self.folder, error)) from error
        self.identifier = freeIdentifier(self.folder)
        self._inputs = Path(tempfile.mkdtemp(prefix="ParanasalSSL-", dir=slicer.app.temporaryPath))
        write_boxes(boxes, self._inputs / "boxes.json", qualityOf(self.scan))
        source, how = self._source()
        self._process = LibraryProcess(Listener(self._onEvent, self.log, self._onEnd))
        more = ["--boxes", str(self._inputs / "boxes.json"), *how]
        self._process.start(self.settings.predict({self.identifier: source}, self.folder, *more))

    def cancel(self) -> None:
        """Stop; the folder stays as it was."""
        self._process.cancel()

    def wait(self) -> None:
        self._process.wait()

    def _source(self) -> tuple[Path, list[str]]:
        """What is scored: the DICOM series itself, if it is known and not moved; else the volume."""
        from ParanasalSSLLib.volume import write_volume

        files = dicomFilesOf(self.scan)
        if files and self.scan.GetParentTransformNode() is None:
            series = self._inputs / "series"
            series.mkdir()
            for number, file in enumerate(files):
                _linkOrCopy(file, series / f"{number:05d}.dcm")
            return series, ["--dicom-out"]
        write_volume(volumeFromNode(self.scan), self._inputs / "scan.nii")
        return self._inputs / "scan.nii", []

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] in ("scan_failed", "failed"):
            self._failure = str(event["message"])

    def _onEnd(self, ending: Ending, words: str) -> None:
        shutil.rmtree(self._inputs, ignore_errors=True)
        results = self.folder / self.identifier
        if ending is not Ending.FINISHED or self._failure or not results.is_dir():
            self.failed(self._failure or words or _("Nothing was exported."))
        elif not _isSceneSaved(results / f"{self.identifier}_scene.mrb"):
            self.failed(_("The files were written, but the scene could not be saved."))
        else:
            self.done(results)


def _isSceneSaved(path: Path) -> bool:
    try:
        return bool(slicer.util.saveScene(str(path)))
    except Exception:  # Qt would only print it, and the panel would wait for ever
        logging.exception("The scene could not be saved.")
        return False


def _linkOrCopy(source: Path, target: Path) -> None:
    try:
        os.symlink(source, target)
    except OSError:  # Windows, without the right to
        shutil.copyfile(source, target)
