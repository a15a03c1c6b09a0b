"""SimpleITK images and the formats that it reads: NRRD and MetaImage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.itk import from_sitk, to_sitk
from ParanasalSSLLib.scans.itk_header import TWO_ORIENTATIONS
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Provenance, Volume


def test_simpleitk_round_trip_keeps_everything(affine: np.ndarray, files: Any) -> None:
    volume = Volume(files.noise(), affine)
    back = from_sitk(to_sitk(volume))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


def test_detached_header_without_its_data_file(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "scan.mhd", files.noise())
    (tmp_path / "scan.raw").unlink()
    assert "not beside it" in files.refusal(path, UnreadableScan)


# ------------------------------------------------------------- what ITK would guess, and not tell


def edited(path: Path, pattern: str, replacement: str) -> Path:
    """The file with one line of its header changed, or gone; the line must be there."""
    content = path.read_bytes()
    new, count = re.subn(rb"(?m)^" + pattern.encode() + rb"[^\n]*\n", replacement.encode(), content)
    assert count == 1
    path.write_bytes(new)
    sitk.ReadImage(str(path))  # ITK finds nothing wrong with it
    return path


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize(
    ("field", "replacement", "words"),
    [
        ("TransformMatrix", "", "left and right"),
        ("TransformMatrix", "transformMatrix = 1 0 0 0 1 0 0 0 1\n", "left and right"),
        ("TransformMatrix", "TransformMatrix = 2 0 0 0 2 0 0 0 2\n", "how large its voxels are"),
        ("ElementSpacing", "", "how large its voxels are"),
        ("ElementSpacing", "ElementSpacing = 4 4 4\nElementSpacing = 5 5 5\n", "how large"),
        ("Offset", "DistanceUnits = cm\n", "another unit"),
    ],
)
def test_metaimage_that_leaves_something_to_a_guess(
    tmp_path: Path, suffix: str, field: str, replacement: str, words: str, files: Any
) -> None:
    path = files.save(tmp_path / f"scan{suffix}", files.noise(), files.affines["left-handed"])
    path = edited(path, field, replacement)
    if field == "ElementSpacing":
        assert "large" in files.refusal(path, UnsupportedScan)
    else:
        assert words in files.refusal(path, UnsupportedScan)


def test_metaimage_fields_of_other_names_say_the_same(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "scan.mha", files.noise(), files.affines["oblique"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"TransformMatrix =", b"Orientation ="))
    np.testing.assert_allclose(read_volume(path).affine, files.affines["oblique"], atol=1e-4)


def test_metaimage_that_names_other_directions_than_its_matrix(
    tmp_path: Path, affine: np.ndarray, files: Any
) -> None:
    path = files.save(tmp_path / "scan.mha", files.noise(), affine)
    assert read_volume(path).provenance == Provenance("MetaImage"), "ITK names the right ones"
    letters = re.search(rb"AnatomicalOrientation = (...)", path.read_bytes())
    assert letters is not None
    side = "R" if b"R" in letters[1] else "L"
    mirrored = letters[1].decode().replace(side, "L" if side == "R" else "R")
    edited(path, "AnatomicalOrientation", f"AnatomicalOrientation = {mirrored}\n")
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert volume.provenance.notices == (TWO_ORIENTATIONS,)
    assert volume.provenance.sides_in_doubt


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
@pytest.mark.parametrize(
    "space",
    [
        *("3D-right-handed", "3D-left-handed", "scanner-xyz"),
        *("right-anterior-superior-time", "RAST"),
    ],
)
def test_nrrd_spaces_without_a_left_and_right(
    tmp_path: Path, suffix: str, space: str, files: Any
) -> None:
    path = files.save(tmp_path / f"scan{suffix}", files.noise())
    content = re.sub(rb"\nspace: [^\n]*", b"\nspace: " + space.encode(), path.read_bytes())
    path.write_bytes(content)
    if "time" in space or space == "RAST":  # of four axes: some readers refuse it themselves
        with pytest.raises((UnsupportedScan, UnreadableScan)):
            read_volume(path)
        return
    assert "left and right" in files.refusal(path, UnsupportedScan)


@pytest.mark.parametrize("space", ["LPS", "left-posterior-superior", "RAS", "LAS"])
def test_nrrd_spaces_of_the_patient(tmp_path: Path, space: str, files: Any) -> None:
    path = files.save(tmp_path / "scan.nrrd", files.noise(), files.affines["oblique"])
    edited(path, "space:", f"SPACE: {space}\n")
    signs = {"L": (1.0, 1.0), "R": (-1.0, -1.0)}[space[0].upper()]
    signs = (1.0, -1.0) if space == "LAS" else signs
    expected = np.diag([*signs, 1.0, 1.0]) @ files.affines["oblique"]
    np.testing.assert_allclose(read_volume(path).affine, expected, atol=1e-4)


def test_nrrd_without_directions_or_in_another_unit(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "scan.nrrd", files.noise())
    edited(path, "space directions:", "")
    assert "left and right" in files.refusal(path, UnsupportedScan)
    path = files.save(tmp_path / "none.nrrd", files.noise((20, 24, 90)))
    edited(path, "space directions:", "space directions: (5,0,0) (0,5,0) none\n")  # ITK: 1 mm
    assert "left and right" in files.refusal(path, UnsupportedScan)
    path = files.save(tmp_path / "units.nrrd", files.noise())
    edited(path, "space:", 'space: left-posterior-superior\nspace units: "cm" "cm" "cm"\n')
    assert "another unit" in files.refusal(path, UnsupportedScan)
    path = files.save(tmp_path / "mm.nrrd", files.noise())
    edited(path, "space:", 'space: left-posterior-superior\nspace units: "mm" "mm" "mm"\n')
    assert read_volume(path).provenance == Provenance("NRRD")
