"""DICOM SEG and SR of what scanners write: names in any script, headers with gaps, compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_objects import PATIENT, Written, assert_valid, remove, thick_head, write_series
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless, generate_uid

from ParanasalSSLLib.errors import ParanasalError, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series


def test_patients_name_survives_in_any_script(toolbox: Any, tmp_path: Path) -> None:
    scripts = {
        "ISO_IR 100": "Müller^Jürgen",
        ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    }
    for number, (charset, name) in enumerate(scripts.items()):
        tags = {"SpecificCharacterSet": charset if isinstance(charset, str) else list(charset)}
        folder = write_series(
            thick_head(toolbox), tmp_path / f"in{number}", PatientName=name, **tags
        )
        result = toolbox.result(read_volume(folder))
        written = Written(result, toolbox.card, folder, tmp_path / f"out{number}")
        for data in (written.segmentation, written.report):
            assert str(data.PatientName) == name


@pytest.mark.filterwarnings("ignore:Invalid value")  # while the test writes them
def test_what_a_scanner_left_out_or_wrote_badly_is_empty(toolbox: Any, tmp_path: Path) -> None:
    def change(image: FileDataset) -> None:
        for name in ("StudyID", "AccessionNumber", "SliceThickness", "StudyTime", "PatientName"):
            delattr(image, name)
        image.PatientSex = "FEMALE"
        image.add_new("PatientBirthDate", "DA", "31.01.1970")
        image.ImageOrientationPatient = [c + 1e-6 * (image.Rows % 2) for c in (1, 0, 0, 0, 1, 0)]

    folder = write_series(thick_head(toolbox), tmp_path / "series", change=change)
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    for data in (written.segmentation, written.report):
        for name in ("StudyID", "AccessionNumber", "StudyTime", "PatientSex", "PatientBirthDate"):
            assert name in data and not data[name].value
        assert data.PatientID == PATIENT["PatientID"] and data.StudyDate == PATIENT["StudyDate"]
    measures = written.segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(4.0)
    for path in written.paths:
        assert_valid(path)


def test_compressed_series_from_a_list_of_files(toolbox: Any, tmp_path: Path) -> None:
    folder = write_series(
        thick_head(toolbox), tmp_path / "series", change=lambda image: image.compress(RLELossless)
    )
    files = sorted(folder.iterdir())
    found, expected = read_source_series(files), read_volume(folder)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)
    assert found.shape == expected.shape and len(found.headers) == len(files)


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_series_that_nothing_can_refer_to_is_refused(
    toolbox: Any, tmp_path: Path, name: str
) -> None:
    folder = write_series(thick_head(toolbox), tmp_path / "lacking", change=remove(name))
    assert name in refusal(folder, UnsupportedScan)

    def differ(image: FileDataset) -> None:
        setattr(image, name, generate_uid())

    folder = write_series(thick_head(toolbox), tmp_path / "differing", change=differ)
    assert name in refusal(folder, UnsupportedScan)


def test_what_is_no_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    refusal(tmp_path / "empty", UnreadableScan)
    refusal(tmp_path / "scan.nii.gz", UnreadableScan)


def refusal(path: Path, kind: type[ParanasalError]) -> str:
    with pytest.raises(kind) as caught:
        read_source_series(path)
    message = str(caught.value)
    assert str(path) in message
    assert not any(word in message for word in PATIENT.values() if len(word) > 1)
    return message
