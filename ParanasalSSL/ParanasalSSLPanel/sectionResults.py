"""The panel's section "Results": table, overlay, from finding to finding, segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLPanel import results, segments, tables, views
from ParanasalSSLPanel.colors import warningStyle
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.words import sinusName


class ResultsSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._tour = views.FindingTour()
        self._ui.previousFindingButton.connect("clicked(bool)", self._onPrevious)
        self._ui.nextFindingButton.connect("clicked(bool)", self._onNext)
        self._ui.sinusLayoutButton.connect("clicked(bool)", self._onLayout)
        self._ui.levelsButton.connect("clicked(bool)", self._onLevels)
        self._ui.residualFileButton.connect("clicked(bool)", self._onResidualFile)

    def update(self, scan: Any, outdated: bool) -> None:
        """Show what is known of the scan; outdated: its boxes have been changed since."""
        table = tables.tableOf(scan) if scan is not None else None
        self._ui.tableView.setMRMLTableNode(table)
        self._ui.tableView.visible = table is not None
        findings = tables.findingsTableOf(scan) if scan is not None else None
        self._ui.findingsView.setMRMLTableNode(findings)
        self._ui.findingsView.visible = findings is not None and findings.GetNumberOfRows() > 0
        self.showOutdated(scan, outdated)
        self._say("")
        self._ui.noticesLabel.text = "\n".join(results.noticesOf(scan)) if table else ""
        for button in (
            self._ui.previousFindingButton,
            self._ui.nextFindingButton,
            self._ui.levelsButton,
        ):
            button.enabled = table is not None
        self._ui.sinusLayoutButton.enabled = scan is not None

    def showOutdated(self, scan: Any, outdated: bool) -> None:
        """Say whether the numbers belong to the boxes, in words and by how all looks."""
        self._ui.outdatedLabel.visible = outdated
        self._ui.outdatedLabel.styleSheet = warningStyle(self._ui.outdatedLabel)
        self._ui.tableView.enabled = not outdated
        if scan is not None:
            results.fade(scan, outdated)

    def _onPrevious(self, checked: bool = False) -> None:
        self._go(-1)

    def _onNext(self, checked: bool = False) -> None:
        self._go(1)

    def _go(self, step: int) -> None:
        side = self._tour.go(self._panel.scan, step)
        if side is not None:
            self._say(_("{sinus}: its largest residual").format(sinus=sinusName(side)))

    def _say(self, words: str) -> None:
        self._ui.findingLabel.text = words
        self._ui.findingLabel.visible = bool(words)

    def _onLayout(self, checked: bool = False) -> None:
        views.showSinusLayout()
        views.jumpToBoxes(self._panel.scan)

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
            self._panel.prepare()
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
