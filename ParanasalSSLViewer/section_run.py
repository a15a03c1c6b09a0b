"""The page's section "Run": score the case on screen, or all that wait."""

from __future__ import annotations

from typing import Any, ClassVar

from trame.widgets import html
from trame.widgets import vuetify3 as v

from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section


class RunSection(Section):
    """Progress and Cancel while something is computed, else Run."""

    STATE: ClassVar = {"running": "", "stage": "", "percent": 0}

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="running", id="progress"):
            html.Div("{{ running }}: {{ stage }}", classes="soft")
            v.VProgressLinear(model_value=("percent",), height=8, rounded=True, color="#7cc4e0")
            button("Cancel", "cancel", self.room.runs.cancel)
        with html.Div(v_if="loaded && !running"):
            button("{{ scored ? 'Run again' : 'Run' }}", "run", self.run)
        html.Div(
            "The boxes were moved: these numbers belong to their earlier places. Run again.",
            v_if="outdated",
            classes="doubt",
            id="outdated",
        )

    def run(self) -> None:
        """Score the case on screen; boxes that a reader has moved stay where they are."""
        with self.room.telling():
            self.room.runs.begin([self.state.this_case], self.scan)

    def onRun(self, scored: str = "", placed: Any = None) -> None:
        """Something of a run has changed; see `Runs`."""
        runs, state = self.room.runs, self.state
        with state:
            state.running, state.stage, state.percent = runs.present, runs.stage, runs.percent
            if runs.words:
                self.room.say(runs.words, failed=runs.failed)
            self.room.listRows()
            if state.adjusted and runs.present == state.this_case:
                self._lock()
            if scored and scored == state.this_case:
                self.room.open(scored)
            elif placed is not None and placed is self.scan:
                self.room.show()
                self.room.sights.look(placed)

    def _lock(self) -> None:
        """The boxes are scored as they are now: none is to be moved meanwhile."""
        from ParanasalSSLPanel.boxes import adjustBoxes

        self.state.adjusted = self.state.turned = False
        adjustBoxes(self.scan, False, False)
