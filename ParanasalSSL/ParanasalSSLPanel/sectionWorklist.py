"""The panel's section "Worklist"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import MissingPackage, ParanasalError
from ParanasalSSLLib.results.listing import Entry
from ParanasalSSLLib.sinuses import Side, probability_words
from ParanasalSSLPanel import scans
from ParanasalSSLPanel.adaptation import AdaptationRun
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.openResult import openResult
from ParanasalSSLPanel.packages import ensureHighdicom, requireTraining
from ParanasalSSLPanel.trust import verdictWords
from ParanasalSSLPanel.words import stateWords
from ParanasalSSLPanel.worklist import Row, Worklist, WorklistRun, scansIn

SETTING = "ParanasalSSL/worklistFolder"


class WorklistSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._worklist: Worklist | None = None
        self._run: WorklistRun | None = None
        self._adaptation: AdaptationRun | None = None
        self._table = self._ui.worklistTable
        headers = [_("Scan"), _("Left"), _("Right"), _("Quality"), _("State")]
        self._table.setColumnCount(len(headers))
        self._table.setHorizontalHeaderLabels(headers)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setSortIndicator(-1, qt.Qt.AscendingOrder)  # the list's own order, the urgent first
        header.setSortIndicatorShown(True)
        header.connect("sectionClicked(int)", self._onHeader)
        self._sortedBy: tuple[int, bool] | None = (
            None  # column, and whether the largest comes first
        )
        self._ui.worklistFolderEdit.connect("currentPathChanged(QString)", self._onFolder)
        self._ui.addFolderButton.connect("clicked(bool)", self._onAddFolder)
        self._ui.addLoadedButton.connect("clicked(bool)", self.onAddLoaded)
        self._ui.runWorklistButton.connect("clicked(bool)", self.onRun)
        self._ui.cancelWorklistButton.connect("clicked(bool)", self._onCancel)
        self._ui.adaptButton.connect("clicked(bool)", self._onAdapt)
        self._ui.csvButton.connect("clicked(bool)", self._onCsv)
        self._ui.tryAgainButton.connect("clicked(bool)", self._onTryAgain)
        self._table.connect("cellClicked(int,int)", self._onRow)
        self._table.connect("cellActivated(int,int)", self._onRow)  # by keyboard
        remembered = qt.QSettings().value(SETTING)
        if remembered and Path(remembered).is_dir():
            self._ui.worklistFolderEdit.currentPath = remembered
        self.update()

    @property
    def isRunning(self) -> bool:
        """Whether the list is being scored, or a model adapted to it."""
        return self._run is not None or self._adaptation is not None

    # ------------------------------------------------------------------------------ the list

    def update(self) -> None:
        """The table and what can be pressed."""
        rows = self._worklist.rows() if self._worklist is not None else []
        self._fill(rows)
        running = self.isRunning
        waiting = sum(row.entry.state == "waiting" for row in rows)
        chosen = self._worklist is not None
        for button in (self._ui.addFolderButton, self._ui.addLoadedButton):
            button.enabled = chosen
        self._ui.runWorklistButton.enabled = waiting > 0 and not running
        self._ui.cancelWorklistButton.enabled = running
        failed = any(row.entry.state == "failed" for row in rows)
        self._ui.tryAgainButton.enabled = failed and not running
        self._ui.csvButton.enabled = bool(rows)
        self._ui.adaptButton.enabled = len(rows) > 1 and not running
        self._ui.worklistFolderEdit.enabled = not running

    def readAgain(self) -> None:
        """A result in the list's folder was replaced, or read by a reader."""
        if self._worklist is not None:
            self._worklist.forget()
        self.update()

    def _fill(self, rows: list[Row]) -> None:
        self._table.setRowCount(len(rows))
        for number, row in enumerate(self._sorted(rows)):
            for column, text in enumerate(_cells(row)):
                self._table.setItem(number, column, _item(text, row))
            tip = f"{row.entry.path}\n{self._table.item(number, 1).toolTip()}".strip()
            self._table.item(number, 0).setToolTip(tip)

    def _sorted(self, rows: list[Row]) -> list[Row]:
        """Not by Qt, which would sort "< 0.01" as a text."""
        if self._sortedBy is None:
            return rows
        column, descending = self._sortedBy
        return sorted(rows, key=lambda row: _sortKeys(row)[column], reverse=descending)

    def _onHeader(self, column: int) -> None:
        descending = self._sortedBy == (column, False)  # a second click turns the order around
        self._sortedBy = column, descending
        order = qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder
        self._table.horizontalHeader().setSortIndicator(column, order)
        self.update()

    def _onFolder(self, folder: str) -> None:
        self._worklist = None
        if folder:
            with self._panel.telling():
                self._worklist = Worklist(Path(folder))
                qt.QSettings().setValue(SETTING, folder)
        self.update()

    def _onAddFolder(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose a folder of scans")
        )
        if folder:
            self.addFolder(Path(folder))

    def addFolder(self, folder: Path) -> None:
        """Add all scans below a folder."""
        with self._panel.telling():
            titles = {path: _titleOf(path, folder) for path in scansIn(folder)}
            number = self._worklist.add(titles)
            self._ui.worklistLabel.text = _("{number} new scans.").format(number=number)
        self.update()

    def onAddLoaded(self, checked: bool = False) -> None:
        """Add the scans of the scene; those that have no file are written beside the results."""
        with self._panel.telling():
            self._panel.prepare()
            loaded, unfit = self._loadedFiles()
            words = _("{number} new scans.").format(number=self._worklist.add(loaded))
            self._ui.worklistLabel.text = "\n".join([words, *unfit])
        self.update()

    def _loadedFiles(self) -> tuple[dict[Path, str], list[str]]:
        """The scene's scans as files, with their names; and why others are not among them."""
        files, unfit = {}, []
        for node in scans.scansInScene():
            try:
                files[scans.fileOf(node, self._worklist.folder)] = node.GetName()
            except ParanasalError as error:
                unfit.append(str(error))
        return files, unfit

    def _onCsv(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export CSV"), "worklist.csv", "CSV (*.csv)"
        )
        if path:
            with self._panel.telling():
                self._worklist.exportCsv(Path(path), bool(self._ui.csvNamesCheckBox.checked))

    # ------------------------------------------------------------------------------- running

    def onRun(self, checked: bool = False) -> None:
        """Score what waits, in the background."""
        with self._panel.telling():
            self._panel.prepare()
            dicom = self._ui.worklistDicomCheckBox.checked
            if dicom:
                ensureHighdicom()
            self._run = WorklistRun(
                self._worklist,
                self._panel.settings,
                self.update,
                self._panel.log,
                self._onEnded,
                ("--dicom-out",) if dicom else (),
            )
            self._ui.worklistLabel.text = _("Scoring in the background.")
            self._run.start()
            self.update()

    def _onCancel(self, checked: bool = False) -> None:
        for run in (self._run, self._adaptation):
            if run is not None:
                run.cancel()

    def _onTryAgain(self, checked: bool = False) -> None:
        with self._panel.telling():
            self._worklist.tryAgain()
        self.update()

    def stop(self) -> None:
        """Before the panel goes: what is not finished waits for the next time."""
        for run in (self._run, self._adaptation):
            if run is not None:
                run.cancel()
                run.wait()

    def _onEnded(self, words: str) -> None:
        self._run = None
        failed = sum(row.entry.state == "failed" for row in self._worklist.rows())
        unscored = _("{number} of the scans could not be scored; hover over a row to see why.")
        self._ui.worklistLabel.text = words or (unscored.format(number=failed) if failed else "")
        self.update()

    # ------------------------------------------------------------------------------ adapting

    def _onAdapt(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose an empty folder for the new model")
        )
        if folder:
            self.adapt(Path(folder))

    def adapt(self, output: Path) -> None:
        """Adapt the chosen model to the scans of the list, in the background."""
        with self._panel.telling():
            requireTraining()
            self._panel.prepare()
            paths = [entry.path for entry in self._worklist.entries.values()]
            self._adaptation = AdaptationRun(
                paths, output, self._panel.settings, self._say, self._panel.log, self._onAdapted
            )
            self._say(_("Adapting in the background."))
            self._adaptation.start()
            self.update()

    def _say(self, words: str) -> None:
        self._ui.worklistLabel.text = words

    def _onAdapted(self, folder: str, words: str) -> None:
        self._adaptation = None
        self._say(words)
        if folder:
            with self._panel.telling():
                self._panel.addModel(folder)
                done = _(
                    "The new model is chosen above. Before you use it, look at {folder}.report/"
                    "adaptation.html: what was used, and what has changed."
                )
                self._say(done.format(folder=folder))
        self.update()

    def _onRow(self, row: int, column: int) -> None:
        identifier = self._table.item(row, 0).data(qt.Qt.UserRole)
        entry = self._worklist.entries[identifier]
        if entry.state != "done":
            return
        if self._panel.isBusy:
            self._ui.worklistLabel.text = _("Wait until the present computation has ended.")
            return
        with self._panel.working(_("Opening the scan")):
            self._panel.parameters.scan = self._opened(entry)
            self._panel.showResults()

    def _opened(self, entry: Entry) -> Any:
        """The scan of a line; only a zip with a NIfTI file needs packages for that."""
        call = Path(entry.path), self._worklist.folder, entry.identifier
        try:
            return openResult(*call)
        except MissingPackage:
            self._panel.prepare()
            return openResult(*call)


