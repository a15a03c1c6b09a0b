"""The MR series in Slicer's DICOM database, as scans."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.source import ScanSource

MODALITY, NAME, STUDY_DATE = "0008,0060", "0010,0010", "0008,0020"
NUMBER, DESCRIPTION = "0020,0011", "0008,103E"


def openDatabase() -> Any:
    """Slicer's DICOM database. Raises `ParanasalError` where it is not open."""
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        raise ParanasalError(
            _("Slicer's DICOM database is not open. Open the module DICOM once, and try again.")
        )
    return database


def seriesInDatabase() -> dict[str, str]:
    """A line with patient, day and series for each, by its UID. Raises `ParanasalError`."""
    database = openDatabase()
    found = dict(_series(database))
    if not found:
        raise ParanasalError(_("There is no MR series in Slicer's DICOM database."))
    return found


def sourceOf(uid: str) -> ScanSource:
    """The files of a series. Raises `ParanasalError`."""
    database = openDatabase()
    files = tuple(sorted(map(Path, database.filesForSeries(uid))))
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return ScanSource(folder, files, _about(database, files), searched=True)


def _series(database: Any) -> Iterator[tuple[str, str]]:
    for patient in database.patients():
        for study in database.studiesForPatient(patient):
            for uid in database.seriesForStudy(study):
                files = database.filesForSeries(uid)
                if files and database.fileValue(files[0], MODALITY) == "MR":
                    yield uid, _title(database, files)


def _title(database: Any, files: Any) -> str:
    name, day = (database.fileValue(files[0], tag) for tag in (NAME, STUDY_DATE))
    return " \N{MIDDLE DOT} ".join((name, day, _about(database, files)))


def _about(database: Any, files: Any) -> str:
    number, words = (database.fileValue(str(files[0]), tag) for tag in (NUMBER, DESCRIPTION))
    return _("{number}: {description} ({count} images)").format(
        number=number, description=words, count=len(files)
    )
