"""The page's section "Files": the report, and all that is on screen as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from trame.widgets import html
from trame.widgets import vuetify3 as v

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLViewer.door import zipped
from ParanasalSSLViewer.section import Section


class FilesSection(Section):
    """Links; the server makes the files when one is followed."""

    STATE: ClassVar = {"reported": False, "dicom": False, "notices": []}

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="reported"):
            html.H2("Files")
            case = "${encodeURIComponent(this_case)}"
            self._draw_link("Report", "report", f"`/report/{case}`", target="_blank")
            self._draw_link("All files (zip)", "export", f"`/export/{case}`")
            address = f"`/export/{case}?dicom=yes`"
            self._draw_link("With DICOM SEG and SR", "export-dicom", address, v_if="dicom")
            html.P("{{ notice }}", v_for="notice in notices", key="notice", classes="soft mt-1")

    def _draw_link(self, words: str, name: str, address: str, **more: str) -> None:
        with html.A(href=(address,), id=name, **more):
            v.VBtn(words, size="small", variant="tonal", classes="ma-1")

    def show(self) -> None:
        """See `Section`."""
        from ParanasalSSLPanel import results
        from ParanasalSSLPanel.dicomSeries import isFromDicom

        identifier, state = self.state.this_case, self.state
        state.reported = bool(identifier) and self.room.cases.record(identifier) is not None
        state.notices = list(results.noticesOf(self.scan)) if state.scored else []
        state.dicom = state.scored and isFromDicom(self.scan)

    def export(self, files: ScanFiles, dicom: bool) -> bytes:
        """What is on screen of a case as a zip; of another case what its folder holds.

        dicom: with DICOM SEG and SR, where the scan is a DICOM series. Raises `ParanasalError`s.
        """
        from ParanasalSSLPanel.export import exportScan

        if files.scan_id != self.state.this_case or not self.state.scored:
            return zipped(files, files.folder.parent)
        with tempfile.TemporaryDirectory(dir=self.room.inputs.folder) as folder:
            made, remarks = exportScan(self.scan, Path(folder), files.scan_id, dicom)
            with self.state:
                self.room.say(" ".join(remarks))
            return zipped(made, Path(folder))
