"""The page's section "Your reading": a verdict for each side, and a comment."""

from __future__ import annotations

from typing import ClassVar

from trame.widgets import html
from trame.widgets import vuetify3 as v

from ParanasalSSLLib.results.reading import VERDICT_WORDS
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section


class ReadingSection(Section):
    """Kept at once, beside the result."""

    STATE: ClassVar = {"verdicts": {}, "comment": "", "kept": ""}

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="scored", id="reading"):
            html.H2("Your reading")
            with html.Div(v_for="side in ['right', 'left']", key="side", style="display: flex"):
                html.Span("{{ side }}", style="width: 2.8rem", classes="mt-2")
                for verdict in VERDICT_WORDS:
                    self._draw_verdict(verdict)
            look = {"rows": 2, "auto_grow": True, "density": "compact", "hide_details": True}
            v.VTextarea(
                v_model=("comment",), id="comment", label="Comment", change=self.keep, **look
            )
            button("Save", "save", self.keep)
            html.Span("{{ kept }}", id="kept", classes="soft")

    def _draw_verdict(self, verdict: str) -> None:
        v.VBtn(
            verdict,
            size="small",
            classes="ma-1",
            id=(f"`${{side}}-{verdict}`",),
            variant=(f"verdicts[side] === '{verdict}' ? 'flat' : 'tonal'",),
            color=(f"verdicts[side] === '{verdict}' ? '#7cc4e0' : undefined",),
            click=(self.judge, f"[side, '{verdict}']"),
        )

    def show(self) -> None:
        """See `Section`."""
        from ParanasalSSLPanel.readings import verdictOf

        self.state.verdicts, self.state.comment, self.state.kept = {}, "", ""
        if self.state.scored:
            reading = verdictOf(self.scan)
            self.state.verdicts = {side.value: said for side, said in reading.verdicts.items()}
            self.state.comment = reading.comment

    def judge(self, side: str, verdict: str) -> None:
        """Note a verdict on a side; the same once more takes it back."""
        verdicts = dict(self.state.verdicts)
        if verdicts.pop(side, "") != verdict:
            verdicts[side] = verdict
        self.state.verdicts = verdicts
        self.keep()

    def keep(self) -> None:
        """Write verdicts and comment beside the result."""
        from ParanasalSSLPanel.readings import setReading

        if not self.state.scored:
            return
        self.state.kept = ""  # until it is
        with self.room.telling():
            verdicts = {Side(side): verdict for side, verdict in self.state.verdicts.items()}
            setReading(self.scan, verdicts, self.state.comment)
            self.state.kept = "Saved."
            self.room.listRows()
