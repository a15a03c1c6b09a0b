"""The panel's section "Worklist"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import MissingPackage
from ParanasalSSLLib.results.listing import Entry
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.openResult import openResult
from ParanasalSSLPanel.packages import ensureHighdicom
from ParanasalSSLPanel.worklist import Worklist, WorklistRun
from ParanasalSSLPanel.worklistAdaptation import WorklistAdaptation
from ParanasalSSLPanel.worklistCsv import exportCsv
from ParanasalSSLPanel.worklistSources import WorklistSources
from ParanasalSSLPanel.worklistTable import WorklistTable

SETTING = "ParanasalSSL/worklistFolder"


class WorklistSection:
    """Wires the section's widgets; a `WorklistPart` to its parts."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self.worklist: Worklist | None = None
        self._run: WorklistRun | None = None
        self.sources, self.adaptation = (
            WorklistSources(panel, self),
            WorklistAdaptation(panel, self),
        )
        self._table = WorklistTable(self._ui.worklistTable, self._onOpened)
        self._ui.worklistFolderEdit.connect("currentPathChanged(QString)", self._onFolder)
        self._ui.runWorklistButton.connect("clicked(bool)", self.onRun)
        self._ui.cancelWorklistButton.connect("clicked(bool)", self._onCancel)
        self._ui.csvButton.connect("clicked(bool)", self._onCsv)
        self._ui.tryAgainButton.connect("clicked(bool)", self._onTryAgain)
        remembered = qt.QSettings().value(SETTING)
        if remembered and Path(remembered).is_dir():
            self._ui.worklistFolderEdit.currentPath = remembered
        self.update()

    @property
    def isRunning(self) -> bool:
        """Whether scans are looked for, the list is being scored, or a model adapted to it."""
        return self._run is not None or self.adaptation.isRunning or self.sources.isRunning

    # ------------------------------------------------------------------------------ the list

    def update(self) -> None:
        """The table and what can be pressed."""
        rows = self.worklist.rows() if self.worklist is not None else []
        self._table.fill(rows)
        running = self.isRunning
        states = [row.entry.state for row in rows]
        self.sources.update()
        self._ui.runWorklistButton.enabled = "waiting" in states and not running
        self._ui.cancelWorklistButton.enabled = running
        self._ui.tryAgainButton.enabled = "failed" in states and not running
        self._ui.csvButton.enabled = bool(rows)
        self._ui.adaptButton.enabled = len(rows) > 1 and not running
        self._ui.worklistFolderEdit.enabled = not running

    def say(self, words: str) -> None:
        """A line or some below the list."""
        self._ui.worklistLabel.text = words

    def readAgain(self) -> None:
        """A result in the list's folder was replaced, or read by a reader."""
        if self.worklist is not None:
            self.worklist.forget()
        self.update()

    def _onFolder(self, folder: str) -> None:
        self.worklist = None
        if folder:
            with self._panel.telling():
                self.worklist = Worklist(Path(folder))
                qt.QSettings().setValue(SETTING, folder)
        self.update()

    def _onCsv(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export CSV"), "worklist.csv", "CSV (*.csv)"
        )
        if path:
            with self._panel.telling():
                withNames = bool(self._ui.csvNamesCheckBox.checked)
                exportCsv(self.worklist.rows(), Path(path), withNames)

    # ------------------------------------------------------------------------------- running

    def onRun(self, checked: bool = False) -> None:
        """Score what waits, in the background."""
        with self._panel.telling():
            self._panel.prepare()
            dicom = self._ui.worklistDicomCheckBox.checked
            if dicom:
                ensureHighdicom()
            self._run = WorklistRun(
                self.worklist,
                self._panel.settings,
                self.update,
                self._panel.log,
                self._onEnded,
                ("--dicom-out",) if dicom else (),
            )
            with self.starting(
                _("Scoring in the background."), partial(setattr, self, "_run", None)
            ):
                self._run.start()

    @contextmanager
    def starting(self, words: str, forget: Callable[[], None]) -> Iterator[None]:
        """Start something in the background, as `words` say; what cannot begin is forgotten."""
        self.say(words)
        try:
            yield
        except BaseException:  # a damaged list of files, a full disk
            forget()
            self.say("")
            raise
        finally:
            self.update()

    def _onCancel(self, checked: bool = False) -> None:
        for run in (self._run, self.adaptation, self.sources):
            if run is not None:
                run.cancel()

    def _onTryAgain(self, checked: bool = False) -> None:
        with self._panel.telling():
            self.worklist.tryAgain()
        self.update()

    def stop(self) -> None:
        """Before the panel goes: what is not finished waits for the next time."""
        self._onCancel()
        for run in (self._run, self.adaptation, self.sources):
            if run is not None:
                run.wait()

    def _onEnded(self, words: str) -> None:
        self._run = None
        failed = sum(row.entry.state == "failed" for row in self.worklist.rows())
        unscored = _("{number} of the scans could not be scored; hover over a row to see why.")
        self.say(words or (unscored.format(number=failed) if failed else ""))
        self.update()

    # ------------------------------------------------------------------------------- opening

    def _onOpened(self, identifier: str) -> None:
        entry = self.worklist.entries[identifier]
        if entry.state != "done":
            return
        if self._panel.isBusy:
            self.say(_("Wait until the present computation has ended."))
            return
        with self._panel.working(_("Opening the scan")):
            self._panel.parameters.scan = self._opened(entry)
            self._panel.showResults()

    def _opened(self, entry: Entry) -> Any:
        """The scan of a line; only a zip with a NIfTI file needs packages for that."""
        call = self.worklist.sourceOf(entry), self.worklist.folder, entry.identifier
        try:
            return openResult(*call)
        except MissingPackage:
            self._panel.prepare()
            return openResult(*call)
