"""Reading of NIfTI, NRRD and MetaImage: one geometry for all, clear refusals, no identity kept."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.errors import ParanasalError, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.itk import from_sitk, to_sitk
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Provenance, Volume, write_volume

SHAPE = (22, 20, 12)
SPACING = np.array([4.0, 5.0, 8.0])
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]
FORMATS = {".nii": "NIfTI", ".gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD"}


def noise(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """float32 like raw MR: whole numbers, every voxel its own."""
    values = np.random.default_rng(3).integers(0, 4000, shape)
    return values.astype(np.float32)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3) rotation about the RAS axes, degrees."""
    image = sitk.Euler3DTransform()
    image.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(image.GetMatrix()).reshape(3, 3)


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING
    affine[:3, 3] = (-31.5, 17.25, -80.0)
    return affine


AFFINES = {
    "straight": affine_of(np.eye(3)),
    "flipped": affine_of(np.diag([-1.0, 1.0, -1.0])),
    "left-handed": affine_of(np.diag([-1.0, 1.0, 1.0])),
    "permuted": affine_of(np.eye(3)[:, [1, 2, 0]]),
    "permuted and flipped": affine_of(np.eye(3)[[2, 0, 1]] * [1, -1, -1]),
    "oblique": affine_of(rotation(12.0, -20.0, 31.0)),
}


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINES["straight"]) -> Path:
    """Write with the format's own library, independently of the code under test."""
    if ".nii" in path.name:
        nifti = nib.Nifti1Image(data, affine)
        nifti.set_sform(affine, 1)
        nib.save(nifti, path)
        return path
    image = sitk.GetImageFromArray(data.transpose(2, 1, 0))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def refusal(path: Path, kind: type[ParanasalError]) -> str:
    """The message of the error; checks what every message owes the user."""
    with pytest.raises(kind) as caught:
        read_volume(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert str(path) in message, "the file is named as it was given"
    advice = "give|copy|export|check|convert|resample|save|replace|correct|unpack|ask|put"
    assert re.search(advice, message, re.I), f"no advice in: {message}"
    return message


@pytest.mark.parametrize("geometry", AFFINES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_formats_give_the_same_voxels_at_the_same_places(
    tmp_path: Path, suffix: str, geometry: str
) -> None:
    data, affine = noise(), AFFINES[geometry]
    volume = read_volume(save(tmp_path / f"scan{suffix}", data, affine))
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing_mm, SPACING, atol=1e-5)
    assert volume.shape == SHAPE
    expected = FORMATS.get(Path(f"scan{suffix}").suffix, "MetaImage")
    assert volume.provenance == Provenance(expected)


@pytest.mark.parametrize("geometry", AFFINES)
def test_simpleitk_round_trip_keeps_everything(geometry: str) -> None:
    volume = Volume(noise(), AFFINES[geometry])
    back = from_sitk(to_sitk(volume))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("geometry", AFFINES)
def test_what_is_written_is_read_back_in_the_same_grid(tmp_path: Path, geometry: str) -> None:
    volume = Volume(noise(), AFFINES[geometry])
    write_volume(volume, tmp_path / "scan.nii")
    back = read_volume(tmp_path / "scan.nii")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)


def test_centre_is_the_middle_of_the_image() -> None:
    affine = AFFINES["oblique"]
    middle = affine @ np.array([(n - 1) / 2 for n in SHAPE] + [1.0])
    np.testing.assert_allclose(Volume(noise(), affine).center_ras_mm, middle[:3])


def test_volume_cannot_be_changed_and_does_not_freeze_the_callers_array() -> None:
    data = noise()
    volume = Volume(data, np.eye(4))
    with pytest.raises(ValueError):
        volume.data[0, 0, 0] = 1
    with pytest.raises(ValueError):
        volume.affine[0, 0] = 1
    data[0, 0, 0] = 1


