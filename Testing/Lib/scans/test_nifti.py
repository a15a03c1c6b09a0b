"""Reading of NIfTI: values, orientation, and what its header may get wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.nifti import TWO_ORIENTATIONS
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


# ------------------------------------------------------------------------ two things said at once

TURNED = {
    "left and right": np.diag([-1.0, 1.0, 1.0]),
    "front and back": np.diag([1.0, -1.0, 1.0]),
    "up and down": np.diag([1.0, 1.0, -1.0]),
    "all three": -np.eye(3),
    "half a turn": np.diag([-1.0, -1.0, 1.0]),
    "a quarter turn": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
}


def with_two_forms(
    path: Path, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int], files: Any
) -> Path:
    image = nib.Nifti1Image(files.noise(), None)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    nib.save(image, path)
    return path


def turned(affine: np.ndarray, turn: np.ndarray) -> np.ndarray:
    other = affine.copy()
    other[:3] = turn @ other[:3]
    return other


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("codes", [(2, 1), (4, 1), (2, 2), (1, 1), (1, 2)])
def test_two_orientations_that_disagree_on_left_and_right(
    tmp_path: Path, affine: np.ndarray, turn: str, codes: tuple[int, int], files: Any
) -> None:
    qform = turned(affine, TURNED[turn])
    path = with_two_forms(tmp_path / "scan.nii", affine, qform, codes, files)
    if codes[0] != 1:  # programs differ in what they take
        assert "disagree on left and right" in files.refusal(path, UnsupportedScan)
        return
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert volume.provenance == Provenance(
        "NIfTI", notices=(TWO_ORIENTATIONS,), sides_in_doubt=True
    )


def test_no_other_form_stands_in_with_other_sides(tmp_path: Path, files: Any) -> None:
    sheared = files.affines["straight"].copy()
    sheared[0, 2] = 2.0
    qform = files.affines["left-handed"]
    path = with_two_forms(tmp_path / "scan.nii", sheared, qform, (1, 1), files)
    assert "disagree on left and right" in files.refusal(path, UnsupportedScan)


@pytest.mark.parametrize("codes", [(2, 1), (1, 1), (4, 1), (0, 1), (1, 0)])
def test_forms_that_agree_on_left_and_right_need_no_notice(
    tmp_path: Path, affine: np.ndarray, codes: tuple[int, int], files: Any
) -> None:
    """A sform may be aligned with a template; a form of code 0 says nothing."""
    angle = np.deg2rad(40)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    other = turned(affine, turn if 0 not in codes else np.diag([-1.0, 1.0, 1.0]))
    sform, qform = (affine, other) if codes[0] == 1 else (other, affine)
    volume = read_volume(with_two_forms(tmp_path / "scan.nii", sform, qform, codes, files))
    assert volume.provenance == Provenance("NIfTI")
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0)])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1)])
def test_unit_of_length_is_honoured(
    tmp_path: Path, affine: np.ndarray, unit: str, scale: float, codes: Any, files: Any
) -> None:
    stored = np.diag([scale, scale, scale, 1.0]) @ affine
    image = nib.Nifti1Image(files.noise(), None)
    image.set_sform(stored, codes[0])
    image.set_qform(stored, codes[1])
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "scan.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "scan.nii").affine, affine, atol=1e-3)


@pytest.mark.parametrize(
    ("factors", "is_read"),
    [((-1, 1, 1), False), ((1, 1, 1.03), False), ((1, 0, 1), False), ((1, 1, 1.005), True)],
)
@pytest.mark.parametrize("codes", [(1, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_voxel_sizes_that_contradict_the_orientation(
    tmp_path: Path, factors: Any, is_read: bool, codes: tuple[int, int], name: str, files: Any
) -> None:
    """Slicer would show another size, or a mirrored image."""
    affine = files.affines["straight"]
    image = nib.Nifti1Image(files.noise(), affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    image.header["pixdim"][1:4] *= factors
    content = image.to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    if is_read:
        np.testing.assert_allclose(read_volume(tmp_path / name).affine, affine, atol=1e-4)
    else:
        assert "two sizes of its voxels" in files.refusal(tmp_path / name, UnsupportedScan)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_unit_that_cannot_be_true(tmp_path: Path, unit: str, files: Any) -> None:
    image = nib.Nifti1Image(files.noise(), files.affines["straight"])
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "scan.nii")
    assert "its voxels are" in files.refusal(tmp_path / "scan.nii", UnsupportedScan)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_compressed_or_not_whatever_the_name_says(
    tmp_path: Path, name: str, kind: type, files: Any
) -> None:
    image = kind(files.noise(), files.affines["oblique"])
    image.set_sform(files.affines["oblique"], 1)
    content = image.to_bytes()
    path = tmp_path / name
    path.write_bytes(content if name.endswith(".gz") else gzip.compress(content))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, files.noise())
    np.testing.assert_allclose(volume.affine, files.affines["oblique"], atol=1e-4)
    path.write_bytes(path.read_bytes()[:900])
    assert "truncated or damaged" in files.refusal(path, UnreadableScan)
