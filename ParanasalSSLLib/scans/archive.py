"""Unpacking of zip archives."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.checks import LIMITS, unreadable
from ParanasalSSLLib.scans.itk import ITK_SUFFIXES
from ParanasalSSLLib.scans.nifti import NIFTI_SUFFIXES

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)  # of the formats that are one file


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the files of an archive, removed at the end.

    Args:
        path: the zip archive.

    Yields:
        The folder: files are numbered and keep only the suffix of an image format, since names
        inside an archive are not trusted.

    Raises:
        UnreadableScan: a damaged archive, or one with a password.
        UnsupportedScan: too many files, or too large ones.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ):
            _unpack(archive, Path(folder), path)
            yield Path(folder)
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
        *(RuntimeError, NotImplementedError),  # a password, a compression that Python lacks
    ) as error:
        raise unreadable(path, error) from error


def _unpack(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    members = [m for m in archive.infolist() if not m.is_dir() and m.file_size > 0]
    total = sum(m.file_size for m in members)  # `open` yields no more than this, whatever comes
    if total > LIMITS.most_unpacked_bytes or len(members) > LIMITS.most_files:
        raise UnsupportedScan(
            f"{path} is too large ({len(members)} files, {total / 1e9:.1f} GB unpacked). "
            "Unpack it and give the folder of one series."
        )
    for number, member in enumerate(members):
        name = Path(member.filename).name.lower()
        if name.startswith("."):  # macOS keeps a shadow of each file
            continue
        suffix = next((s for s in IMAGE_SUFFIXES if name.endswith(s)), "")
        with (
            archive.open(member) as source,
            (folder / f"{number:06d}{suffix}").open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
