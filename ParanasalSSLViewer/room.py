"""One room: what its buttons do to scene and results. `page` draws it, the module's code shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from trame.app import TrameApp
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories

from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.results.reading import Reading, write_reading
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLViewer import page, stand_ins
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.config import ViewConfig
from ParanasalSSLViewer.inputs import Inputs
from ParanasalSSLViewer.program import ThreadedProgram
from ParanasalSSLViewer.rows import row_for_page
from ParanasalSSLViewer.runs import Runs
from ParanasalSSLViewer.sights import Sights

OPACITY = 0.6  # of the overlay
STATE = {
    "rows": [],
    "this_case": "",
    "words": "",
    "failed": False,
    "loaded": False,
    "reported": False,
    "scored": False,
    "scores": "",
    "notices": [],
    "findings": [],
    "finding": -1,
    "threshold": 0.2,
    "opacity": OPACITY,
    "overlay": True,
    "surfaces": True,
    "boxed": False,
    "adjusted": False,
    "turned": False,
    "outdated": False,
    "layout": page.FOUR_UP,
    "running": "",
    "stage": "",
    "percent": 0,
    "waiting": 0,
    "verdicts": {},
    "comment": "",
    "kept": "",
}


class Room(TrameApp):
    """The server's side of one page."""

    def __init__(self, server: Any, cases: CaseList, config: ViewConfig) -> None:
        super().__init__(server=server)
        self._cases, self._inputs = cases, Inputs()
        self._app = SlicerApp()
        stand_ins.install(self._app)
        self._sights = Sights(self._app)
        self._scan: Any = None
        self._watched: list[tuple[Any, int]] = []
        from ParanasalSSLPanel.places import Tour

        self._tour = Tour()
        from ParanasalSSLPanel.process import Toolkit

        Toolkit.newProgram = ThreadedProgram
        self._runs = Runs(cases, self._inputs, config, self._onRun)
        register_rca_factories(
            self._app.view_manager, server, page.over_slices, page.over_solid, target_fps=20
        )
        self._layouts = LayoutManager(self._app.scene, self._app.view_manager, server)
        self._layouts.register_layout_dict(page.layouts(), lazy_initialization=True)
        self._layouts.set_layout(page.FOUR_UP)
        self.state.update(STATE)
        self.state.trame__title = "ParanasalSSL reading room"
        self._listRows()
        page.draw(self, server, self._layouts)
        self.state.change("threshold", "opacity")(self._onOverlay)
        self.ctrl.on_server_ready.add(lambda **_: self._openFirst())
        self.ctrl.on_client_connected.add(lambda **_: self._sights.draw(self._scan))
        self.ctrl.on_server_exited.add(lambda **_: self._close())

    # ------------------------------------------------------------------------------ the worklist

    def _listRows(self) -> None:
        rows = self._cases.rows()
        self.state.rows = [row_for_page(row) for row in rows]
        self.state.waiting = sum(row.entry.state in ("waiting", "failed") for row in rows)

    def _openFirst(self) -> None:
        first = next((row for row in self.state.rows), None)
        if first is not None:
            self.open(first["id"])

    def open(self, identifier: str) -> None:
        """Show a case, with its results if it has any."""
        with self._telling():
            self._leave()
            self.state.this_case, self.state.kept = identifier, ""
            self.state.reported = self._cases.record(identifier) is not None
            self._scan = self._load(identifier)
            self.state.loaded = True
            self._showCase()

    def _load(self, identifier: str) -> Any:
        from ParanasalSSLPanel.openResult import openResult

        from ParanasalSSLViewer.scene import openScan

        source = self._cases.scans.get(identifier)
        if source is None:
            self._cases.files(identifier)
            raise ParanasalError(
                f"The scan of {identifier} is not among those that were named when this room was "
                "opened, so only its report can be shown."
            )
        path = self._inputs.path(source)
        if self._cases.record(identifier) is None:
            return openScan(path)
        return openResult(path, self._cases.out, identifier)

    def _leave(self) -> None:
        from ParanasalSSLPanel.cases import closeCase

        for node, tag in self._watched:
            node.RemoveObserver(tag)
        self._watched = []
        if self._scan is not None:
            closeCase(self._scan)
        self._scan, self.state.this_case = None, ""
        self.state.loaded = self.state.reported = False
        self._showNumbers()

    def _close(self) -> None:
        self._runs.stop()
        self._inputs.remove()

    # ------------------------------------------------------------------------------- what is seen

    def _showCase(self) -> None:
        from ParanasalSSLPanel import results
        from ParanasalSSLPanel.boxes import boxNode

        level = results.levelOf(self._scan)
        self.state.threshold, self.state.opacity = round(level or 0.2, 2), OPACITY
        self.state.overlay = level is not None
        results.showOverlay(self._scan, self.state.threshold, OPACITY)
        results.show3D(self._scan, self.state.surfaces)
        for node in (boxNode(self._scan, side) for side in Side):
            if node is not None:
                tag = node.AddObserver(node.PointModifiedEvent, self._onBox)
                self._watched.append((node, tag))
        self._sights.aim(self._scan)
        self._sights.draw(self._scan)
        self._showNumbers()
        self._showReading()

    def _showNumbers(self) -> None:
        from ParanasalSSLPanel import results, tables
        from ParanasalSSLPanel.places import placesOf

        scan, state = self._scan, self.state
        state.scored = scan is not None and tables.tableOf(scan) is not None
        state.boxed = bool(self._watched)
        state.scores = tables.scoresHtml(scan) if state.scored else ""
        state.notices = list(results.noticesOf(scan)) if state.scored else []
        state.findings = [
            {"words": place.words, "clear": place.clear}
            for place in (placesOf(scan) if state.scored else [])
        ]
        state.finding, state.outdated = -1, False
        state.adjusted = state.turned = False

    def _onOverlay(self, threshold: float, opacity: float, **_: Any) -> None:
        from ParanasalSSLPanel import results

        if self._scan is not None and self.state.scored and self.state.overlay:
            results.styleOverlay(self._scan, float(threshold), float(opacity))

    def toggleOverlay(self) -> None:
        """Show the residual over the slices, or not."""
        from ParanasalSSLPanel import results

        self.state.overlay = not self.state.overlay
        if self.state.overlay:
            results.showOverlay(self._scan, self.state.threshold, self.state.opacity)
        else:
            results.hideOverlay(self._scan)

    def toggleSurfaces(self) -> None:
        """Show cavities and opacities in 3D, or not."""
        from ParanasalSSLPanel import results

        self.state.surfaces = not self.state.surfaces
        results.show3D(self._scan, self.state.surfaces)

    def setLayout(self, layout: str) -> None:
        """Four views, or the sides compared."""
        from ParanasalSSLPanel import results

        self.state.layout = layout
        self._layouts.set_layout(layout)
        if self._scan is not None:
            results.showOverlay(self._scan, self.state.threshold, self.state.opacity)
            self._sights.aim(self._scan)
            self._sights.draw(self._scan)

    # ------------------------------------------------------------------------------- the findings

    def step(self, step: int) -> None:
        """Look at the next (1) or previous (-1) finding."""
        self._found(self._tour.go(self._scan, step) if self._scan is not None else None)

    def look(self, number: int) -> None:
        """Look at the finding in that line."""
        self._found(self._tour.goTo(self._scan, number))

    def _found(self, place: Any) -> None:
        from ParanasalSSLPanel.places import placesOf

        self._sights.moved()
        self.state.finding = -1 if place is None else placesOf(self._scan).index(place)
        self._say("" if place is not None else "No finding on a side where one is suspected.")

    # ---------------------------------------------------------------------------------- the boxes

    def adjust(self, adjusted: bool, turned: bool) -> None:
        """Give the boxes handles, or none."""
        from ParanasalSSLPanel.boxes import adjustBoxes

        self.state.adjusted, self.state.turned = adjusted, turned
        adjustBoxes(self._scan, adjusted, turned)

    def resetBoxes(self) -> None:
        """Put both boxes back to where the registration had put them."""
        from ParanasalSSLPanel.boxes import isPlaced, resetBox

        with self._telling():
            for side in Side:
                if isPlaced(self._scan, side):
                    resetBox(self._scan, side)

    def _onBox(self, node: Any, event: Any) -> None:
        from ParanasalSSLPanel import results
        from ParanasalSSLPanel.boxes import boxesOf

        with self._telling(), self.state:
            outdated = results.areOutdated(self._scan, boxesOf(self._scan))
            if outdated != self.state.outdated:
                self.state.outdated = outdated
                results.fade(self._scan, outdated)

    # ------------------------------------------------------------------------------------ a run

    def run(self) -> None:
        """Score the case on screen, in its boxes as they stand."""
        with self._telling():
            self._runs.begin([self.state.this_case], self._scan)

    def runWaiting(self) -> None:
        """Score all that was not scored yet."""
        with self._telling():
            waiting = [row["id"] for row in self.state.rows if row["waits"]]
            self._runs.begin(waiting, None)

    def cancel(self) -> None:
        """Stop; what was complete is kept."""
        self._runs.cancel()

    def _onRun(self, scored: str = "") -> None:
        """Something of a run has changed. scored: the case that has new results."""
        with self.state:
            self.state.running, self.state.stage = self._runs.present, self._runs.stage
            self.state.percent = self._runs.percent
            if self._runs.words:
                self._say(self._runs.words, failed=self._runs.failed)
            self._listRows()
            if scored and scored == self.state.this_case:
                self.open(scored)

    # --------------------------------------------------------------------------------- a reading

    def _showReading(self) -> None:
        reading = self._cases.reading(self.state.this_case) or Reading()
        self.state.verdicts = {side.value: verdict for side, verdict in reading.verdicts.items()}
        self.state.comment = reading.comment

    def judge(self, side: str, verdict: str) -> None:
        """Note a verdict on a side; the same once more takes it back."""
        verdicts = dict(self.state.verdicts)
        if verdicts.pop(side, "") != verdict:
            verdicts[side] = verdict
        self.state.verdicts = verdicts
        self.keepReading()

    def keepReading(self) -> None:
        """Write verdicts and comment beside the result."""
        record = self._cases.record(self.state.this_case)
        if record is None:
            return
        verdicts = {Side(side): verdict for side, verdict in self.state.verdicts.items()}
        new = Reading.of(record, verdicts, self.state.comment)
        older = self._cases.reading(self.state.this_case) or Reading()
        reading = replace(new, edited_ml=older.edited_ml)
        with self._telling():
            write_reading(self._cases.files(self.state.this_case), reading)
            self.state.kept = "Saved."
            self._listRows()

    # -------------------------------------------------------------------------------------- words

    def _say(self, words: str, failed: bool = False) -> None:
        self.state.words, self.state.failed = words, failed

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Do something whose errors are told on the page."""
        self._say("")
        try:
            yield
        except (ParanasalError, ValueError) as error:
            self._say(str(error), failed=True)
        except OSError as error:
            self._say(explain(error), failed=True)
