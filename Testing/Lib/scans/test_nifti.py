"""Reading of NIfTI: values, orientation, and what its header may get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Provenance


def test_integer_types_and_scaling_are_applied(tmp_path: Path, files: Any) -> None:
    raw = files.noise().astype(np.int16)
    image = nib.Nifti1Image(raw, files.affines["straight"])
    image.header.set_slope_inter(0.5, 10.0)
    image.set_sform(files.affines["straight"], 1)
    nib.save(image, tmp_path / "scaled.nii")
    stored = nib.Nifti1Image.from_filename(tmp_path / "scaled.nii").get_fdata()
    volume = read_volume(tmp_path / "scaled.nii")
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, stored, rtol=1e-6)


def test_small_rounding_errors_of_an_affine_are_repaired(tmp_path: Path, files: Any) -> None:
    skewed = files.affines["oblique"].copy()
    skewed[:3, :3] += np.random.default_rng(0).normal(0, 5e-4, (3, 3))
    volume = read_volume(files.save(tmp_path / "scan.nii", files.noise(), skewed))
    axes = volume.affine[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(volume.affine, skewed, atol=5e-3)


def test_qform_stands_in_for_an_unusable_sform(tmp_path: Path, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), files.affines["oblique"])
    image.set_qform(files.affines["oblique"], 1)
    image.set_sform(np.diag([0.0, 0.0, 0.0, 1.0]), 1)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.affine, files.affines["oblique"], atol=1e-4)


def test_complex_images(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "complex.nii.gz", files.noise().astype(np.complex64))
    assert "magnitude" in files.refusal(path, UnsupportedScan)


@pytest.mark.parametrize(
    "linear",
    [np.zeros((3, 3)), np.diag([4.0, 0.0, 8.0]), [[4, 4, 0], [0, 0, 0], [0, 0, 8]]],
    ids=["zero", "one axis zero", "two axes parallel"],
)
def test_unusable_affine(tmp_path: Path, linear: np.ndarray, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), None)
    bad = np.eye(4)
    bad[:3, :3] = linear
    image.set_sform(bad, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    files.refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_affine_that_is_not_finite(tmp_path: Path, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), files.affines["straight"])
    bad = files.affines["straight"].copy()
    bad[0, 3] = np.nan
    image.set_sform(bad, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    assert "not finite" in files.refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_sheared_affine(tmp_path: Path, files: Any) -> None:
    sheared = files.affines["straight"].copy()
    sheared[0, 2] = 2.0
    image = nib.Nifti1Image(files.noise(), None)
    image.set_sform(sheared, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    assert "right angles" in files.refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_provenance_holds_no_text_of_the_file(tmp_path: Path, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), files.affines["straight"])
    image.set_sform(files.affines["straight"], 1)
    image.header["descrip"] = b"Doe^Jane"
    nib.save(image, tmp_path / "Doe_Jane.nii")
    assert read_volume(tmp_path / "Doe_Jane.nii").provenance == Provenance("NIfTI")
