"""Zip archives: the one scan in them, and nothing written outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans import archive
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


def test_zip_in_a_zip_is_told(tmp_path: Path, files: Any) -> None:
    inner = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(inner, "export/INNER.ZIP")
    assert "other zip archive" in files.refusal(tmp_path / "scan.zip", UnsupportedScan)


def test_zip_in_a_zip_beside_a_series_is_no_scan(tmp_path: Path, files: Any) -> None:
    folder = files.series().write(tmp_path / "series")
    with zipfile.ZipFile(folder / "viewer.zip", "w") as archive:
        archive.writestr("viewer.exe", b"MZ")
    archive = files.zipped(folder, tmp_path / "scan.zip")
    assert read_volume(archive).provenance.format == "DICOM"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_full_temporary_disk_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    scan = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "scan.zip")
    monkeypatch.setattr(archive, "_unpack", lambda *_: Path("/dev/full").write_bytes(bytes(9999)))
    assert "is full" in files.refusal(scan, UnreadableScan)
    monkeypatch.setattr(archive.tempfile, "tempdir", str(scan / "gone"))
    assert "is full or cannot be written" in files.refusal(scan, UnreadableScan)


READ_AND_WAIT = """
import sys, time
from ParanasalSSLLib.scans.archive import unpacked
with unpacked(__import__("pathlib").Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@contextmanager
def unpacking(scan: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has unpacked the scan into a folder of `temporary` and waits."""
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", READ_AND_WAIT, str(scan)],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_relative_to(temporary) and any(folder.iterdir())
    yield process
    process.kill()
    process.wait(20)
    process.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_no_patient_data_stay_behind_when_the_process_is_told_to_end(
    tmp_path: Path, number: str, files: Any
) -> None:
    scan = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "scan.zip")
    with unpacking(scan, tmp_path / "temporary") as process:
        process.send_signal(getattr(signal, number))
        assert process.wait(20) != 0
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_what_a_killed_process_unpacked_goes_with_the_next_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    scan = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "scan.zip")
    temporary = tmp_path / "temporary"
    monkeypatch.setattr(archive.tempfile, "tempdir", str(temporary))
    with unpacking(scan, temporary):  # lives
        with unpacking(scan, temporary):
            pass  # is killed
        assert len(list(temporary.iterdir())) == 2
        with pytest.raises(UnreadableScan):
            read_volume(tmp_path / "another.nii.gz")
        [kept] = temporary.iterdir()
        assert any((kept / archive.INNER).iterdir())
    read_volume(scan)
    assert not list(temporary.iterdir())


def test_signals_are_left_as_they_were(tmp_path: Path, files: Any) -> None:
    scan = files.zipped(files.series().write(tmp_path / "series"), tmp_path / "scan.zip")
    before = signal.getsignal(signal.SIGTERM)
    read_volume(scan)
    assert signal.getsignal(signal.SIGTERM) == before
