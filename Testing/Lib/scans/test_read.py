"""Reading of a path: one geometry for all formats, clear words for what is no scan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_again, read_volume
from ParanasalSSLLib.scans.volume import Provenance

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]
FORMATS = {".nii": "NIfTI", ".gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_formats_give_the_same_voxels_at_the_same_places(
    tmp_path: Path, suffix: str, affine: np.ndarray, files: Any
) -> None:
    data = files.noise()
    volume = read_volume(files.save(tmp_path / f"scan{suffix}", data, affine))
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing_mm, files.spacing, atol=1e-5)
    assert volume.shape == files.shape
    expected = FORMATS.get(Path(f"scan{suffix}").suffix, "MetaImage")
    assert volume.provenance == Provenance(expected)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_trailing_axis_of_length_one_is_dropped(tmp_path: Path, suffix: str, files: Any) -> None:
    data, path = files.noise(), tmp_path / f"scan{suffix}"
    if suffix == ".nii.gz":
        files.save(path, data[..., None])
    else:
        image = sitk.JoinSeries([sitk.GetImageFromArray(data.transpose(2, 1, 0))])
        image.SetSpacing([*files.spacing.tolist(), 1.0])
        sitk.WriteImage(image, str(path))
    if suffix == ".nrrd":  # four axes are written without an anatomical frame
        assert "oriented" in files.refusal(path, UnsupportedScan)
        return
    np.testing.assert_array_equal(read_volume(path).data, data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files(tmp_path: Path, suffix: str, share: float, files: Any) -> None:
    path = files.save(tmp_path / f"scan{suffix}", files.noise())
    voxels = path.with_suffix(".raw") if suffix in (".nhdr", ".mhd") else path
    whole = voxels.read_bytes()
    voxels.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or damaged" in files.refusal(path, UnreadableScan)


def test_missing_and_empty_files(tmp_path: Path, files: Any) -> None:
    assert "does not exist" in files.refusal(tmp_path / "nothing.nii.gz", UnreadableScan)
    (tmp_path / "empty.nii.gz").touch()
    assert "is empty" in files.refusal(tmp_path / "empty.nii.gz", UnreadableScan)


def test_unknown_suffix_and_other_content(tmp_path: Path, files: Any) -> None:
    (tmp_path / "scan.jpg").write_bytes(b"\xff\xd8\xff" + bytes(300))
    assert "no format" in files.refusal(tmp_path / "scan.jpg", UnreadableScan)
    for name in ("notes.nii.gz", "notes.nii", "notes.nrrd", "notes.mha", "notes.zip"):
        (tmp_path / name).write_text("This is no scan. " * 50, encoding="utf-8")
        files.refusal(tmp_path / name, UnreadableScan)


def test_single_dicom_file(tmp_path: Path, files: Any) -> None:
    path = files.series().write(tmp_path) / "slice000.dcm"
    assert "folder with all slices" in files.refusal(path, UnsupportedScan)
    path.write_bytes(bytes(128) + b"DICM" + bytes(64))
    files.refusal(path, UnreadableScan)


def test_message_names_a_relative_path_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnreadableScan, match=r"^scans/gone\.nii does not exist"):
        read_volume("scans/gone.nii")


def test_name_that_is_too_long_for_the_system(tmp_path: Path, files: Any) -> None:
    assert "longer name (307 letters)" in files.refusal(
        tmp_path / f"{'n' * 300}.nii.gz", UnreadableScan
    )


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip", ""])
def test_path_of_300_letters_is_read(tmp_path: Path, suffix: str, files: Any) -> None:
    folder = tmp_path / ("a" * 150) / ("b" * 150)
    folder.mkdir(parents=True)
    path = folder / f"scan{suffix}"
    if suffix in (".zip", ""):
        series = files.series().write(tmp_path / "series" if suffix else path)
        if suffix:
            files.zipped(series, path)
    else:
        files.save(path, files.noise())
    assert len(str(path)) > 300
    assert min(read_volume(path).shape) == 12


def test_link_to_nothing(tmp_path: Path, files: Any) -> None:
    (tmp_path / "scan.nii").symlink_to(tmp_path / "gone.nii")
    assert "is a link to nothing" in files.refusal(tmp_path / "scan.nii", UnreadableScan)


def test_link_in_a_circle_and_a_pipe(tmp_path: Path, files: Any) -> None:
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    assert "circle" in files.refusal(tmp_path / "loop.nii", UnreadableScan)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.nii")
        assert "neither a file" in files.refusal(tmp_path / "pipe.nii", UnreadableScan)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "scan"])
def test_zip_under_another_name(tmp_path: Path, name: str, files: Any) -> None:
    series = files.series()
    archive = files.zipped(series.write(tmp_path / "series"), tmp_path / "scan.zip")
    volume = read_volume(archive.rename(tmp_path / name))
    np.testing.assert_array_equal(volume.data, series.data)


# ------------------------------------------------------------------------- a scan known already


def test_a_known_scan_comes_back_as_it_was_read(sample_head: Path, tmp_path: Path) -> None:
    volume = read_volume(sample_head)
    again = read_again(sample_head, volume)
    np.testing.assert_array_equal(again.data, volume.data)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-4)
    image = nib.load(sample_head)
    nib.save(nib.Nifti1Image(image.get_fdata()[..., None], image.affine), tmp_path / "4d.nii")
    np.testing.assert_array_equal(read_again(tmp_path / "4d.nii", volume).data, volume.data)


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
def test_a_known_scan_that_is_cut_off_now_is_refused(
    sample_head: Path, tmp_path: Path, name: str
) -> None:
    image, path = nib.load(sample_head), tmp_path / name
    nib.save(image, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableScan, match=r"truncated|damaged|cut"):
        read_again(path, read_volume(sample_head))


def test_a_known_scan_that_lies_elsewhere_now_is_refused(sample_head: Path, tmp_path: Path) -> None:
    image = nib.load(sample_head)
    moved = image.affine + np.array([[0, 0, 0, 1.0], *np.zeros((3, 4))])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "moved.nii")
    with pytest.raises(UnreadableScan, match="changed since it was scored"):
        read_again(tmp_path / "moved.nii", read_volume(sample_head))
