"""DICOM as real archives have it: damaged copies, odd UIDs, headers that lack what they should have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series


@pytest.fixture
def long(files: Any) -> Any:
    """A series of which one slice may be missing."""
    return files.series(data=files.voxels((20, 22, 24)), spacing=(5.0, 4.0, 5.0))


def path_of(folder: Path, place: int, series: Any) -> Path:
    """The file of the slice at a place."""
    height = series.origin_lps[2] + place * series.spacing[2]
    found = [p for p in folder.iterdir() if dcmread(p).ImagePositionPatient[2] == height]
    return found[0]


# ------------------------------------------------------------------------------- lost slices


@pytest.mark.parametrize("how", ["empty", "broken link", "cut before its header"])
@pytest.mark.parametrize("place", [0, 9])
def test_a_lost_slice_is_told(tmp_path: Path, long: Any, how: str, place: int) -> None:
    folder = long.write(tmp_path / "series")
    victim = path_of(folder, place, long)
    start = victim.read_bytes()[:100]
    victim.unlink()
    if how == "broken link":
        victim.symlink_to(folder / "nowhere")
    else:
        victim.write_bytes(b"" if how == "empty" else start)
    source = read_volume(folder).provenance
    assert "1 file among the slices is empty, damaged" in source.notices[-1]
    at_an_end = place == 0
    assert source.interpolated_slices == (() if at_an_end else (place,))
    assert source.lost_slices == int(at_an_end)


@pytest.mark.parametrize("place", [0, 9])
def test_a_lost_slice_in_a_zip_is_told(tmp_path: Path, long: Any, place: int, files: Any) -> None:
    folder = long.write(tmp_path / "series")
    path_of(folder, place, long).write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"")
    source = read_volume(files.zipped(folder, tmp_path / "scan.zip")).provenance
    assert "1 file among the slices is empty" in source.notices[-1]


def test_other_empty_files_are_no_lost_slices(tmp_path: Path, long: Any) -> None:
    folder = long.write(tmp_path / "series")
    for name in ("notes.txt", ".DS_Store", "elsewhere/lost.dcm"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    source = read_volume(folder).provenance
    assert source.notices == () and source.lost_slices == 0


@pytest.mark.parametrize("fraction", [0.15, 0.3, 0.45, 0.6, 0.95])
def test_a_cut_slice_is_refused_by_its_name(tmp_path: Path, long: Any, fraction: float) -> None:
    folder = long.write(tmp_path / "series")
    victim = path_of(folder, 9, long)
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(UnreadableScan, match=victim.name):
        read_volume(folder)


# -------------------------------------------------------------------------------------- UIDs


def test_one_uid_for_all_slices_loses_none(tmp_path: Path, long: Any) -> None:
    long.tags = {"SOPInstanceUID": generate_uid()}
    folder = long.write(tmp_path / "series")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.data, long.data)
    assert volume.provenance.interpolated_slices == ()


def test_one_uid_for_two_slices_loses_none(tmp_path: Path, long: Any, files: Any) -> None:
    shared = generate_uid()
    for first in (4, 23):

        def change(place: int, slice_: FileDataset, first: int = first) -> None:
            if place in (first, first - 1):
                slice_.SOPInstanceUID = shared

        long.change = change
        volume = read_volume(long.write(tmp_path / f"series{first}"))
        np.testing.assert_array_equal(volume.data, long.data)


@pytest.mark.parametrize("tag", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_dicom_files_cannot_refer_to_slices_of_such_uids(
    tmp_path: Path, long: Any, tag: str
) -> None:
    long.tags = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    shared = generate_uid()

    def change(place: int, slice_: FileDataset) -> None:
        setattr(slice_, tag, shared if tag == "SOPInstanceUID" else generate_uid())

    folder = long.write(tmp_path / "whole")
    assert len(read_source_series(folder).headers) == 24
    long.change = change
    with pytest.raises(UnsupportedScan, match=tag):
        read_source_series(long.write(tmp_path / "odd"))


def test_a_series_uid_for_each_slice(tmp_path: Path, long: Any) -> None:
    long.change = lambda _place, slice_: setattr(slice_, "SeriesInstanceUID", generate_uid())
    volume = read_volume(long.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, long.data)


def test_no_series_uid_at_all(tmp_path: Path, long: Any) -> None:
    long.change = lambda _place, slice_: slice_.pop("SeriesInstanceUID")
    volume = read_volume(long.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, long.data)


@pytest.mark.parametrize("shared", ["slices", "series", "both"])
@pytest.mark.parametrize("number", [3, 7], ids=["same number", "other number"])
def test_two_series_that_share_uids_are_never_taken_for_one(
    tmp_path: Path, shared: str, number: int, files: Any
) -> None:
    first, uids = files.series(), [generate_uid() for _ in range(12)]
    other = files.series(data=files.voxels()[::-1].copy(), tags={"SeriesNumber": number})
    if shared != "slices":
        other.uid = first.uid
    if shared != "series":
        for series in (first, other):
            series.change = lambda place, slice_: setattr(slice_, "SOPInstanceUID", uids[place])
    folder = first.write(tmp_path / "study", "a")
    other.write(folder, "b")
    if shared == "slices" or number == 7:
        assert "2 series" in files.refusal(folder, SeveralSeries)
    else:
        assert "same place" in files.refusal(folder, UnsupportedScan)


def test_a_localizer_inside_the_series_is_passed_over(tmp_path: Path, files: Any) -> None:
    series = files.series()
    scout = files.series(
        data=files.voxels((20, 22, 3)),
        axes_lps=files.slice_axes["coronal"],
        uid=series.uid,
        tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    )
    folder = scout.write(series.write(tmp_path / "series"), "scout")
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


# ----------------------------------------------------------------------------------- headers


def test_spacing_that_differs_by_rounding(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.PixelSpacing = [4.0 + 1e-7 * (place % 3), 5.0]

    series = files.series(change=change)
    np.testing.assert_array_equal(read_volume(series.write(tmp_path / "a")).data, series.data)
    series.change = lambda place, slice_: setattr(slice_, "PixelSpacing", [4.0 + place % 2, 5.0])
    assert "size" in files.refusal(series.write(tmp_path / "b"), UnsupportedScan)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@pytest.mark.parametrize("lacking", ["preamble", "preamble and meta", "syntax"])
def test_files_that_do_not_say_that_they_are_dicom_or_how(
    tmp_path: Path, files: Any, syntax: str, lacking: str
) -> None:
    series = files.series()
    folder = series.write(tmp_path / "series")
    for path in folder.iterdir():
        data = dcmread(path)
        list(data.iterall())  # numbers are only then written in the new encoding
        if syntax == "implicit":
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            data.set_original_encoding(True, True, None)
        elif syntax == "big":
            data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
            data.set_original_encoding(False, False, None)
        data.save_as(path, enforce_file_format=True)
        path.write_bytes(without(path.read_bytes(), lacking))
    np.testing.assert_array_equal(read_volume(folder).data, series.data)
    message = files.refusal(sorted(folder.iterdir())[0], UnsupportedScan)
    assert "single DICOM file" in message


def without(whole: bytes, lacking: str) -> bytes:
    """The file without its first bytes, its whole group 2, or the transfer syntax in that."""
    if lacking == "preamble":
        return whole[132:]
    length = int.from_bytes(whole[140:144], "little")  # of group 2, behind its own length
    meta, data = whole[144 : 144 + length], whole[144 + length :]
    if lacking == "preamble and meta":
        return data
    start = meta.index(b"\x02\x00\x10\x00UI")
    size = 8 + int.from_bytes(meta[start + 6 : start + 8], "little")
    meta = meta[:start] + meta[start + size :]
    return whole[:140] + len(meta).to_bytes(4, "little") + meta + data


def test_compressed_pixels_without_transfer_syntax_are_refused(tmp_path: Path, files: Any) -> None:
    series = files.series(data=files.voxels() // 8)
    series.change = lambda _place, slice_: slice_.compress(RLELossless)
    folder = series.write(tmp_path / "series")
    for path in folder.iterdir():
        dcmread(path).save_as(path, enforce_file_format=True)
        path.write_bytes(without(path.read_bytes(), "syntax"))
    assert "compressed" in files.refusal(folder, UnreadableScan)


def test_files_that_only_begin_like_dicom_do_no_harm(tmp_path: Path, files: Any) -> None:
    series = files.series()
    folder = series.write(tmp_path / "series")
    (folder / "data.bin").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00" + bytes(range(256)) * 4)
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


# ------------------------------------------------------------------------------- intensities


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1e-9])
@pytest.mark.parametrize("signed", [0, 1])
def test_monochrome1_is_turned_the_right_way_round(
    tmp_path: Path, files: Any, compressed: bool, unit: float, signed: int
) -> None:
    series = files.series(data=files.voxels() // 8)
    bright = series.data
    slopes = unit * np.array([1.0, 0.5])  # scanners scale every slice by itself
    series.data = (4096 - bright) * np.resize([1, 2], bright.shape[2]).astype(np.int16)

    def change(place: int, slice_: FileDataset) -> None:
        slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME1", signed
        slice_.RescaleSlope, slice_.RescaleIntercept = slopes[place % 2], 0
        if compressed:
            slice_.compress(RLELossless)

    series.change = change
    found = read_volume(series.write(tmp_path / "series")).data / unit
    expected = bright - bright.min()
    np.testing.assert_allclose(found - found.min(), expected, atol=0.01)


def test_a_mix_of_monochrome_1_and_2_is_refused(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.PhotometricInterpretation = f"MONOCHROME{1 + place % 2}"

    folder = files.series(change=change).write(tmp_path / "series")
    assert "MONOCHROME1" in files.refusal(folder, UnsupportedScan)


def test_copies_in_another_encoding_count_once(tmp_path: Path, files: Any) -> None:
    series = files.series()
    folder = series.write(tmp_path / "series")
    shutil.copytree(folder, folder / "again")
    for path in (folder / "again").iterdir():
        data = dcmread(path)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


def test_copies_of_slices_without_a_uid_do_no_harm(tmp_path: Path, files: Any) -> None:
    series = files.series(change=lambda _place, slice_: delattr(slice_, "SOPInstanceUID"))
    folder = series.write(tmp_path / "study" / "series")
    shutil.copytree(folder, tmp_path / "study" / "copies")
    np.testing.assert_array_equal(read_volume(tmp_path / "study").data, series.data)


def test_a_header_with_a_number_for_its_class_is_damaged(tmp_path: Path, files: Any) -> None:
    path = sorted(files.series().write(tmp_path / "series").iterdir())[4]
    content = path.read_bytes()
    start = content.index(b"\x08\x00\x16\x00UI")
    path.write_bytes(content[:start] + content[start:].replace(b"UI", b"US", 1)[:60])
    files.refusal(tmp_path / "series", UnreadableScan)
