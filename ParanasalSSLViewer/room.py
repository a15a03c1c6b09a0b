"""One room: which case is on screen. `section_*` show it and act on it, `page` draws the whole."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trame.app import TrameApp
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories

from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLViewer import page, stand_ins
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.config import ViewConfig
from ParanasalSSLViewer.inputs import Inputs
from ParanasalSSLViewer.program import ThreadedProgram
from ParanasalSSLViewer.rows import row_for_page
from ParanasalSSLViewer.runs import Runs
from ParanasalSSLViewer.section import Section
from ParanasalSSLViewer.section_boxes import BoxesSection
from ParanasalSSLViewer.section_files import FilesSection
from ParanasalSSLViewer.section_findings import FindingsSection
from ParanasalSSLViewer.section_follow_up import FollowUpSection
from ParanasalSSLViewer.section_reading import ReadingSection
from ParanasalSSLViewer.section_results import ResultsSection
from ParanasalSSLViewer.section_run import RunSection
from ParanasalSSLViewer.sights import Sights

QUALITY = 90  # of the pictures, moving or not: else each is drawn and sent twice
STATE = {
    "rows": [],
    "waiting": 0,
    "this_case": "",
    "loaded": False,
    "words": "",
    "failed": False,
    "layout": page.FOUR_UP,
}


class Room(TrameApp):
    """The server's side of one page.

    cases: all that the room shows. inputs: the paths of their scans. scan: the volume node of the case
    on screen, if it could be read. runs: what is being computed. sights: where the views look.
    """

    def __init__(self, server: Any, cases: CaseList, config: ViewConfig) -> None:
        super().__init__(server=server)
        self.cases, self.inputs = cases, Inputs()
        self._app = SlicerApp()
        stand_ins.install(self._app)
        from ParanasalSSLPanel.process import Toolkit

        Toolkit.newProgram = ThreadedProgram
        self.sights = Sights(self._app)
        self.scan: Any = None
        self._begin(server, config)
        self.listRows()
        page.draw(self, self.sections, server, self._layouts)
        self.ctrl.on_server_ready.add(lambda **_: self._openFirst())
        self.ctrl.on_client_connected.add(lambda **_: self.sights.draw(self.scan))
        self.ctrl.on_server_exited.add(lambda **_: self._close())

    def _begin(self, server: Any, config: ViewConfig) -> None:
        register_rca_factories(
            self._app.view_manager,
            server,
            page.over_slices,
            page.over_solid,
            target_fps=20,
            interactive_quality=QUALITY,
        )
        self._layouts = LayoutManager(self._app.scene, self._app.view_manager, server)
        self._layouts.register_layout_dict(page.layouts(), lazy_initialization=True)
        # Before there is a page, which would take the views for parts of its own.
        self._layouts.create_layout_views_if_needed(page.FOUR_UP)
        self._layouts.set_layout(page.FOUR_UP)
        self._run, self._files = RunSection(self), FilesSection(self)
        self._follow_up = FollowUpSection(self)
        self.runs = Runs(self.cases, self.inputs, config, self._run.onRun)
        self.sections: list[Section] = [
            self._run,
            ResultsSection(self),
            FindingsSection(self),
            BoxesSection(self),
            ReadingSection(self),
            self._follow_up,
            self._files,
        ]
        self.state.update(STATE)
        for section in self.sections:
            self.state.update(section.STATE)
        self.state.trame__title = "ParanasalSSL reading room"

    # ------------------------------------------------------------------------------ the worklist

    def listRows(self) -> None:
        """Show what has changed in the worklist."""
        self.state.rows = [row_for_page(row) for row in self.cases.rows()]
        self.state.waiting = sum(row["waits"] for row in self.state.rows)

    def runWaiting(self) -> None:
        """Score all that was not scored yet; the case on screen first, in boxes that were moved."""
        waiting = [row["id"] for row in self.state.rows if row["waits"]]
        present = self.state.this_case in waiting
        waiting.sort(key=lambda identifier: identifier != self.state.this_case)
        with self.telling():
            self.runs.begin(waiting, self.scan if present else None)

    def _openFirst(self) -> None:
        first = next((row for row in self.state.rows), None)
        if first is not None:
            with self.state:  # else what changes back later passes for unchanged
                self.open(first["id"])

    def open(self, identifier: str) -> None:
        """Show a case, with its results if it has any."""
        with self.telling():
            self._leave()
            self.state.this_case = identifier
            try:
                self.scan = self.load(identifier)
            finally:
                self.show()
            self.sights.look(self.scan)

    def show(self) -> None:
        """Show what is known of the case on screen."""
        self.state.loaded = self.scan is not None
        for section in self.sections:
            section.show()

    def load(self, identifier: str) -> Any:
        """The volume node of a case, with its results if it has any. Raises `ParanasalError`s."""
        from ParanasalSSLPanel.openResult import openResult

        from ParanasalSSLViewer.scene import openScan

        source = self.cases.scans.get(identifier)
        if source is None:
            self.cases.files(identifier)
            raise ParanasalError(
                f"The scan of {identifier} is not among those that were named when this room was "
                "opened, so only its report can be shown."
            )
        path = self.inputs.path(source)
        if self.cases.record(identifier) is None:
            return openScan(path)
        return openResult(path, self.cases.out, identifier)

    def _leave(self) -> None:
        from ParanasalSSLPanel.cases import closeCase

        self._follow_up.close()  # the earlier scan goes: it may be the one that is opened next
        if self.scan is not None:
            closeCase(self.scan)
        self.scan, self.state.this_case = None, ""

    def _close(self) -> None:
        self.runs.stop()
        self.inputs.remove()

    # ------------------------------------------------------------------------- what sections ask

    def setLayout(self, layout: str) -> None:
        """Arrange the views anew."""
        self.state.layout = layout
        self._layouts.set_layout(layout)

    def export(self, identifier: str, dicom: bool) -> bytes:
        """The files of a case, see `FilesSection.export`. Raises `ParanasalError`s."""
        return self._files.export(self.cases.files(identifier), dicom)

    def say(self, words: str, failed: bool = False) -> None:
        """One line or two at the top of the page, without the server's folders."""
        self.state.words, self.state.failed = self.cases.told(words), failed

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Do something whose errors are told on the page, and with their paths on the terminal."""
        self.say("")
        try:
            yield
        except Exception as error:  # the page would be sent its trace, with all paths
            if not isinstance(error, ParanasalError | ValueError | OSError):
                traceback.print_exception(error)
            words = str(error) if isinstance(error, ValueError) else explain(error)
            say(words, error=True)
            self.say(words, failed=True)
