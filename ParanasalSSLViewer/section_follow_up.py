"""The page's section "Follow-up": an earlier result of the same patient, as numbers and beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from trame.widgets import html
from trame.widgets import vuetify3 as v

from ParanasalSSLViewer import page
from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section

if TYPE_CHECKING:
    from ParanasalSSLPanel.comparison import Comparison


class FollowUpSection(Section):
    """Which result is compared with the present one."""

    STATE: ClassVar = {"earlier": None, "others": [], "changes": ""}

    def __init__(self, room: Any) -> None:
        super().__init__(room)
        self._comparison: Comparison | None = None

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="scored && others.length > 0", id="follow-up"):
            html.H2("Follow-up")
            v.VSelect(
                model_value=("earlier",),
                id="earlier",
                items=("others",),
                label="Earlier result of this patient",
                density="compact",
                hide_details=True,
                update_modelValue=(self.compare, "[$event]"),
            )
            html.Div(v_html=("changes",), classes="scores soft", id="changes", v_if="changes")
            button("Close comparison", "close-comparison", self.close, v_if="changes")

    def show(self) -> None:
        """See `Section`."""
        self.close()
        rows = [row for row in self.room.cases.rows() if row.record is not None]
        self.state.others = [
            {"value": row.entry.identifier, "title": f"{row.entry.identifier}  {row.entry.name}"}
            for row in rows
            if row.entry.identifier != self.state.this_case
        ]

    def compare(self, identifier: str) -> None:
        """Show what has changed since an earlier result, and that beside the present one."""
        from ParanasalSSLPanel.comparison import Comparison
        from ParanasalSSLPanel.followUp import changesHtml, doubtHtml

        self.close()
        with self.room.telling():
            files = self.room.cases.files(identifier)
            self.state.changes = changesHtml(self.scan, files.folder)
            self.state.earlier = identifier
            earlier = self.room.load(identifier)
            self.state.changes = doubtHtml(self.scan, files.folder, earlier) + self.state.changes
            self._comparison = Comparison(self.scan, earlier)
            self.room.setLayout(page.BESIDE)
            self._comparison.show(self.state.threshold, self.state.opacity)
            self.room.sights.look(self.scan)

    def close(self) -> None:
        """Show the present examination alone."""
        from ParanasalSSLPanel.cases import closeCase

        self.state.changes, self.state.earlier = "", None
        if self._comparison is not None:
            comparison, self._comparison = self._comparison, None
            comparison.close()
            closeCase(comparison.earlier)
            self.room.setLayout(page.FOUR_UP)
            self.room.sights.look(self.scan)
