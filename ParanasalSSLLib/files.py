"""Outputs appear whole or not at all: write to a temporary name in the same folder, then rename.

Also the few things that all our JSON records and their checksums share.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO

from ParanasalSSLLib.errors import UnsafeOutput

MARK_LETTERS = 8  # of temporary names


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block succeeds.

    The temporary name keeps all suffixes (`.nii.gz`, `.seg.nrrd`), since writers choose the format
    by them. When the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:MARK_LETTERS]}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Mapping[str, Any], allow_nan: bool = True) -> None:
    """Write a JSON object, whole or not at all.

    allow_nan: whether NaN may be in it, which strict readers refuse; else it raises `ValueError`.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass as JSON gives them back, lists as tuples again."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------- whole folders


def refuse_no_folder(path: Path) -> None:
    """Raise `UnsafeOutput` where something is at `path`, but no folder."""
    if os.path.lexists(path) and not path.is_dir():
        raise UnsafeOutput(f"{path} is no folder. Choose another name, or move it away.")


def refuse_filled(path: Path) -> None:
    """Raise `UnsafeOutput` unless `path` is free, or an empty folder."""
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise UnsafeOutput(f"{path} is there already. Choose another folder, or remove it.")


@contextmanager
def write_whole_folder(
    path: Path, take_over: Callable[[Path, Path], None] | None = None
) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block succeeds.

    When the block raises (Ctrl-C too), the new folder is removed and an older one stays. What a
    process that was killed has left behind is put right at the next call. Of several processes that
    make the same folder, one works and the others wait for it. A link to a folder stays; the folder
    that it leads to is replaced.

    Args:
        take_over: called with an older folder and the new one before they change places; it may
            raise, or bring files of the older folder into the new one. Without it, only an empty
            folder is replaced.

    Raises:
        UnsafeOutput: a filled folder is there, or something else.
    """
    path = path.resolve()
    with alone(path) as is_alone:
        if is_alone:
            _tidy_up(path)
        refuse_no_folder(path)
        if take_over is None:
            refuse_filled(path)
        mark = uuid.uuid4().hex[:MARK_LETTERS]
        new = path.with_name(f".{path.name}.{mark}.new")
        new.mkdir()
        try:
            yield new
            _exchange(new, path, take_over)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _exchange(new: Path, path: Path, take_over: Callable[[Path, Path], None] | None) -> None:
    old = new.with_suffix(".old")
    try:
        if os.path.lexists(path):
            if take_over is None:
                refuse_filled(path)
            else:
                take_over(path, new)
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    if old.exists():
        os.replace(old, new)  # half removed, it must not be taken for an older result


def tidy_up(path: Path) -> None:
    """Put right what a process that was killed has left of a folder; one that works is waited for."""
    path = path.resolve()
    if any(path.parent.glob(f".{escape(path.name)}.*")):
        with alone(path) as is_alone:
            if is_alone:
                _tidy_up(path)


def _tidy_up(path: Path) -> None:
    """Put back an older result that was moved aside, and remove a new one that was not finished."""
    ours = (
        f".{escape(path.name)}.{'[0-9a-f]' * MARK_LETTERS}"  # no others': "x.y" begins as "x" does
    )
    for old in path.parent.glob(f"{ours}.old"):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, path)
    for new in path.parent.glob(f"{ours}.new"):
        shutil.rmtree(new, ignore_errors=True)


def keep_users_files(older: Path, new: Path, written: Mapping[str, str | None]) -> None:
    """Bring into `new` what users put into `older`, or changed in it (as `edited_NAME`).

    Links where the disk can, else copies; a name that is taken gets a number.

    written: SHA-256 of the files of `older` as the program wrote them; None for one that is not kept.
    """
    for entry in sorted(older.iterdir()):
        was = written.get(entry.name)
        if entry.name not in written or not entry.is_file():
            _bring(entry, new, entry.name)
        elif was is not None and was != sha256(entry):
            _bring(entry, new, f"edited_{entry.name}")


def _bring(entry: Path, new: Path, name: str) -> None:
    target, number = new / name, 1
    while os.path.lexists(target):
        number += 1
        target = new / f"{number}_{name}"
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, symlinks=True, copy_function=_link_or_copy)
    else:
        _link_or_copy(entry, target)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


@contextmanager
def alone(path: Path, wait: bool = True, purpose: str = "") -> Iterator[bool]:
    """Keep other processes that make `path` out; the system ends this when the process dies.

    Yields True, or False where the disk knows no locks.

    Args:
        wait: until they are out.
        purpose: keeps out only who names the same.

    Raises:
        UnsafeOutput: another process is in, and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.{purpose}lock")
    while True:
        file = lock.open("ab")
        try:
            is_locked = _lock(file, wait)
        except BlockingIOError as error:
            file.close()
            raise UnsafeOutput(f"{path} is being made by another process. Wait for it.") from error
        if not is_locked or _is_still(file, lock):  # else its owner has removed it meanwhile
            break
        file.close()
    try:
        yield is_locked
    finally:
        with suppress(OSError):  # Windows: another process has it open
            lock.unlink()
        file.close()


def _is_still(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return True
            except OSError as error:  # LK_LOCK gives up after ten seconds
                if not wait:
                    raise BlockingIOError from error

else:
    import fcntl

    def _lock(file: BinaryIO, wait: bool) -> bool:
        """Whether the lock is held; raises BlockingIOError where it cannot be had at once."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True
