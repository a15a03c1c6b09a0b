"""What a room has computed: scans one after another by `paranasal predict`, or the boxes of one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.key import state_of
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.results.layout import TABLE, ScanFiles
from ParanasalSSLLib.results.older import refuse_foreign_overview
from ParanasalSSLLib.results.overview import Overview
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.config import ViewConfig
from ParanasalSSLViewer.inputs import Inputs

if TYPE_CHECKING:
    from ParanasalSSLPanel.compute import Work
    from ParanasalSSLPanel.process import Ending

    from ParanasalSSLLib.boxes.placement import Placement

CANCELLED = "Cancelled. Nothing was changed."


class Runs:
    """What is being computed, and what waits for it.

    present: the case that is being scored, or has its boxes placed; "" between runs. stage, percent:
    how far it is. words, failed: what a reader is to be told, last. changed: is told of all that
    happens; `scored`: the case that has new results, `placed`: the volume node that has new boxes.
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
        self._overview = Overview(cases.out)
        self._several = False  # whether more than one case was to be scored
        self._work: Work | None = None
        self._queue: list[str] = []
        self._scored = False  # whether this process has written a new result
        self.present, self.stage, self.percent = "", "", 0
        self.words, self.failed = "", False

    def begin(self, identifiers: list[str], scan: Any) -> None:
        """Score these, one after another. scan: the volume node of the first, if it is on screen."""
        if self._work is not None or not identifiers:
            return
        self._queue, self._several = list(identifiers), len(identifiers) > 1
        self._next(self._boxes(scan) if scan is not None else [])

    def place(self, identifier: str, scan: Any) -> None:
        """Find both sinuses of the case on screen. Raises `ParanasalError`s. scan: its volume node."""
        from ParanasalSSLPanel.compute import Watcher
        from ParanasalSSLPanel.scans import volumeFromNode
        from ParanasalSSLPanel.separateProcess import SeparateProcess

        if self._work is not None or scan is None:
            return
        watcher = Watcher(
            lambda placement: self._onPlaced(scan, placement),
            lambda words: self._over(words, failed=True),
            lambda: self._over(CANCELLED),
            lambda progress: self._onStage(progress.stage.value, progress.fraction),
        )
        self._begun(identifier)
        try:
            self._work = SeparateProcess().place(volumeFromNode(scan), watcher)
        except ParanasalError as error:
            self._over(str(error), failed=True)

    def cancel(self) -> None:
        """Stop; scans that are complete stay."""
        self._queue = []
        if self._work is not None:
            self.stage = "Stopping"
            self._work.cancel()

    def stop(self) -> None:
        """Before the room is closed."""
        self._queue = []
        if self._work is not None:
            self._work.kill()

    def _boxes(self, scan: Any) -> list[str]:
        """Options for boxes that a reader has moved; others are placed again, as are missing ones."""
        from ParanasalSSLPanel.boxes import boxesOf, boxOptions, qualityOf

        from ParanasalSSLLib.boxes.quality import NOT_JUDGED

        quality = qualityOf(scan) or NOT_JUDGED
        return boxOptions(boxesOf(scan), quality, self._inputs.folder / "boxes.json")

    def _next(self, more: list[str]) -> None:
        from ParanasalSSLPanel.process import LibraryProcess, Listener

        identifier = self._queue.pop(0)
        source = self._inputs.path(self._cases.scans[identifier])
        if self._hadDicom(identifier):
            more = [*more, "--dicom-out"]
        call = self._settings.predict({identifier: source}, self._cases.out, *more)
        self._cases.change(identifier, "running")
        process = LibraryProcess(Listener(self._onEvent, lambda line: None, self._onEnd))
        self._work, self._scored = process, False
        process.start(call)
        self._begun(identifier)

    def _hadDicom(self, identifier: str) -> bool:
        """Whether the result that is replaced has DICOM objects, and new ones can be made."""
        report = ScanFiles.in_output(self._cases.out, identifier).dicom_report
        return report.is_file() and find_spec("highdicom") is not None

    def _begun(self, identifier: str) -> None:
        self.present, self.stage, self.percent = identifier, "Starting", 0
        self.words, self.failed = "", False
        self._changed()

    def _onStage(self, stage: str, fraction: float) -> None:
        from ParanasalSSLPanel.words import stageWords

        self.stage, self.percent = stageWords(stage), round(100 * fraction)
        self._changed()

    def _onPlaced(self, scan: Any, placement: Placement) -> None:
        """Results of the scan do not belong to these boxes."""
        import slicer
        from ParanasalSSLPanel.boxes import showBoxes
        from ParanasalSSLPanel.results import removeFindings

        there = slicer.mrmlScene.IsNodePresent(scan)
        if there:
            removeFindings(scan)
            showBoxes(scan, placement.boxes, placement.quality)
        self._over("", placed=scan if there else None)

    def _over(self, words: str, failed: bool = False, **news: Any) -> None:
        self.present, self._work = "", None
        if words:
            self.words, self.failed = words, failed
        self._changed(**news)

    def _onEvent(self, event: Event) -> None:
        match event:
            case StageBegun():
                self._onStage(event.stage, event.fraction)
            case ScanDone():
                self._scored = True
                self._cases.change(self.present, "done")
            case ScanFailed() | CallFailed():
                if isinstance(event, ScanFailed):
                    self._overview.failed(event.id, state_of(event), event.error)
                say(f"{self.present}: {event.message}", error=True)
                self._cases.change(self.present, "failed", event.message)
                self.words, self.failed = event.message, True
                self._changed()

    def _onEnd(self, ending: Ending, words: str) -> None:
        done = self.present
        self._cases.settle(done, ending.value, words)
        cancelled = ending.value == "cancelled"
        words = CANCELLED if cancelled else words or self._giveOverview()
        self._over(words, failed=not cancelled, scored=done if self._scored else "")
        if self._queue:
            self._next([])

    def _giveOverview(self) -> str:
        """As `predict` gives several results, which keeps one that is there; words if it cannot be."""
        out = self._cases.out
        if not self._several or not out.is_dir() or (out / TABLE).exists():
            return ""
        try:
            refuse_foreign_overview(out)
            self._overview.write()
        except (ParanasalError, OSError) as error:
            return f"The overview was not written: {explain(error)}"
        return ""