def test_integer_types_and_scaling_are_applied(tmp_path: Path) -> None:
    raw = noise().astype(np.int16)
    image = nib.Nifti1Image(raw, AFFINES["straight"])
    image.header.set_slope_inter(0.5, 10.0)
    image.set_sform(AFFINES["straight"], 1)
    nib.save(image, tmp_path / "scaled.nii")
    stored = nib.Nifti1Image.from_filename(tmp_path / "scaled.nii").get_fdata()
    volume = read_volume(tmp_path / "scaled.nii")
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, stored, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_trailing_axis_of_length_one_is_dropped(tmp_path: Path, suffix: str) -> None:
    data, path = noise(), tmp_path / f"scan{suffix}"
    if suffix == ".nii.gz":
        save(path, data[..., None])
    else:
        image = sitk.JoinSeries([sitk.GetImageFromArray(data.transpose(2, 1, 0))])
        image.SetSpacing([*SPACING.tolist(), 1.0])
        sitk.WriteImage(image, str(path))
    if suffix == ".nrrd":  # four axes are written without an anatomical frame
        assert "oriented" in refusal(path, UnsupportedScan)
        return
    np.testing.assert_array_equal(read_volume(path).data, data)


def test_small_rounding_errors_of_an_affine_are_repaired(tmp_path: Path) -> None:
    skewed = AFFINES["oblique"].copy()
    skewed[:3, :3] += np.random.default_rng(0).normal(0, 5e-4, (3, 3))
    volume = read_volume(save(tmp_path / "scan.nii", noise(), skewed))
    axes = volume.affine[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(volume.affine, skewed, atol=5e-3)


def test_qform_stands_in_for_an_unusable_sform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), AFFINES["oblique"])
    image.set_qform(AFFINES["oblique"], 1)
    image.set_sform(np.diag([0.0, 0.0, 0.0, 1.0]), 1)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.affine, AFFINES["oblique"], atol=1e-4)


# --------------------------------------------------------------------------------- refusals


def test_several_dimensions(tmp_path: Path) -> None:
    four = noise((*SHAPE, 3))
    assert "4 dimensions" in refusal(save(tmp_path / "series.nii.gz", four), UnsupportedScan)
    image = sitk.JoinSeries([sitk.GetImageFromArray(four[..., n]) for n in range(3)])
    sitk.WriteImage(image, str(tmp_path / "series.mha"))
    assert "4 dimensions" in refusal(tmp_path / "series.mha", UnsupportedScan)


