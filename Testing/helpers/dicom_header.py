"""DICOM files of a few words, without an image."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


def write_dicom_header(path: Path, **said: str) -> Path:
    data = Dataset()
    data.update(said)
    data.preamble, data.file_meta = bytes(128), FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=False)
    return path
