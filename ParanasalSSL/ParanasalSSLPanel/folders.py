"""Folders that a user has chosen for results."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from slicer.i18n import tr as _


def freeIdentifier(folder: Path, taken: Container[str] = ()) -> str:
    """A neutral id ("sub-0001", ...) that is not `taken`, and of which `folder` holds no results."""
    number = 1
    while (name := f"sub-{number:04d}") in taken or (folder / name).exists():
        number += 1
    return name


def unwritableWords(folder: Path, error: OSError) -> str:
    """What a user reads when nothing can be written there."""
    return _("{folder} cannot be written ({reason}). Choose another folder.").format(
        folder=folder, reason=error.strerror or error
    )
