"""Reading of a scan in any of the formats: the one way from a path to a `Volume`."""

from __future__ import annotations

import errno
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.geometry import SAME_PLACE_MM, Grid
from ParanasalSSLLib.scans.archive import tidy_temporary, unpacked
from ParanasalSSLLib.scans.checks import unreadable
from ParanasalSSLLib.scans.dicom import read_dicom_file, read_dicom_folder, read_dicom_series
from ParanasalSSLLib.scans.dicom_files import START_BYTES, files_below, is_dicom, read_headers
from ParanasalSSLLib.scans.itk import ITK_SUFFIXES, read_itk, read_nifti_by_itk
from ParanasalSSLLib.scans.nifti import NIFTI_SUFFIXES, read_nifti
from ParanasalSSLLib.scans.volume import Volume

ZIP = b"PK\x03\x04"  # how such a file begins


def read_volume(path: str | Path, files: Sequence[Path] = ()) -> Volume:
    """Read a scan: NIfTI, NRRD, MetaImage, a DICOM series, or a zip with one of these.

    Args:
        path: file or folder. A series is a folder, or one file with all its frames.
        files: those of one DICOM series, where the folder holds several.

    Returns:
        The volume, checked.

    Raises:
        UnreadableScan: missing, empty, truncated, or of an unknown format.
        UnsupportedScan: not one plausible three-dimensional MR image (4D, RGB, CT, label map, ...).
        SeveralSeries: a DICOM folder with more than one series.
    """
    path = Path(path)
    tidy_temporary()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # the last: a zero byte
        gone = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise UnreadableScan(f"{path} {gone}. Check the path.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableScan(f"{path} is a link in a circle. Check the path.") from error
        raise unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        return read_dicom_series(files, path) if files else read_dicom_folder(path)
    if not stat.S_ISREG(mode):  # a pipe may never end
        raise UnreadableScan(f"{path} is neither a file nor a folder. Save the scan as a file.")
    return _read_file(path)


def read_again(path: str | Path, grid: Grid, files: Sequence[Path] = ()) -> Volume:
    """Read a scan that was read and checked before, if it still lies on its grid.

    NIfTI then needs no package that Slicer does not ship; neither does any other file, but for a zip
    with NIfTI.

    Raises:
        UnreadableScan, UnsupportedScan, SeveralSeries, MissingPackage: see `read_volume`, `read_nifti`.
        UnreadableScan: the scan has another grid.
    """
    path = Path(path)
    volume = _read_nifti_again(path) or read_volume(path, files)
    away = np.abs(volume.corners() - grid.corners()).max()
    if volume.shape != grid.shape or away > SAME_PLACE_MM:
        raise UnreadableScan(f"{path.name} has changed since it was scored. Score it again.")
    return volume


def _read_nifti_again(path: Path) -> Volume | None:
    """By what Slicer ships; None where that cannot read it, or it is another format."""
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        with suppress(UnreadableScan):
            return read_nifti_by_itk(path)
    return None


def _read_file(path: Path) -> Volume:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    name = path.name.lower()
    if not start:
        raise UnreadableScan(f"{path} is empty. Copy or export the scan again.")
    if name.endswith(".zip") or start.startswith(ZIP):
        return _read_zip(path)
    if name.endswith(NIFTI_SUFFIXES):
        return read_nifti(path)
    if path.suffix.lower() in ITK_SUFFIXES:
        return read_itk(path)
    if is_dicom(start):
        return read_dicom_file(path)
    raise UnreadableScan(
        f"{path} is of no format that is read here. Give NIfTI (.nii, .nii.gz), NRRD (.nrrd, "
        ".nhdr), MetaImage (.mha, .mhd), a multi-frame DICOM file, or the folder or zip of one DICOM "
        "series."
    )


def _read_zip(path: Path) -> Volume:
    """The one scan in an archive: a DICOM series, or one NIfTI, NRRD or MetaImage file."""
    with unpacked(path) as folder:
        return _read_unpacked(folder, path)


def _read_unpacked(folder: Path, archive: Path) -> Volume:
    images = sorted(p for p in folder.iterdir() if p.suffix)
    inner = [path for path in images if path.suffix == ".zip"]
    images = [path for path in images if path.suffix != ".zip"]
    if not images:
        if inner and not read_headers(files_below(folder), archive):
            raise UnsupportedScan(
                f"{archive} holds {len(inner)} other zip archive(s) and no scan beside. Unpack it and "
                "give what is in it."
            )
        return _read_as(archive, folder)
    if len(images) > 1 or read_headers(files_below(folder), archive):
        raise UnsupportedScan(
            f"{archive} holds {len(images)} image file(s)"
            f"{' beside other scans' if len(images) == 1 else ''}, and it is not clear which is "
            "meant. Unpack it and give the one."
        )
    if images[0].suffix in (".nhdr", ".mhd"):
        raise UnsupportedScan(
            f"{archive} holds an image whose voxels are in a second file. Unpack it and give the "
            f"{images[0].suffix} file."
        )
    return _read_as(archive, images[0])


def _read_as(archive: Path, unpacked: Path) -> Volume:
    """Read an unpacked file or folder; errors name the archive, which is what the user knows."""
    try:
        return read_volume(unpacked)
    except (UnreadableScan, UnsupportedScan) as error:
        error.args = (str(error).replace(str(unpacked), str(archive)), *error.args[1:])
        raise
