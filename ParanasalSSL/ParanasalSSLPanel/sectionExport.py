"""The panel's section "Export"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLPanel import kept, tables
from ParanasalSSLPanel.dicomSeries import isFromDicom
from ParanasalSSLPanel.export import addToDatabase, exportScan
from ParanasalSSLPanel.folders import freeIdentifier
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.packages import ensureHighdicom


class ExportSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._ui.exportButton.connect("clicked(bool)", self.onExport)
        self._ui.openReportButton.connect("clicked(bool)", self._onOpenReport)
        self._ui.exportFolderEdit.connect("currentPathChanged(QString)", self._onFolder)
        self._exported: dict[ScanFiles | None, ScanFiles] = {}  # the last time, of each result

    def update(self, scan: Any, busy: bool) -> None:
        """What can be pressed now."""
        scored = scan is not None and tables.tableOf(scan) is not None
        dicom = scored and isFromDicom(scan)
        self._ui.exportButton.enabled = scored and not busy
        self._ui.openReportButton.enabled = scored
        for box in (self._ui.exportDicomCheckBox, self._ui.exportDatabaseCheckBox):
            box.enabled = dicom

    def _onFolder(self, folder: str) -> None:
        """Propose an id that is free there."""
        if folder:
            self._ui.exportIdEdit.text = freeIdentifier(Path(folder))

    def onExport(self, checked: bool = False) -> None:
        """Write what is shown of the chosen scan into the chosen folder."""
        folder, identifier = self._ui.exportFolderEdit.currentPath, self._ui.exportIdEdit.text
        if not folder:
            self._ui.exportLabel.text = _("Choose a folder first.")
            return
        scan = self._panel.scan
        asDicom = self._ui.exportDicomCheckBox.checked and isFromDicom(scan)
        with self._panel.telling():
            if asDicom:
                ensureHighdicom()
            with self._panel.working(_("Writing the results")):
                files, remarks = exportScan(scan, Path(folder), identifier, asDicom)
                self._exported[kept.resultOf(scan)] = files
                if asDicom and self._ui.exportDatabaseCheckBox.checked:
                    added = addToDatabase(files)
                    failed = _("Slicer's DICOM database is not open, so nothing was added to it.")
                    remarks += [] if added else [failed]
                words = _("Written to {folder}").format(folder=files.folder)
                self._ui.exportLabel.text = "\n".join([words, *remarks])

    def _onOpenReport(self, checked: bool = False) -> None:
        """The page of what is shown: as it was exported, with a reader's edits, or as it is kept."""
        result = kept.resultOf(self._panel.scan)
        pages = [files.report_html for files in (self._exported.get(result), result) if files]
        page = next((page for page in pages if page.is_file()), None)
        if page is None:
            self._panel.say(_("There is no report of this session. Press Run first."), isError=True)
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(page)))
