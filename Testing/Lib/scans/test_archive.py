"""Zip archives: the one scan in them, and nothing written outside."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume


def test_zip_with_one_nifti_file(tmp_path: Path, files: Any) -> None:
    series = files.series()
    image = nib.Nifti1Image(series.data, series.affine)
    image.set_sform(series.affine, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(tmp_path / "scan.nii.gz", "some/scan.nii.gz")
        archive.writestr("__MACOSX/some/._scan.nii.gz", b"shadow")
    volume = read_volume(tmp_path / "scan.zip")
    np.testing.assert_array_equal(volume.data, series.data)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)


def test_zip_with_several_files_or_none(tmp_path: Path, files: Any) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.nii.gz", b"x")
        archive.writestr("b.nrrd", b"x")
    assert "2 image file(s)" in files.refusal(tmp_path / "two.zip", UnsupportedScan)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", b"nothing")
    files.refusal(tmp_path / "none.zip", UnreadableScan)


def test_zip_errors_name_the_archive_only(tmp_path: Path, files: Any) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("broken.nii.gz", b"no image at all")
    message = files.refusal(tmp_path / "scan.zip", UnreadableScan)
    assert "tmp" not in message.replace(str(tmp_path), "")


def test_zip_cannot_write_outside_its_temporary_folder(tmp_path: Path, files: Any) -> None:
    folder = files.series().write(tmp_path / "series")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for number, file in enumerate(sorted(folder.iterdir())):
            archive.write(file, f"../../../../{tmp_path}/escaped{number}.dcm")
    assert read_volume(tmp_path / "scan.zip").provenance.format == "DICOM"
    assert not list(tmp_path.glob("escaped*"))


def test_damaged_zip(tmp_path: Path, files: Any) -> None:
    archive = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "scan.zip")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in files.refusal(archive, UnreadableScan)
