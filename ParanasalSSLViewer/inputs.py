"""Scans as single paths: a series among others in its folder gets a folder of links of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ParanasalSSLLib.scans.source import ScanSource


class Inputs:
    """The folders of one room, gone with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ParanasalRoom-")
        self._linked: dict[ScanSource, Path] = {}

    @property
    def folder(self) -> Path:
        """For files of the room's own."""
        return Path(self._folder.name)

    def path(self, source: ScanSource) -> Path:
        """A path that stands for this scan alone."""
        if not source.files:
            return source.path
        if source not in self._linked:
            folder = self.folder / f"series-{len(self._linked) + 1}"
            folder.mkdir()
            for number, file in enumerate(source.files):
                (folder / f"{number:05d}.dcm").symlink_to(file.resolve())
            self._linked[source] = folder
        return self._linked[source]

    def remove(self) -> None:
        """Take all of it away."""
        self._folder.cleanup()
