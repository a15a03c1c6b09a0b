"""The page's section "Findings": from one to the next."""

from __future__ import annotations

from typing import Any, ClassVar

from trame.widgets import html

from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section


class FindingsSection(Section):
    """The list of the findings, and the way through it."""

    STATE: ClassVar = {"findings": [], "finding": -1}

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="scored", id="findings"):
            html.H2("Findings")
            button("Previous", "previous", (self.step, "[-1]"), title="Key P")
            button("Next", "next", (self.step, "[1]"), title="Key N")
            html.Div("No findings.", v_if="findings.length === 0", classes="soft")
            place = "`case ${number === finding ? 'present' : ''} ${place.clear ? 'soft' : ''}`"
            html.Div(
                "{{ place.words }}",
                v_for="(place, number) in findings",
                key="number",
                classes=(place,),
                click=(self.look, "[number]"),
            )

    def show(self) -> None:
        """See `Section`."""
        from ParanasalSSLPanel.places import Tour, placesOf

        self._tour = Tour()
        places = placesOf(self.scan) if self.state.scored else []
        self.state.findings = [{"words": one.words, "clear": one.clear} for one in places]
        self.state.finding = -1

    def step(self, step: int) -> None:
        """Look at the next (1) or previous (-1) finding."""
        if self.scan is not None:
            self._found(self._tour.go(self.scan, step))

    def look(self, number: int) -> None:
        """Look at the finding in that line."""
        self._found(self._tour.goTo(self.scan, number))

    def _found(self, place: Any) -> None:
        from ParanasalSSLPanel.places import placesOf

        self.room.sights.moved()
        self.state.finding = -1 if place is None else placesOf(self.scan).index(place)
        self.room.say("" if place is not None else "No finding on a side where one is suspected.")
