"""What is on screen as files: report, residual, segments, boxes, scene, and DICOM objects."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError, UnsupportedScan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel import kept
from ParanasalSSLPanel.boxes import boxesOf
from ParanasalSSLPanel.folders import unwritableWords
from ParanasalSSLPanel.readings import editedOpacities, readingOf
from ParanasalSSLPanel.results import areOutdated
from ParanasalSSLPanel.scans import volumeFromNode

if TYPE_CHECKING:
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.scans.source_series import SourceSeries
    from ParanasalSSLLib.scans.volume import Volume

FORBIDDEN = '/\\:*?"<>|'  # in names of files, on one system or another


def isFromDicom(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume was read from a DICOM series, by Slicer or from the worklist."""
    origin = kept.originOf(scan)
    return bool(scan.GetAttribute("DICOM.instanceUIDs")) or (
        origin is not None and _isSeries(origin.source)
    )


def exportScan(
    scan: vtkMRMLScalarVolumeNode, folder: Path, identifier: str, asDicom: bool
) -> tuple[ScanFiles, list[str]]:
    """Write all that is shown of a scan to `folder`/`identifier`; nothing is scored again.

    Returns the files, and sentences to add. Raises `ParanasalError`s.
    """
    from ParanasalSSLLib.results.export import export_result

    files = _checked(scan, identifier)
    new, remarks = ScanFiles.in_output(folder, identifier), []
    series = seriesOf(scan, remarks) if asDicom else None
    reading = readingOf(scan)
    try:
        record = export_result(
            files, new, editedOpacities(scan), None if reading.is_empty else reading, series
        )
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, OSError) else OSError(str(error))
        raise ParanasalError(unwritableWords(folder, reason)) from error
    if not _saveScene(new.folder / f"{identifier}_scene.mrb"):
        remarks.append(_("The scene could not be saved."))
    return new, remarks + _remarks(record)


def _checked(scan: vtkMRMLScalarVolumeNode, identifier: str) -> ScanFiles:
    if not identifier.strip(". ") or any(letter in FORBIDDEN for letter in identifier):
        raise ParanasalError(
            _("{name} cannot be the name of a folder. Choose another id.").format(name=identifier)
        )
    files = kept.resultOf(scan)
    if files is None or areOutdated(scan, boxesOf(scan)):
        raise UnsupportedScan(
            _("There are no results of this session for the boxes as they are. Press Run first.")
        )
    return files


def _remarks(record: ScanRecord) -> list[str]:
    if "dicom_sr" in record.files and "dicom_seg" not in record.files:
        return [_("Nothing is outlined, so there is no DICOM segmentation, only the report.")]
    return []


def addToDatabase(files: ScanFiles) -> bool:
    """Copy SEG and SR into Slicer's DICOM database; returns whether that was possible."""
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return False
    from DICOMLib import DICOMUtils

    return bool(DICOMUtils.importDicom(str(files.folder), copyFiles=True))


# ------------------------------------------------------------------------------- the series


def seriesOf(scan: vtkMRMLScalarVolumeNode, remarks: list[str]) -> SourceSeries | None:
    """The DICOM series that the scan is; None, with a remark, if it is none now."""
    from ParanasalSSLLib.scans.source_series import read_source_series

    without = _("No DICOM files were written: {reason}")
    try:
        source = _sourceOf(scan)
        if not source:
            reason = _("the series is no longer in Slicer's DICOM database.")
        elif not _isUnchanged(volumeFromNode(scan), _readSeries(source)):
            reason = _("the scan was changed or moved after it was loaded.")
        else:
            return read_source_series(source)
    except ParanasalError as error:
        reason = str(error)
    remarks.append(without.format(reason=reason))
    return None


def _sourceOf(scan: vtkMRMLScalarVolumeNode) -> Path | list[Path]:
    """A folder or zip, or the files of the series; empty where they are gone."""
    origin = kept.originOf(scan)
    if origin is not None and _isSeries(origin.source):
        return list(origin.source.files) or origin.source.path
    database = getattr(slicer, "dicomDatabase", None)
    uids = (scan.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [Path(database.fileForInstance(uid)) for uid in uids] if database is not None else []
    return files if all(file.is_file() for file in files) else []


def _isSeries(source: ScanSource) -> bool:
    path = source.path
    return bool(source.files) or path.is_dir() or path.name.lower().endswith((".zip", ".dcm"))


def _readSeries(source: Path | list[Path]) -> Volume:
    from ParanasalSSLLib.scans.read import read_volume

    return (
        read_volume(source) if isinstance(source, Path) else read_volume(source[0].parent, source)
    )


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
    except Exception:  # the files are there all the same
        logging.exception("The scene could not be saved.")
        return False
