"""Enhanced multi-frame MR: the right frames in the right place, or a clear refusal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from enhanced import EnhancedFrame, frames_of, shuffled, write_enhanced
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume


@pytest.fixture
def head(files: Any, affine: np.ndarray) -> Volume:
    return Volume(files.noise(), affine)


@pytest.fixture
def oblique(files: Any) -> Volume:
    return Volume(files.noise(), files.affines["oblique"])


def assert_same_content(found: Volume, expected: Volume) -> None:
    """Each voxel at its place in RAS mm, whatever the order of the axes."""
    index = np.stack(np.indices(found.shape), axis=-1).reshape(-1, 3)
    mapped = index @ found.affine[:3, :3].T + found.affine[:3, 3]
    back = np.linalg.inv(expected.affine)
    mapped = mapped @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(mapped, np.rint(mapped), atol=1e-3)
    there = expected.data[tuple(np.rint(mapped).astype(int).T)]
    np.testing.assert_array_equal(found.data.ravel(), there)


def test_one_file_of_shuffled_frames(tmp_path: Path, head: Volume, files: Any) -> None:
    path = write_enhanced(shuffled(frames_of(head)), tmp_path / "study" / "enhanced.dcm")
    archive = files.zipped(path.parent, tmp_path / "study.zip", "patient/")
    for given in (path, path.parent, archive):
        volume = read_volume(given)
        assert_same_content(volume, head)
        assert volume.provenance.format == "DICOM" and volume.provenance.modality == "MR"
        assert volume.provenance.notices == ()


def test_several_files_are_one_volume(tmp_path: Path, oblique: Volume) -> None:
    frames = shuffled(frames_of(oblique))
    for number, start in enumerate(range(0, len(frames), 5)):
        write_enhanced(frames[start : start + 5], tmp_path / "parts" / f"{number}.dcm")
    for number, frame in enumerate(frames):  # as some scanners: enhanced, but a file for each slice
        write_enhanced([frame], tmp_path / "singles" / f"{number}.dcm")
    for folder in (tmp_path / "parts", tmp_path / "singles"):
        assert_same_content(read_volume(folder), oblique)


def test_copy_of_the_file_beside_it_does_no_harm(tmp_path: Path, oblique: Volume) -> None:
    path = write_enhanced(frames_of(oblique), tmp_path / "enhanced.dcm")
    shutil.copy(path, tmp_path / "copy.dcm")
    image = pydicom.dcmread(path)
    image.ImageComments = "the same image, another file"
    image.save_as(tmp_path / "other.dcm")
    assert_same_content(read_volume(tmp_path), oblique)


def test_frames_are_rescaled_each_as_it_says(tmp_path: Path, oblique: Volume) -> None:
    frames = [
        EnhancedFrame(oblique, place, slope=0.5 + place, intercept=-3.0 * place)
        for place in range(oblique.shape[2])
    ]
    planes = [f.volume.data[:, :, f.place] // 8 * f.slope + f.intercept for f in frames]
    scaled = Volume(np.stack(planes, axis=-1), oblique.affine)
    frames = [replace(frame, volume=scaled) for frame in frames]
    for name, change in COMPRESSIONS.items():
        path = write_enhanced(shuffled(frames), tmp_path / f"{name}.dcm", change)
        assert_same_content(read_volume(path), scaled)


COMPRESSIONS: dict[str, Callable[[FileDataset], None]] = {
    "plain": lambda _: None,
    "rle": lambda image: image.compress(RLELossless),
    "jpeg-ls": lambda image: image.compress(JPEGLSLossless),
}


def test_black_is_greatest(tmp_path: Path, oblique: Volume) -> None:
    for name, change in COMPRESSIONS.items():
        path = write_enhanced(
            frames_of(oblique),
            tmp_path / f"{name}.dcm",
            change,
            PhotometricInterpretation="MONOCHROME1",
        )
        turned = oblique.data.min() + oblique.data.max() - oblique.data
        assert_same_content(read_volume(path), Volume(turned, oblique.affine))


def test_missing_frame_is_made_up_and_told(tmp_path: Path, oblique: Volume) -> None:
    volume = Volume(np.concatenate([oblique.data] * 2, axis=2), oblique.affine)
    path = write_enhanced(frames_of(volume, skip=[9]), tmp_path / "enhanced.dcm")
    found = read_volume(path)
    [place] = found.provenance.interpolated_slices
    assert place in (9, volume.shape[2] - 10)
    assert "1 of the series' 24 slices is missing" in found.provenance.notices[0]
    gone = write_enhanced(frames_of(volume, skip=[9, 10]), tmp_path / "gone.dcm")
    with pytest.raises(UnsupportedScan, match="lacks slices"):
        read_volume(gone)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"stack": "2"}, ("stack 1", "stack 2")),
        ({"time": 2}, ("time point 1", "time point 2")),
        ({"echo_ms": 92.5}, ("echo time 20 ms", "echo time 92.5 ms")),
    ],
)
def test_volumes_that_share_a_file_are_told_apart(
    tmp_path: Path, oblique: Volume, facts: dict[str, Any], words: tuple[str, str], files: Any
) -> None:
    frames = shuffled(frames_of(oblique) + frames_of(oblique, **facts))
    path = write_enhanced(frames, tmp_path / "study" / "enhanced.dcm")
    for given in (path, path.parent):
        message = files.refusal(given, SeveralSeries)
        assert all(word in message for word in words) and message.count("(12 slices)") == 2


def test_short_stack_beside_the_volume_is_passed_over(tmp_path: Path, oblique: Volume) -> None:
    turned = Volume(oblique.data.transpose(2, 1, 0), oblique.affine[:, [2, 1, 0, 3]])
    survey = Volume(np.zeros((*oblique.shape[:2], 3)), turned.affine)
    frames = shuffled(frames_of(oblique) + frames_of(survey, stack="2"))
    assert_same_content(read_volume(write_enhanced(frames, tmp_path / "one.dcm")), oblique)


def test_frames_at_one_place_are_refused(tmp_path: Path, oblique: Volume, files: Any) -> None:
    path = write_enhanced(frames_of(oblique) * 2, tmp_path / "twice.dcm")
    assert "same place" in files.refusal(path, UnsupportedScan)


def test_part_of_a_concatenation_is_refused(tmp_path: Path, oblique: Volume, files: Any) -> None:
    frames = frames_of(oblique)
    tags = {"SOPInstanceUIDOfConcatenationSource": generate_uid(), "InConcatenationTotalNumber": 2}
    folder = tmp_path / "series"
    write_enhanced(frames[:9], folder / "1.dcm", InConcatenationNumber=1, **tags)
    assert "1 of the 2 files" in files.refusal(folder, UnsupportedScan)
    write_enhanced(frames[9:], folder / "2.dcm", InConcatenationNumber=2, **tags)
    assert_same_content(read_volume(folder), oblique)


def test_damaged_files(tmp_path: Path, oblique: Volume, files: Any) -> None:
    path = write_enhanced(frames_of(oblique), tmp_path / "cut.dcm")
    whole = path.read_bytes()
    for fraction in (0.05, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * fraction)])
        files.refusal(path, UnreadableScan)

    def forget_a_frame(image: FileDataset) -> None:
        del image.PerFrameFunctionalGroupsSequence[3]

    path = write_enhanced(frames_of(oblique), tmp_path / "lacking.dcm", forget_a_frame)
    files.refusal(path, UnreadableScan)

    def forget_a_place(image: FileDataset) -> None:
        del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence

    path = write_enhanced(frames_of(oblique), tmp_path / "nowhere.dcm", forget_a_place)
    assert "where they lie" in files.refusal(path, UnsupportedScan)


def test_other_modality(tmp_path: Path, oblique: Volume, files: Any) -> None:
    path = write_enhanced(frames_of(oblique), tmp_path / "ct.dcm", Modality="CT")
    assert "is a CT" in files.refusal(path, UnsupportedScan)


def test_series_that_highdicom_converted(sample_series: Path, tmp_path: Path) -> None:
    legacy = pytest.importorskip("highdicom", reason="highdicom is not installed").legacy
    slices = [pydicom.dcmread(path) for path in sorted(sample_series.iterdir())]
    for one in slices:
        one.AccessionNumber, one.StudyID, one.StudyDate, one.StudyTime = "", "", "", ""
        one.PatientSex, one.ReferringPhysicianName = "", ""
    image = legacy.LegacyConvertedEnhancedMRImage(
        slices, generate_uid(), 7, generate_uid(), 1, transfer_syntax_uid=ExplicitVRLittleEndian
    )
    image.save_as(tmp_path / "legacy.dcm")
    found, expected = read_volume(tmp_path / "legacy.dcm"), read_volume(sample_series)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)
    np.testing.assert_array_equal(found.data, expected.data)
