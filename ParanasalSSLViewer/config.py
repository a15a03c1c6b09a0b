"""The options of `paranasal view`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Opens a reading room in the browser: worklist, slices and 3D, findings, boxes, verdicts.

    PATHS are the scans, files or folders as `paranasal predict` takes them, and a folder of its
    results. Which result is which scan is told by --key, by the worklist of the Slicer module in that
    folder, or by the image itself, for which every scan is read once. Nothing outside of PATHS and
    OUTPUT can be read through the room. It is open to whoever has the address that is printed, one
    window at a time. Research use only; this gives no diagnosis.
    """

    paths: list[Path]
    """Scans, folders of scans, and at most one folder of results; one or more."""
    output: Path | None = None
    """Folder of the results, old and new (unset: the one among PATHS)."""
    key: Path | None = None
    """Table that says which result is which scan, of `paranasal predict --key` (unset: none)."""
    device: DeviceName = "auto"
    """Where the networks run: cpu, cuda, mps, or a GPU if there is one (auto)."""
    model: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    host: str = "127.0.0.1"
    """Address to listen on; any but this one lets other computers in, unencrypted."""
    port: int = 0
    """Port to listen on (default: any that is free)."""
    no_browser: bool = False
    """Only print the address."""

    def __post_init__(self) -> None:
        if not self.paths:
            raise BadConfig("name scans, or a folder of results")
        if not 0 <= self.port < 65536:
            raise BadConfig(f"--port {self.port} is none: 0 to 65535")
