"""Unpacking of zip archives."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ParanasalSSLLib.errors import UnreadableScan, UnsafeOutput, UnsupportedScan
from ParanasalSSLLib.files import alone
from ParanasalSSLLib.scans.checks import LIMITS, unreadable
from ParanasalSSLLib.scans.itk import ITK_SUFFIXES
from ParanasalSSLLib.scans.nifti import NIFTI_SUFFIXES

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)  # of the formats that are one file
KEPT_SUFFIXES = (*IMAGE_SUFFIXES, ".zip")
PREFIX, INNER = "paranasal-", "unpacked"  # names of temporary folders, and of what is in each
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima")


def has_dicom_name(path: str | Path) -> bool:
    """Whether a file is called as DICOM slices are: their usual suffixes, a number, or none."""
    name = Path(path).name
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix in _DICOM_SUFFIXES or suffix[1:].isdigit())


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the files of an archive, removed at the end.

    Args:
        path: the zip archive.

    Yields:
        The folder: files are numbered and keep only the suffix of an image format or of a zip, since
        names inside an archive are not trusted.

    Raises:
        UnreadableScan: a damaged archive, or one with a password; no room to unpack it.
        UnsupportedScan: too many files, or too large ones.
    """
    with temporary_folder(path) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, folder, path)
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
            *(RuntimeError, NotImplementedError),  # a password, a compression that Python lacks
        ) as error:
            if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
                raise
            raise unreadable(path, error) from error
        yield folder


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder that is gone afterwards, also when the process is told to end (SIGTERM, SIGHUP).

    After a SIGKILL it is gone with the next scan that anybody reads (`tidy_temporary`).

    Args:
        path: what is unpacked into it; named in errors only.

    Raises `UnreadableScan` where it cannot be made, or the disk is full while it is used.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(path) from error
    try:
        with made as name, _removed_at_the_end(name), alone(folder := Path(name, INNER)):
            folder.mkdir()  # behind the lock: what has it and no lock is nobody's
            yield folder
    except OSError as error:
        if error.errno in DISK_IS_FULL:
            raise _no_room(path) from error
        raise


def tidy_temporary() -> None:
    """Remove what a process that was killed has unpacked; patients' data lie in no lasting place."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{INNER}"):
        # Another user's, or one that lives: OSError or UnsafeOutput.
        with suppress(OSError, UnsafeOutput), alone(folder, wait=False) as is_alone:
            if is_alone and not folder.parent.is_symlink():
                shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def _removed_at_the_end(folder: str) -> Iterator[None]:
    """Remove the folder before a signal ends the process, where nobody else has asked for it."""

    def end(number: int, _frame: FrameType | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    in_main = threading.current_thread() is threading.main_thread()
    ours = [one for one in ENDING_SIGNALS if in_main and signal.getsignal(one) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _no_room(path: Path) -> UnreadableScan:
    return UnreadableScan(
        f"{path} cannot be unpacked: the folder for temporary files is full or cannot be written. "
        "Make room there, or give another folder in the environment variable TMPDIR."
    )


def _may_count(member: zipfile.ZipInfo) -> bool:
    """An empty file matters only where it may have been a slice: it is told to be lost."""
    return member.file_size > 0 or has_dicom_name(member.filename)


def _unpack(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    members = [m for m in archive.infolist() if not m.is_dir() and _may_count(m)]
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
        suffix = next((s for s in KEPT_SUFFIXES if name.endswith(s)), "")
        with (
            archive.open(member) as source,
            (folder / f"{number:06d}{suffix}").open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