def _titleOf(path: Path, folder: Path) -> str:
    """Where a scan lies in the folder that was added: series of different patients are called alike."""
    return folder.name if path == folder else str(path.relative_to(folder))


def _cells(row: Row) -> list[str]:
    """What the table's columns show."""
    sides = (row.probability(side) for side in (Side.LEFT, Side.RIGHT))
    words = ("" if each is None else probability_words(each) for each in sides)
    return [row.entry.name, *words, _qualityWords(row), stateWords(row.entry.state)]


def _qualityWords(row: Row) -> str:
    return _("read") if row.is_read else verdictWords(row.quality)


def _sortKeys(row: Row) -> list[tuple[float, str]]:
    """What the table's columns are sorted by: number, then text; without a number below all."""
    sides = (row.probability(side) for side in (Side.LEFT, Side.RIGHT))
    name, *_words, quality, state = _cells(row)
    numbers = [(-1.0 if each is None else each, name) for each in sides]
    return [(0.0, name), *numbers, (0.0, quality), (0.0, state)]


def _item(text: str, row: Row) -> Any:
    item = qt.QTableWidgetItem(text)
    item.setData(qt.Qt.UserRole, row.entry.identifier)
    reasons = row.record.quality.reasons if row.record is not None else ()
    item.setToolTip(row.entry.message or " ".join(reasons))
    return item
