"""Scoring from a room: one scan after another by `paranasal predict`, into the room's results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.config import ViewConfig
from ParanasalSSLViewer.inputs import Inputs

if TYPE_CHECKING:
    from ParanasalSSLPanel.process import Ending, LibraryProcess


class Runs:
    """What is being scored, and what waits for it.

    present: the case that is being scored; "" between runs. stage, percent: how far it is.
    words, failed: what a reader is to be told, last.
    """

    def __init__(
        self,
        cases: CaseList,
        inputs: Inputs,
        config: ViewConfig,
        changed: Callable[..., None],
    ) -> None:
        from ParanasalSSLPanel.compute import Settings

        self._cases, self._inputs, self._changed = cases, inputs, changed
        self._settings = Settings(config.device, config.model)
        self._process: LibraryProcess | None = None
        self._queue: list[str] = []
        self._scored = False  # whether this process has written a new result
        self.present, self.stage, self.percent = "", "", 0
        self.words, self.failed = "", False

    def begin(self, identifiers: list[str], scan: Any) -> None:
        """Score these, one after another. scan: the volume node of the first, if it is on screen."""
        if self._process is not None or not identifiers:
            return
        self._queue = list(identifiers)
        self._next(self._boxes(scan) if scan is not None else [])

    def cancel(self) -> None:
        """Stop; scans that are complete stay."""
        self._queue = []
        if self._process is not None:
            self.stage = "Stopping"
            self._process.cancel()

    def stop(self) -> None:
        """Before the room is closed."""
        self._queue = []
        if self._process is not None:
            self._process.kill()

    def _boxes(self, scan: Any) -> list[str]:
        """Options for boxes that a reader has moved; others are placed again, the same."""
        from ParanasalSSLPanel.boxes import boxesOf, qualityOf

        from ParanasalSSLLib.boxes.placement import Placement, write_placement
        from ParanasalSSLLib.boxes.quality import NOT_JUDGED

        boxes = boxesOf(scan)
        if all(box.origin != "hand" for box in boxes.values()):
            return []
        path = self._inputs.folder / "boxes.json"
        write_placement(Placement(boxes, qualityOf(scan) or NOT_JUDGED), path)
        return ["--boxes", str(path)]

    def _next(self, more: list[str]) -> None:
        from ParanasalSSLPanel.process import LibraryProcess, Listener

        identifier = self._queue.pop(0)
        source = self._inputs.path(self._cases.scans[identifier])
        call = self._settings.predict({identifier: source}, self._cases.out, *more)
        self.present, self.stage, self.percent = identifier, "Starting", 0
        self.words, self.failed, self._scored = "", False, False
        self._cases.change(identifier, "running")
        self._process = LibraryProcess(Listener(self._onEvent, lambda line: None, self._onEnd))
        self._process.start(call)
        self._changed()

    def _onEvent(self, event: Event) -> None:
        from ParanasalSSLPanel.words import stageWords

        match event:
            case StageBegun():
                self.stage, self.percent = stageWords(event.stage), round(100 * event.fraction)
            case ScanDone():
                self._scored = True
                self._cases.change(self.present, "done")
            case ScanFailed() | CallFailed():
                self._cases.change(self.present, "failed", event.message)
                self.words, self.failed = event.message, True
        self._changed()

    def _onEnd(self, ending: Ending, words: str) -> None:
        done, self.present, self._process = self.present, "", None
        self._cases.settle(done, ending.value, words)
        if ending.value == "cancelled":
            self.words, self.failed = "Cancelled. Nothing was changed.", False
        elif words:
            self.words, self.failed = words, True
        self._changed(scored=done if self._scored else "")
        if self._queue:
            self._next([])
