"""The panel's section "Export"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ParanasalSSLPanel.export import Export, isFromDicom
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.packages import ensureHighdicom


class ExportSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._export: Export | None = None
        self._ui.exportButton.connect("clicked(bool)", self.onExport)
        self._ui.cancelExportButton.connect("clicked(bool)", self._onCancel)

    @property
    def isRunning(self) -> bool:
        """Whether an export is under way."""
        return self._export is not None

    def update(self, scan: Any, busy: bool) -> None:
        """What can be pressed now."""
        self._ui.exportButton.enabled = scan is not None and not busy
        self._ui.cancelExportButton.enabled = self.isRunning

    def onExport(self, checked: bool = False) -> None:
        """Write the chosen scan's results into the chosen folder."""
        folder = self._ui.exportFolderEdit.currentPath
        if not folder:
            self._ui.exportLabel.text = _("Choose a folder first.")
            return
        with self._panel.telling():
            self._panel.prepare()
            if isFromDicom(self._panel.scan):
                ensureHighdicom()
            export = Export(
                self._panel.scan,
                Path(folder),
                self._panel.settings,
                self._onDone,
                self._onFailed,
                self._onStage,
                self._panel.log,
            )
            self._export = export
            try:
                export.start()
            except BaseException:
                self._export = None
                raise
            self._panel.refresh()

    def stop(self) -> None:
        """Before the panel goes, or its scene."""
        if self._export is not None:
            self._export.cancel()
            self._export.wait()

    def _onCancel(self, checked: bool = False) -> None:
        if self._export is not None:
            self._ui.cancelExportButton.enabled = False
            self._export.cancel()

    def _onStage(self, words: str) -> None:
        self._ui.exportLabel.text = words

    def _onDone(self, folder: Path, remark: str) -> None:
        self._ended(f"{_('Written to {folder}').format(folder=folder)}\n{remark}".strip())

    def _onFailed(self, words: str) -> None:
        self._ended(words)

    def _ended(self, words: str) -> None:
        self._export = None
        self._ui.exportLabel.text = words
        self._panel.refresh()
