"""What is no three-dimensional head MRI is refused, whatever the format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.checks import VALUES_OF_A_CT
from ParanasalSSLLib.scans.read import read_volume


def test_several_dimensions(tmp_path: Path, files: Any) -> None:
    four = files.noise((*files.shape, 3))
    assert "4 dimensions" in files.refusal(
        files.save(tmp_path / "series.nii.gz", four), UnsupportedScan
    )
    image = sitk.JoinSeries([sitk.GetImageFromArray(four[..., n]) for n in range(3)])
    sitk.WriteImage(image, str(tmp_path / "series.mha"))
    assert "4 dimensions" in files.refusal(tmp_path / "series.mha", UnsupportedScan)


def test_colour_images(tmp_path: Path, files: Any) -> None:
    rgb = np.zeros(files.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in files.refusal(files.save(tmp_path / "colour.nii.gz", rgb), UnsupportedScan)
    image = sitk.GetImageFromArray(files.noise((*files.shape, 3)), isVector=True)
    for name in ("colour.nrrd", "colour.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert "3 values a voxel" in files.refusal(tmp_path / name, UnsupportedScan)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite(tmp_path: Path, suffix: str, value: float, files: Any) -> None:
    data = files.noise()
    data[3, 4, 5] = value
    path = files.save(tmp_path / f"scan{suffix}", data)
    assert "1 voxels that are not finite" in files.refusal(path, UnsupportedScan)


def test_no_orientation_at_all(tmp_path: Path, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), None)
    nib.save(image, tmp_path / "scan.nii")
    assert "left and right" in files.refusal(tmp_path / "scan.nii", UnsupportedScan)
    path = files.save(tmp_path / "scan.nrrd", files.noise())
    content = path.read_bytes()
    path.write_bytes(re.sub(rb"\nspace: [^\n]*", b"\nspace dimension: 3", content))
    assert "left and right" in files.refusal(path, UnsupportedScan)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_tiny_images(tmp_path: Path, suffix: str, files: Any) -> None:
    path = files.save(tmp_path / f"scan{suffix}", files.noise((20, 20, 4)))
    assert "too few" in files.refusal(path, UnsupportedScan)
    path = files.save(tmp_path / f"small{suffix}", files.noise((12, 12, 12)))
    assert "too small for a head" in files.refusal(path, UnsupportedScan)


def test_huge_images_are_refused_by_their_header(tmp_path: Path, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), files.affines["straight"])
    header = image.header.copy()
    header.set_data_shape((2000, 2000, 2000))
    header.set_sform(files.affines["straight"], 1)
    with (tmp_path / "huge.nii").open("wb") as file:
        header.write_to(file)  # 32 GB promised; none is there
    assert "too many" in files.refusal(tmp_path / "huge.nii", UnsupportedScan)


def test_implausible_voxel_size(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "metres.nii", files.noise(), np.diag([0.004, 0.005, 0.008, 1.0]))
    assert "0.1 to 15.0 mm" in files.refusal(path, UnsupportedScan)


def test_ct_by_its_hounsfield_air(tmp_path: Path, files: Any) -> None:
    random = np.random.default_rng(0)
    data = random.normal(40, 60, files.shape).astype(np.float32)  # soft tissue
    data[16:20] = random.uniform(300, 1500, data[16:20].shape)  # bone
    data[:8] = -1000 + random.normal(0, 10, data[:8].shape)
    assert "CT" in files.refusal(files.save(tmp_path / "scan.nii.gz", data), UnsupportedScan)
    data[:3] = -3024  # outside of what was seen
    assert "CT" in files.refusal(files.save(tmp_path / "padded.nii.gz", data), UnsupportedScan)


@pytest.mark.parametrize("offset", [-1024.0, -1000.0, -900.0, -1050.5])
@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 4.0])
def test_mri_with_an_offset_is_no_ct(
    tmp_path: Path, offset: float, scale: float, sample_head: Path, files: Any
) -> None:
    head = read_volume(sample_head)
    data = head.data * np.float32(scale * 1000 / np.percentile(head.data, 99))
    path = files.save(tmp_path / "scan.nii", data + np.float32(offset), head.affine)
    notices = read_volume(path).provenance.notices
    assert notices in ((), (VALUES_OF_A_CT,))
    if offset == -1000.0:
        assert notices == (VALUES_OF_A_CT,)


@pytest.mark.parametrize("top", [8.0, 16.0, 30.0, 100.0, 255.0, 700.0])
@pytest.mark.parametrize("upsampled", [1, 2])
def test_image_of_few_grey_values_is_no_label_map(
    tmp_path: Path, top: float, upsampled: int, sample_head: Path, files: Any
) -> None:
    """Whole numbers of 8 bits: dark, bright, cut off at the top; voxels doubled."""
    head = read_volume(sample_head)
    grey = np.round(head.data * (top / np.percentile(head.data, 99.5))).clip(0, 255)
    data, affine = grey.astype(np.uint8).repeat(upsampled, 0), head.affine.copy()
    affine[:3, 0] /= upsampled
    volume = read_volume(files.save(tmp_path / "scan.nii.gz", data, affine))
    np.testing.assert_array_equal(volume.data, data)


def test_masks_and_empty_images(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "mask.nii.gz", (files.noise() > 2000).astype(np.uint8))
    assert "mask" in files.refusal(path, UnsupportedScan)
    path = files.save(tmp_path / "empty.nii.gz", np.full(files.shape, 7.0, np.float32))
    assert "every voxel" in files.refusal(path, UnsupportedScan)
    blocks = np.arange(11 * 10 * 6).reshape(11, 10, 6) % 90  # a parcellation of many regions
    labels = np.kron(blocks, np.ones((4, 4, 4))).astype(np.int16)
    assert "label" in files.refusal(files.save(tmp_path / "labels.nii", labels), UnsupportedScan)
