"""What stores are made of: byte arrays mapped from disk, and the JSON record beside them."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ParanasalSSLLib.errors import BadStore

FORMAT_VERSION = 1
REMAKE = "Make it again (with `paranasal prepare` or `paranasal simulate`)."


def read_store_record(path: Path, kind: str, required: Collection[str]) -> dict[str, Any]:
    """The JSON record of a store.

    Args:
        path: of the record.
        kind: of store, "crop store" or "residual store".
        required: what the record must hold beside kind and version.

    Raises:
        BadStore: missing, damaged, of another kind or version.
    """
    if not path.is_file():
        raise BadStore(f"{path.parent} is no {kind} ({path.name} is missing). Check the path.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version, found = record["format_version"], record["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadStore(f"{path} is damaged. {REMAKE}") from error
    if version != FORMAT_VERSION or found != kind:
        raise BadStore(
            f"{path} is a {found} of format version {version}; a {kind} of version "
            f"{FORMAT_VERSION} is needed. Make it again with this version of the program."
        )
    missing = sorted(set(required) - record.keys())
    if missing:
        raise BadStore(f"{path} is damaged: {', '.join(missing)} missing.")
    return dict(record)


def new_array(path: Path, shape: tuple[int, ...], store: Path) -> np.ndarray:
    """Make a file of uint8 zeros, mapped for writing, that has its room on the disk already.

    Without it, a disk that gets full while a mapped file is written ends the process without a word.

    Raises:
        BadStore: there is not enough room, or the disk cannot be written to; the file is removed.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        _reserve_room(path)
    except OSError as error:
        path.unlink(missing_ok=True)
        needed = math.prod(shape) / 1e9
        raise BadStore(
            f"{store}: {path.name} needs {needed:.2f} GB in {store.absolute().parent}, which cannot be "
            f"had ({error.strerror or error}). Make room, or choose another disk."
        ) from error
    return array


def _reserve_room(path: Path) -> None:
    """Let the disk hold a file's whole length; raises `OSError`. Not on macOS, Windows, some disks."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the disk does not know how
                raise


def map_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 array of a file, mapped from disk, read-only. Raises `BadStore` if it is not that."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadStore(f"{path} is missing, truncated or damaged. {REMAKE}") from error
    if array.shape != tuple(shape) or array.dtype != np.uint8:
        raise BadStore(f"{path} is {array.dtype} {array.shape}, uint8 {shape} was expected.")
    return np.asarray(array)
