"""A model for the site's own scans: `paranasal adapt` in a process beside Slicer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, StepBegun, Summary
from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel.compute import Settings
from ParanasalSSLPanel.kept import newFolder
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener


@dataclass(eq=False)
class AdaptationRun:
    """One call. A call that was stopped goes on when the same scans and folder are given again.

    scans: each under a name of its own. moved: with a sentence, whenever it is further.
    log: every line of text. ended: once, with the folder of the new model, or "" and a sentence.
    """

    scans: Mapping[str, ScanSource]
    output: Path
    settings: Settings
    moved: Callable[[str], None]
    log: Callable[[str], None]
    ended: Callable[[str, str], None]
    _process: LibraryProcess = field(init=False)
    _failure: str = field(default="", init=False)
    _made: str = field(default="", init=False)

    def start(self) -> None:
        """Begin; returns at once."""
        self._process = LibraryProcess(Listener(self._onEvent, self.log, self._onEnd))
        bundle = ["--bundle", str(self.settings.model)] if self.settings.model else []
        how = ["--json-progress", "--end-with-input", *bundle]
        listed = newFolder() / "scans.json"
        write_scan_list(listed, self.scans)
        self._process.start(["adapt", "--scan-list", str(listed), "-o", str(self.output), *how])

    def cancel(self) -> None:
        """Stop; what was done so far is kept for the next time."""
        self._process.cancel()

    def wait(self) -> None:
        """Return when the process has ended."""
        self._process.wait()

    def _onEvent(self, event: Event) -> None:
        match event:
            case StepBegun():
                words = _("{step} ({percent} %)")
                self.moved(words.format(step=event.words, percent=round(100 * event.fraction)))
            case CallFailed():
                self._failure = event.message
            case Summary():
                self._made = event.out

    def _onEnd(self, ending: Ending, words: str) -> None:
        if ending is Ending.CANCELLED:
            stopped = _("Stopped. Adapt the same scans into the same folder again to go on.")
            self.ended("", stopped)
        elif ending is Ending.FINISHED and self._made:
            self.ended(self._made, "")
        else:
            without_result = _("The adaptation ended without a model. The log says more.")
            self.ended("", self._failure or words or without_result)
