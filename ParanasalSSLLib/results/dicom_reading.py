"""A reader's words in a DICOM structured report that was written before they were said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import Dataset

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.results.dicom_codes import COMMENT, EVALUATIONS
from ParanasalSSLLib.results.dicom_source import new_uid

READER = "Reader: "


def add_to_report(path: Path, sentences: Sequence[str]) -> None:
    """Put sentences among the report's remarks, in place of a reader's earlier ones.

    The report becomes another instance, since what it says has changed.
    """
    report = pydicom.dcmread(path)
    remarks = next(item for item in report.ContentSequence if _is_of(item, EVALUATIONS.value))
    kept = [item for item in remarks.ContentSequence if not _text(item).startswith(READER)]
    remarks.ContentSequence = pydicom.Sequence([*kept, *map(_comment, sentences)])
    report.SOPInstanceUID = new_uid()
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    with write_whole(path) as temporary:
        report.save_as(temporary, enforce_file_format=True)


def _comment(sentence: str) -> Dataset:
    item, name = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator = COMMENT.value, COMMENT.scheme_designator
    name.CodeMeaning = COMMENT.meaning
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = pydicom.Sequence([name])
    item.TextValue = READER + sentence
    return item


def _is_of(item: Dataset, code: str) -> bool:
    return any(name.get("CodeValue") == code for name in item.get("ConceptNameCodeSequence", []))


def _text(item: Dataset) -> str:
    return str(item.get("TextValue", ""))
