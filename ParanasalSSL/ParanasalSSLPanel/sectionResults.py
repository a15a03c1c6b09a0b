"""The panel's section "Results": table, overlay, from finding to finding, segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import places, readings, results, segments, tables, views
from ParanasalSSLPanel.colors import warningStyle
from ParanasalSSLPanel.interface import Panel


class ResultsSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self.isOutdated = False  # as it is said
        self._commented: Any = None  # the scan whose comment is shown
        self._tour = places.Tour()
        self._ui.previousFindingButton.connect("clicked(bool)", self._onPrevious)
        self._ui.nextFindingButton.connect("clicked(bool)", self._onNext)
        self._ui.findingsView.connect("clicked(QModelIndex)", self._onFinding)
        self._ui.overlayButton.connect("clicked(bool)", self._onOverlay)
        self._ui.surfaceButton.connect("clicked(bool)", self._onSurface)
        self._ui.fourUpButton.connect("clicked(bool)", self._onFourUp)
        self._ui.sideBySideButton.connect("clicked(bool)", self._onSideBySide)
        self._verdicts = {
            Side.RIGHT: self._ui.rightVerdictComboBox,
            Side.LEFT: self._ui.leftVerdictComboBox,
        }
        for combo in self._verdicts.values():
            for title, verdict in (
                ("", ""),
                (_("agree"), "agree"),
                (_("disagree"), "disagree"),
                (_("unsure"), "unsure"),
            ):
                combo.addItem(title, verdict)
            combo.connect("activated(int)", self._onReading)
        self._ui.commentEdit.connect("editingFinished()", self._onReading)
        self._ui.levelsButton.connect("clicked(bool)", self._onLevels)
        self._ui.residualFileButton.connect("clicked(bool)", self._onResidualFile)

    def update(self, scan: Any, outdated: bool) -> None:
        """Show what is known of the scan; outdated: its boxes have been changed since."""
        table = tables.tableOf(scan) if scan is not None else None
        self._ui.scoresLabel.text = tables.scoresHtml(scan) if table is not None else ""
        self._ui.scoresLabel.visible = table is not None
        findings = tables.findingsTableOf(scan) if scan is not None else None
        self._ui.findingsView.setMRMLTableNode(findings)
        self._ui.findingsView.visible = findings is not None and findings.GetNumberOfRows() > 0
        if self._ui.findingsView.visible:
            self._ui.findingsView.resizeColumnsToContents()
        self.showOutdated(scan, outdated)
        self._say("")
        self._ui.noticesLabel.text = "\n".join(results.noticesOf(scan)) if table else ""
        for button in (
            self._ui.previousFindingButton,
            self._ui.nextFindingButton,
            self._ui.levelsButton,
            self._ui.overlayButton,
            self._ui.surfaceButton,
        ):
            button.enabled = table is not None
        self._showReading(scan, table is not None)
        self.showOverlayState(scan)
        self._ui.surfaceButton.checked = scan is not None and results.isShown3D(scan)
        for button in (self._ui.fourUpButton, self._ui.sideBySideButton):
            button.enabled = scan is not None

    def _showReading(self, scan: Any, scored: bool) -> None:
        """What is being typed stays, for it is kept only when the field is left."""
        reading = readings.verdictOf(scan) if scored else None
        for side, combo in self._verdicts.items():
            verdict = reading.verdicts.get(side, "") if reading is not None else ""
            combo.setCurrentIndex(max(combo.findData(verdict), 0))
            combo.enabled = scored
        if not (self._ui.commentEdit.modified and scan is self._commented and scored):
            self._ui.commentEdit.text = reading.comment if reading is not None else ""
        self._ui.commentEdit.enabled = scored
        self._commented = scan

    def _onReading(self, *_index: Any) -> None:
        """Kept at once, in the worklist too."""
        scan = self._panel.scan
        if scan is None or tables.tableOf(scan) is None:
            return
        chosen = {
            side: combo.itemData(combo.currentIndex) for side, combo in self._verdicts.items()
        }
        verdicts = {side: verdict for side, verdict in chosen.items() if verdict}
        known = readings.verdictOf(scan)
        if (dict(known.verdicts), known.comment) == (verdicts, self._ui.commentEdit.text.strip()):
            return
        with self._panel.telling():
            readings.setReading(scan, verdicts, self._ui.commentEdit.text)
            self._ui.commentEdit.modified = False
        self._panel.showWorklist()

    def showOverlayState(self, scan: Any) -> None:
        """Whether the views show the overlay."""
        self._ui.overlayButton.checked = scan is not None and results.isOverlayShown(scan)

    def showOutdated(self, scan: Any, outdated: bool) -> None:
        """Say whether the numbers belong to the boxes, in words and by how all looks."""
        self._ui.outdatedLabel.visible = self.isOutdated = outdated
        self._ui.outdatedLabel.styleSheet = warningStyle(self._ui.outdatedLabel)
        self._ui.scoresLabel.enabled = self._ui.findingsView.enabled = not outdated
        if scan is not None:
            results.fade(scan, outdated)

    def _onPrevious(self, checked: bool = False) -> None:
        self._go(-1)

    def _onNext(self, checked: bool = False) -> None:
        self._go(1)

    def _go(self, step: int) -> None:
        place = self._tour.go(self._panel.scan, step)
        self._say(place.words if place is not None else _("No finding: no anomaly is suspected."))

    def _onFinding(self, index: Any) -> None:
        place = self._tour.goTo(self._panel.scan, index.row())
        if place is not None:
            self._say(place.words)

    def _say(self, words: str) -> None:
        self._ui.findingLabel.text = words
        self._ui.findingLabel.visible = bool(words)

    def _onOverlay(self, checked: bool = False) -> None:
        if self._ui.overlayButton.checked:
            self._panel.showOverlay()
        else:
            results.hideOverlay(self._panel.scan)

    def _onSurface(self, checked: bool = False) -> None:
        results.show3D(self._panel.scan, self._ui.surfaceButton.checked)

    def _onFourUp(self, checked: bool = False) -> None:
        views.showFourUp()
        views.lookAtBoxes(self._panel.scan)

    def _onSideBySide(self, checked: bool = False) -> None:
        views.showSideBySide()
        views.lookAtBoxes(self._panel.scan)

    def _onLevels(self, checked: bool = False) -> None:
        with self._panel.telling():
            results.showLevels(self._panel.scan)

    def _onResidualFile(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Open residual map"), "", _("NIfTI (*.nii *.nii.gz)")
        )
        if path:
            self.openResidualFile(Path(path))

    def openResidualFile(self, path: Path) -> None:
        """Load a residual map, with its opacity as segments."""
        with self._panel.telling():
            threshold = self._panel.parameters.residualThreshold
            file = segments.loadResidualFile(path, threshold)
            results.showResidualFile(file)
            beside = _("The opacity is that of the segmentation beside the file.")
            alone = _(
                "There is no segmentation beside the file: the opacity begins at {threshold}, as "
                '"Overlay threshold" says.'
            )
            words = beside if file.calibrated else alone.format(threshold=f"{threshold:.2f}")
            self._say(words)
