"""The panel's section "Follow-up": the present scan against an earlier one of the same patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLPanel import followUp, kept, results, tables
from ParanasalSSLPanel.comparison import Comparison
from ParanasalSSLPanel.followUp import Earlier
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.openResult import openResult


class FollowUpSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._choices: list[Earlier] = []
        self.comparison: Comparison | None = None
        # The scan and the result that are compared.
        self._wordsOf: tuple[Any, ScanFiles | None] | None = None
        self._ui.compareButton.connect("clicked(bool)", self._onCompare)
        self._ui.compareFolderButton.connect("clicked(bool)", self._onFolder)
        self._ui.closeComparisonButton.connect("clicked(bool)", self._onClose)

    def update(self, scan: Any, busy: bool) -> None:
        """What can be compared; a comparison of another scan or result, or one that has gone, ends."""
        scored = scan is not None and tables.tableOf(scan) is not None
        if self._wordsOf is not None and not self._isOf(scan):
            self.stop()
        worklist = self._panel.worklistSection.worklist
        self._choices = followUp.earlierResults(scan, worklist) if scored else []
        combo = self._ui.earlierComboBox
        chosen = combo.currentText
        combo.clear()
        for choice in self._choices:
            combo.addItem(choice.title)
        combo.setCurrentIndex(max(combo.findText(chosen), 0) if self._choices else -1)
        combo.enabled = self._ui.compareButton.enabled = bool(self._choices) and not busy
        self._ui.compareFolderButton.enabled = scored and not busy
        self._ui.closeComparisonButton.enabled = self.comparison is not None

    def _isOf(self, scan: Any) -> bool:
        """The earlier result may have no scan, and so be compared in numbers only."""
        present = self.comparison is None or self.comparison.isPresent
        return present and scan is not None and self._wordsOf == (scan, kept.resultOf(scan))

    def style(self, threshold: float, opacity: float) -> None:
        """Let the earlier scan's overlay look as the present one's."""
        if self.comparison is not None and self.comparison.isPresent:
            results.styleOverlay(self.comparison.earlier, threshold, opacity)

    def stop(self) -> None:
        """Take what was compared off the views."""
        if self.comparison is not None:
            comparison, self.comparison = self.comparison, None
            comparison.close()
        self._wordsOf, self._ui.changesLabel.text = None, ""

    def _onCompare(self, checked: bool = False) -> None:
        choice = self._choices[self._ui.earlierComboBox.currentIndex]
        with self._panel.telling():
            self.compare(choice)

    def compare(self, choice: Earlier) -> None:
        """Show what has changed since, and both scans. Raises `ParanasalError`s."""
        scan = self._panel.scan
        words = followUp.changesHtml(scan, choice.files.folder)
        earlier = choice.scan or self._opened(choice)
        words = followUp.doubtHtml(scan, choice.files.folder, earlier) + words
        self.stop()
        self._wordsOf = scan, kept.resultOf(scan)
        if earlier is not None:
            self.comparison = Comparison(scan, earlier)
            self.comparison.show(*self._panel.overlay)
        self._panel.refresh()
        self._ui.changesLabel.text = words

    def _opened(self, choice: Earlier) -> Any:
        """The scan of a line of the worklist; None where it is not known."""
        if choice.entry is None:
            return None
        worklist = self._panel.worklistSection.worklist
        return openResult(worklist.sourceOf(choice.entry), worklist.folder, choice.files.scan_id)

    def _onFolder(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose the earlier result of this patient")
        )
        if folder:
            with self._panel.telling():
                self.compare(self._inFolder(Path(folder)))

    def _inFolder(self, folder: Path) -> Earlier:
        """The result there; one of the list's, or of the scene, with its scan."""
        files = ScanFiles(folder, folder.name)
        known = (one for one in self._choices if one.files == files)
        return next(known, Earlier(folder.name, files))

    def _onClose(self, checked: bool = False) -> None:
        self.stop()
        self._panel.refresh()
