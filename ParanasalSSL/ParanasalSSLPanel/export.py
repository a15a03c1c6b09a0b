"""Everything about a scan as files: report, residual, segments, boxes, scene, and DICOM objects."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun
from ParanasalSSLLib.errors import BadBoxes, ParanasalError
from ParanasalSSLPanel.boxes import boxesOf, qualityOf
from ParanasalSSLPanel.compute import Settings, modelName
from ParanasalSSLPanel.folders import freeIdentifier, unwritableWords
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener
from ParanasalSSLPanel.results import modelOf
from ParanasalSSLPanel.scans import volumeFromNode
from ParanasalSSLPanel.words import stageWords

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.scans.volume import Volume
    from ParanasalSSLLib.sinuses import Side


def isFromDicom(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume was loaded from a DICOM series."""
    return bool(scan.GetAttribute("DICOM.instanceUIDs"))


@dataclass(eq=False)
class Export:
    """Scores a scan once more in its boxes, as `paranasal predict` does, and keeps all its files.

    done: with the folder that holds everything, and a sentence to add, or "". failed: with a sentence.
    stage: with the words of a stage. log: a line of text.
    """

    scan: vtkMRMLScalarVolumeNode
    folder: Path
    settings: Settings
    done: Callable[[Path, str], None]
    failed: Callable[[str], None]
    stage: Callable[[str], None] = lambda words: None
    log: Callable[[str], None] = lambda line: None
    inputs: Path = field(init=False)
    _failure: str = field(default="", init=False)
    remarks: list[str] = field(default_factory=list, init=False)
    _process: LibraryProcess = field(init=False)

    def start(self) -> None:
        """Raises `ParanasalError`s for a scan without boxes, or a folder that cannot be written."""
        boxes = boxesOf(self.scan)
        if not boxes:
            raise BadBoxes(_("There are no boxes yet. Press Place boxes first."))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParanasalError(unwritableWords(self.folder, error)) from error
        self.identifier = freeIdentifier(self.folder)
        self.inputs = Path(tempfile.mkdtemp(prefix="ParanasalSSL-", dir=slicer.app.temporaryPath))
        try:
            arguments = self._arguments(boxes)
        except BaseException:
            shutil.rmtree(self.inputs, ignore_errors=True)
            raise
        self._process = LibraryProcess(Listener(self._onEvent, self.log, self._onEnd))
        self._process.start(arguments)

    def cancel(self) -> None:
        """Stop; the folder stays as it was."""
        self._process.cancel()

    def wait(self) -> None:
        """Return when the process has ended."""
        self._process.wait()

    def _arguments(self, boxes: dict[Side, SinusBox]) -> list[str]:
        from ParanasalSSLLib.boxes.placement import Placement, write_placement
        from ParanasalSSLLib.boxes.quality import NOT_JUDGED
        from ParanasalSSLLib.scans.volume import write_volume

        placement = Placement(boxes, qualityOf(self.scan) or NOT_JUDGED)
        write_placement(placement, self.inputs / "boxes.json")
        volume = volumeFromNode(self.scan)
        source, how = self.series(volume), ["--dicom-out"]
        if source is None:
            source, how = self.inputs / "scan.nii", []
            write_volume(volume, source)
        more = ["--boxes", str(self.inputs / "boxes.json"), *how]
        return self.settings.predict({self.identifier: source}, self.folder, *more)

    def series(self, volume: Volume) -> Path | None:
        """A folder with the DICOM series that the scan is; None, with a remark, if it is none now."""
        from ParanasalSSLLib.scans.read import read_volume

        if not isFromDicom(self.scan):
            return None
        without = _("No DICOM files were written: {reason}")
        files = self._filesInDatabase()
        if not files:
            reason = _("the series is no longer in Slicer's DICOM database.")
            self.remarks.append(without.format(reason=reason))
            return None
        series = self.inputs / "series"
        series.mkdir()
        for number, file in enumerate(files):
            _linkOrCopy(file, series / f"{number:05d}.dcm")
        try:
            if _isUnchanged(volume, read_volume(series)):
                return series
            reason = _("the scan was changed or moved after it was loaded.")
        except ParanasalError as error:
            reason = str(error)
        self.remarks.append(without.format(reason=reason))
        return None

    def _filesInDatabase(self) -> list[Path]:
        database = getattr(slicer, "dicomDatabase", None)
        if database is None:
            return []
        uids = self.scan.GetAttribute("DICOM.instanceUIDs").split()
        files = [Path(database.fileForInstance(uid)) for uid in uids]
        return files if all(file.is_file() for file in files) else []

    def _onEvent(self, event: Event) -> None:
        from ParanasalSSLLib.results.record import ScanRecord

        match event:
            case StageBegun():
                self.stage(stageWords(event.stage))
            case ScanDone():
                self.compare(ScanRecord.from_json(event.report))
            case ScanFailed() | CallFailed():
                self._failure = event.message

    def compare(self, record: ScanRecord) -> None:
        """Say where the files differ from what a user expects."""
        if "dicom_sr" in record.files and "dicom_seg" not in record.files:
            self.remarks.append(
                _("No opacity was found, so there is no DICOM segmentation, only the report.")
            )
        shown = modelOf(self.scan)
        if shown is not None and shown != modelName(record.model):
            self.remarks.append(
                _("The files are of model {new}, the table in the panel is of {shown}.").format(
                    new=modelName(record.model), shown=shown
                )
            )

    def _onEnd(self, ending: Ending, words: str) -> None:
        shutil.rmtree(self.inputs, ignore_errors=True)
        results = self.folder / self.identifier
        if ending is Ending.CANCELLED:
            self.failed(_("Cancelled. Nothing was exported."))
        elif ending is not Ending.FINISHED or self._failure or not results.is_dir():
            self.failed(self._failure or words or _("Nothing was exported."))
        elif not _saveScene(results / f"{self.identifier}_scene.mrb"):
            self.failed(_("The files were written, but the scene could not be saved."))
        else:
            self.done(results, " ".join(self.remarks))


def _isUnchanged(now: Volume, loaded: Volume) -> bool:
    """Whether a volume still has the voxels of its file, in their places, in whatever order."""
    from ParanasalSSLLib.geometry import is_same_place

    facts = [
        [data.min(), data.max(), data.mean(dtype=float), data.std(dtype=float)]
        for data in (now.data, loaded.data)
    ]
    same = np.allclose(*facts, rtol=1e-4, atol=1e-4 * float(now.data.max() - now.data.min()))
    return same and is_same_place(now, loaded)


def _saveScene(path: Path) -> bool:
    """Whether it could be saved."""
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
