"""Looks for scans in a folder, in a process beside Slicer, as `paranasal predict FOLDER` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, Note
from ParanasalSSLLib.cli.scan_list import read_scan_list
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel.kept import newFolder
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener

SEARCH = "ParanasalSSLLib.cli.search"  # it needs no package that Slicer does not ship


@dataclass(eq=False)
class ScanSearch:
    """One search. without: a folder that is not searched. ended: once, with scans and sentences."""

    folder: Path
    without: Path
    log: Callable[[str], None]
    ended: Callable[[list[ScanSource], list[str]], None]
    _words: list[str] = field(default_factory=list, init=False)
    _process: LibraryProcess = field(init=False)

    def start(self) -> None:
        """Begin; returns at once."""
        self._listed = newFolder() / "found.json"
        self._process = LibraryProcess(Listener(self._onEvent, self.log, self._onEnd))
        self._process.start([str(self.folder), str(self.without), str(self._listed)], SEARCH)

    def cancel(self) -> None:
        """Stop; nothing is found then."""
        self._process.cancel()

    def wait(self) -> None:
        """Return when the process has ended."""
        self._process.wait()

    def _onEvent(self, event: Event) -> None:
        if isinstance(event, Note | CallFailed):
            self._words.append(event.message)

    def _onEnd(self, ending: Ending, words: str) -> None:
        if ending is Ending.CANCELLED:
            self.ended([], [_("Cancelled. Nothing was changed.")])
            return
        try:
            found = list(read_scan_list(self._listed).values())
        except ParanasalError:
            self.ended([], [*self._words, words])
        else:
            self.ended(found, self._words)
