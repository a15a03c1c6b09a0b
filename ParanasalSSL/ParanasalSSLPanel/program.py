"""A program beside this one, whatever runs it, and who listens to it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Ear(Protocol):
    """What a program tells; never from another thread."""

    def onOutput(self, channel: str, content: bytes) -> None:
        """What has come; channel: "out" or "err"."""

    def onFinished(self, status: int, crashed: bool) -> None:
        """It has ended, and all its output was told."""

    def onNotStarted(self) -> None:
        """It could not be started."""


class Program(Protocol):
    """A program beside this one, as a toolkit runs it."""

    @property
    def isRunning(self) -> bool:
        """Whether it has not ended yet."""
        ...

    def start(self, path: str, arguments: list[str], folder: Path, added: dict[str, str]) -> None:
        """Run it in a folder. added: to the environment."""

    def stop(self, killAfterMs: int) -> None:
        """Close its input; kill it if it has not ended then."""

    def stopWaiting(self) -> None:
        """It has ended: nothing is to be killed any more."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self, ms: int) -> None:
        """Until it has ended, but not longer than that; -1: however long."""