def test_colour_images(tmp_path: Path) -> None:
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in refusal(save(tmp_path / "colour.nii.gz", rgb), UnsupportedScan)
    image = sitk.GetImageFromArray(noise((*SHAPE, 3)), isVector=True)
    for name in ("colour.nrrd", "colour.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert "3 values a voxel" in refusal(tmp_path / name, UnsupportedScan)


def test_complex_images(tmp_path: Path) -> None:
    path = save(tmp_path / "complex.nii.gz", noise().astype(np.complex64))
    assert "magnitude" in refusal(path, UnsupportedScan)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite(tmp_path: Path, suffix: str, value: float) -> None:
    data = noise()
    data[3, 4, 5] = value
    path = save(tmp_path / f"scan{suffix}", data)
    assert "1 voxels that are not finite" in refusal(path, UnsupportedScan)


@pytest.mark.parametrize(
    "linear",
    [np.zeros((3, 3)), np.diag([4.0, 0.0, 8.0]), [[4, 4, 0], [0, 0, 0], [0, 0, 8]]],
    ids=["zero", "one axis zero", "two axes parallel"],
)
def test_unusable_affine(tmp_path: Path, linear: np.ndarray) -> None:
    image = nib.Nifti1Image(noise(), None)
    bad = np.eye(4)
    bad[:3, :3] = linear
    image.set_sform(bad, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_affine_that_is_not_finite(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), AFFINES["straight"])
    bad = AFFINES["straight"].copy()
    bad[0, 3] = np.nan
    image.set_sform(bad, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    assert "not finite" in refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_sheared_affine(tmp_path: Path) -> None:
    sheared = AFFINES["straight"].copy()
    sheared[0, 2] = 2.0
    image = nib.Nifti1Image(noise(), None)
    image.set_sform(sheared, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    assert "right angles" in refusal(tmp_path / "scan.nii", UnsupportedScan)


def test_no_orientation_at_all(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), None)
    nib.save(image, tmp_path / "scan.nii")
    assert "left and right" in refusal(tmp_path / "scan.nii", UnsupportedScan)
    path = save(tmp_path / "scan.nrrd", noise())
    content = path.read_bytes()
    path.write_bytes(re.sub(rb"\nspace: [^\n]*", b"\nspace dimension: 3", content))
    assert "left and right" in refusal(path, UnsupportedScan)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_tiny_images(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"scan{suffix}", noise((20, 20, 4)))
    assert "too few" in refusal(path, UnsupportedScan)
    path = save(tmp_path / f"small{suffix}", noise((12, 12, 12)))
    assert "too small for a head" in refusal(path, UnsupportedScan)


def test_huge_images_are_refused_by_their_header(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), AFFINES["straight"])
    header = image.header.copy()
    header.set_data_shape((2000, 2000, 2000))
    header.set_sform(AFFINES["straight"], 1)
    with (tmp_path / "huge.nii").open("wb") as file:
        header.write_to(file)  # 32 GB promised; none is there
    assert "too many" in refusal(tmp_path / "huge.nii", UnsupportedScan)


def test_implausible_voxel_size(tmp_path: Path) -> None:
    path = save(tmp_path / "metres.nii", noise(), np.diag([0.004, 0.005, 0.008, 1.0]))
    assert "0.1 to 15.0 mm" in refusal(path, UnsupportedScan)


def test_ct_by_its_hounsfield_air(tmp_path: Path) -> None:
    data = noise() - 100
    data[:8] = -1000 + np.random.default_rng(0).normal(0, 10, data[:8].shape)
    assert "CT" in refusal(save(tmp_path / "scan.nii.gz", data), UnsupportedScan)


def test_masks_and_empty_images(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.nii.gz", (noise() > 2000).astype(np.uint8))
    assert "mask" in refusal(path, UnsupportedScan)
    path = save(tmp_path / "empty.nii.gz", np.full(SHAPE, 7.0, np.float32))
    assert "every voxel" in refusal(path, UnsupportedScan)
    blocks = np.arange(11 * 10 * 6).reshape(11, 10, 6) % 90  # a parcellation of many regions
    labels = np.kron(blocks, np.ones((4, 4, 4))).astype(np.int16)
    assert "label" in refusal(save(tmp_path / "labels.nii", labels), UnsupportedScan)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"scan{suffix}", noise())
    voxels = path.with_suffix(".raw") if suffix in (".nhdr", ".mhd") else path
    whole = voxels.read_bytes()
    voxels.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or damaged" in refusal(path, UnreadableScan)


def test_detached_header_without_its_data_file(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.mhd", noise())
    (tmp_path / "scan.raw").unlink()
    assert "not beside it" in refusal(path, UnreadableScan)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.nii.gz", UnreadableScan)
    (tmp_path / "empty.nii.gz").touch()
    assert "is empty" in refusal(tmp_path / "empty.nii.gz", UnreadableScan)


def test_unknown_suffix_and_other_content(tmp_path: Path) -> None:
    (tmp_path / "scan.jpg").write_bytes(b"\xff\xd8\xff" + bytes(300))
    assert "no format" in refusal(tmp_path / "scan.jpg", UnreadableScan)
    for name in ("notes.nii.gz", "notes.nii", "notes.nrrd", "notes.mha", "notes.zip"):
        (tmp_path / name).write_text("This is no scan. " * 50, encoding="utf-8")
        refusal(tmp_path / name, UnreadableScan)


def test_single_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    assert "folder with all slices" in refusal(tmp_path / "slice.dcm", UnsupportedScan)


def test_message_names_a_relative_path_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnreadableScan, match=r"^scans/gone\.nii does not exist"):
        read_volume("scans/gone.nii")


def test_provenance_holds_no_text_of_the_file(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), AFFINES["straight"])
    image.set_sform(AFFINES["straight"], 1)
    image.header["descrip"] = b"Doe^Jane"
    nib.save(image, tmp_path / "Doe_Jane.nii")
    kept = asdict(read_volume(tmp_path / "Doe_Jane.nii").provenance)
    assert kept == {"format": "NIfTI", "modality": None, "interpolated_slices": 0}
