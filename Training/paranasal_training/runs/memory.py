"""Keeps the memory of one training step for the next, on the CPU under Linux."""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's mallopt(3), and bytes: as much as it allows is kept.
_TRIM, _TOP_PAD, _MMAP = -1, -2, -3
_SETTINGS = {_MMAP: 32 * 2**20, _TRIM: 2**31 - 1, _TOP_PAD: 64 * 2**20}


def keep_memory() -> bool:
    """Let the C library keep freed memory; False where it is another one than glibc.

    A step frees and asks for the same hundreds of MB again. By default glibc returns them to the system
    in between, which then has to fill every page with zeros anew: up to a tenth of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(which, size) == 1 for which, size in _SETTINGS.items())
