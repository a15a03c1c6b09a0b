"""What is on screen as files: report, residual, segments, boxes, scene, and DICOM objects."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError, UnsupportedScan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLPanel import kept
from ParanasalSSLPanel.boxes import boxesOf
from ParanasalSSLPanel.dicomSeries import seriesOf
from ParanasalSSLPanel.folders import unwritableWords
from ParanasalSSLPanel.readings import editedOpacities, readingOf
from ParanasalSSLPanel.results import areOutdated

if TYPE_CHECKING:
    from ParanasalSSLLib.results.record import ScanRecord

FORBIDDEN = '/\\:*?"<>|'  # in names of files, on one system or another


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


def _saveScene(path: Path) -> bool:
    """Whether it could be saved."""
    try:
        return bool(slicer.util.saveScene(str(path)))
    except Exception:  # the files are there all the same
        logging.exception("The scene could not be saved.")
        return False
