"""Where a scan is. Needs no package: the command line plans with it before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ScanSource:
    """One scan, as `read_volume` takes it.

    Attributes:
        path: its file, or the folder of its series.
        files: those of its DICOM series, where the folder holds several; they are then read alone.
        about: number and description of that series, to show to the user.
        searched: whether it was found in a folder, so that nobody has said that it is a head.
    """

    path: Path
    files: tuple[Path, ...] = ()
    about: str = ""
    searched: bool = False

    def __str__(self) -> str:
        return f"{self.path} ({self.about})" if self.about else str(self.path)
