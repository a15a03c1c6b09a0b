"""Where scans of a worklist come from: a folder or CD, Slicer's DICOM database, the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel import databaseSeries, scans
from ParanasalSSLPanel.chooser import Chooser
from ParanasalSSLPanel.interface import Panel, WorklistPart
from ParanasalSSLPanel.scanSearch import ScanSearch


class WorklistSources:
    """Wires the buttons that add scans."""

    def __init__(self, panel: Panel, section: WorklistPart) -> None:
        self._panel, self._section = panel, section
        self._search: ScanSearch | None = None
        self.chooser: Chooser | None = None
        ui = panel.ui
        self._buttons = (ui.addFolderButton, ui.addDatabaseButton, ui.addLoadedButton)
        ui.addFolderButton.connect("clicked(bool)", self._onFolder)
        ui.addDatabaseButton.connect("clicked(bool)", self._onDatabase)
        ui.addLoadedButton.connect("clicked(bool)", self._onLoaded)

    @property
    def isRunning(self) -> bool:
        """Whether a folder is being searched."""
        return self._search is not None

    def update(self) -> None:
        """What can be pressed now."""
        for button in self._buttons:
            button.enabled = self._section.worklist is not None and not self.isRunning

    def cancel(self) -> None:
        """Stop searching."""
        if self._search is not None:
            self._search.cancel()

    def wait(self) -> None:
        """Return when nothing is searched any more."""
        if self._search is not None:
            self._search.wait()

    def _add(self, found: Mapping[ScanSource, str], more: Sequence[str] = ()) -> None:
        with self._panel.telling():
            words = _("{number} new scans.").format(number=self._section.worklist.add(found))
            self._section.say("\n".join([words, *more]))
        self._section.update()

    # ----------------------------------------------------------------------------------- a folder

    def _onFolder(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose a folder of scans, or a CD")
        )
        if folder:
            self.addFolder(Path(folder))

    def addFolder(self, folder: Path) -> None:
        """Look for all scans below a folder, in the background; of several series the user chooses."""

        def ended(found: list[ScanSource], words: list[str]) -> None:
            self._search = None
            self._section.update()
            self._offer({scan: _titleOf(scan, folder) for scan in found}, list(filter(None, words)))

        without = self._section.worklist.folder
        self._search = ScanSearch(folder, without, self._panel.log, ended)
        forget = partial(setattr, self, "_search", None)
        with self._panel.telling(), self._section.starting(_("Looking for scans."), forget):
            self._search.start()

    def _offer(self, found: Mapping[ScanSource, str], words: Sequence[str]) -> None:
        if sum(bool(scan.files) for scan in found) > 1:
            self.chooser = Chooser(
                _("Choose the scans to add"),
                found,
                ticked=True,
                chosen=lambda chosen: self._add({scan: found[scan] for scan in chosen}, words),
            )
        elif found or not words:
            self._add(found, words)
        else:
            self._section.say("\n".join(words))

    # ------------------------------------------------------------------------- Slicer's own data

    def _onDatabase(self, checked: bool = False) -> None:
        with self._panel.telling():
            lines = databaseSeries.seriesInDatabase()
            title = _("Choose series of the DICOM database")
            self.chooser = Chooser(title, lines, ticked=False, chosen=self._onSeries)

    def _onSeries(self, uids: list[str]) -> None:
        with self._panel.telling():
            lines = databaseSeries.seriesInDatabase()
            self._add({databaseSeries.sourceOf(uid): lines[uid] for uid in uids})

    def _onLoaded(self, checked: bool = False) -> None:
        """The scans of the scene; those that have no file are written beside the results."""
        with self._panel.telling():
            self._panel.prepare()
            self._add(*self._loadedFiles())

    def _loadedFiles(self) -> tuple[dict[ScanSource, str], list[str]]:
        """The scene's scans as files, with their names; and why others are not among them."""
        files: dict[ScanSource, str] = {}
        unfit = []
        for node in scans.scansInScene():
            try:
                path = scans.fileOf(node, self._section.worklist.folder)
                files[ScanSource(path)] = node.GetName()
            except ParanasalError as error:
                unfit.append(str(error))
        return files, unfit


def _titleOf(scan: ScanSource, folder: Path) -> Any:
    """Where a scan lies in the folder that was added: series of different patients are called alike."""
    place = folder.name if scan.path == folder else str(scan.path.relative_to(folder))
    return f"{place} \N{MIDDLE DOT} {scan.about}" if scan.about else place
