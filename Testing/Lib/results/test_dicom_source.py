"""DICOM SEG and SR of what scanners write: names in any script, headers with gaps, compression."""

from __future__ import annotations

import struct
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

# What a header claims, the bytes of the name in it, and the name that they mean.
NAMES = {
    "UTF-8": ("ISO_IR 192", "Müller^Zoë".encode(), "Müller^Zoë"),
    "Latin": ("ISO_IR 100", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "Cyrillic": ("ISO_IR 144", "Иванов^Иван".encode("iso8859_5"), "Иванов^Иван"),
    "Greek": ("ISO_IR 126", "Διονυσιος".encode("iso8859_7"), "Διονυσιος"),
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "Japanese": (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "Korean": (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "Hong^Gildong=洪^吉洞",
    ),
    "nothing claimed, plain": (None, b"Doe^Jane", "Doe^Jane"),
    "nothing claimed, UTF-8": (None, "Müller^Jürgen".encode(), "Müller^Jürgen"),
    "nothing claimed, Latin": (None, "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "ASCII claimed, UTF-8": ("ISO_IR 6", "山田^太郎".encode(), "山田^太郎"),
    "UTF-8 claimed, Latin": ("ISO_IR 192", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_patients_name_is_written_as_it_is_claimed_in_any_script(
    toolbox: Any, tmp_path: Path, kind: str
) -> None:
    claimed, name, meant = NAMES[kind]
    tags = {"PatientName": "X" * len(name), "StudyDescription": "Y" * len(name)}
    folder = write_series(thick_head(toolbox), tmp_path / "in", **tags)
    for path in folder.iterdir():
        rename(path, claimed, name)
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    for data in (written.segmentation, written.report):
        assert str(data.PatientName) == data.StudyDescription == meant
        assert data.SpecificCharacterSet == "ISO_IR 192"
    for path in written.paths:
        assert meant.encode() in path.read_bytes()


def rename(path: Path, claimed: str | None, name: bytes) -> None:
    """Bytes for bytes, as a program writes them that claims what it likes."""
    content = path.read_bytes()
    charset = element(0x0008_0005, b"CS", b"ISO_IR 100")
    new = element(0x0008_0005, b"CS", claimed.encode()) if claimed else b""
    for old, inserted in ((b"X" * len(name), name), (b"Y" * len(name), name), (charset, new)):
        assert content.count(old) == 1
        content = content.replace(old, inserted)
    path.write_bytes(content)


def element(tag: int, kind: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind, len(value)) + value


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
