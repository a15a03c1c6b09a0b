"""The page's section "Boxes": place them, adjust them, put them back."""

from __future__ import annotations

from typing import Any, ClassVar

from trame.widgets import html

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section


class BoxesSection(Section):
    """Where the boxes are, and who has put them there."""

    STATE: ClassVar = {
        "boxed": False,
        "adjusted": False,
        "turned": False,
        "outdated": False,
        "quality": "",
    }

    def __init__(self, room: Any) -> None:
        super().__init__(room)
        self._watched: list[tuple[Any, int]] = []

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="loaded", id="boxes"):
            html.H2("Boxes")
            html.Div("{{ quality }}", classes="soft", id="quality", v_if="quality")
            button("Place boxes", "place", self.place, disabled=("running !== ''",))
            words = "{{ adjusted ? 'Done adjusting' : 'Adjust boxes' }}"
            scored = ("running === this_case",)
            click = (self.adjust, "[!adjusted, false]")
            button(words, "adjust", click, v_if="boxed", disabled=scored)
            with html.Span(v_if="adjusted"):
                words = "{{ turned ? 'Without rings' : 'Turn' }}"
                button(words, "turn", (self.adjust, "[true, !turned]"))
                button("Reset", "reset", self.reset)
                button("Copy from right", "copy-right", (self.copyTo, "['left']"))
                button("Copy from left", "copy-left", (self.copyTo, "['right']"))

    def show(self) -> None:
        """See `Section`."""
        from ParanasalSSLPanel.boxes import boxNode, qualityOf
        from ParanasalSSLPanel.trust import qualityWords

        self._leave()
        scan, state = self.scan, self.state
        nodes = [boxNode(scan, side) for side in Side] if scan is not None else []
        for node in (node for node in nodes if node is not None):
            self._watched.append((node, node.AddObserver(node.PointModifiedEvent, self._onBox)))
        quality = qualityOf(scan) if scan is not None else None
        state.quality = qualityWords(quality) if quality is not None else ""
        state.boxed = bool(self._watched)
        state.outdated = state.adjusted = state.turned = False

    def _leave(self) -> None:
        for node, tag in self._watched:
            node.RemoveObserver(tag)
        self._watched = []

    def place(self) -> None:
        """Find both sinuses anew; results of the scan are taken off the screen."""
        with self.room.telling():
            self.room.runs.place(self.state.this_case, self.scan)

    def adjust(self, adjusted: bool, turned: bool) -> None:
        """Give the boxes handles, or none."""
        from ParanasalSSLPanel.boxes import adjustBoxes

        self.state.adjusted, self.state.turned = adjusted, turned
        adjustBoxes(self.scan, adjusted, turned)

    def reset(self) -> None:
        """Put both boxes back to where the registration had put them."""
        from ParanasalSSLPanel.boxes import isPlaced, resetBox

        with self.room.telling():
            for side in (side for side in Side if isPlaced(self.scan, side)):
                resetBox(self.scan, side)

    def copyTo(self, side: str) -> None:
        """Put a side's box to where the other one lies mirrored."""
        from ParanasalSSLPanel.boxes import mirrorBox

        with self.room.telling():
            mirrorBox(self.scan, Side(side))

    def _onBox(self, node: Any, event: Any) -> None:
        from ParanasalSSLPanel import results
        from ParanasalSSLPanel.boxes import boxesOf

        with self.room.telling(), self.state:
            outdated = results.areOutdated(self.scan, boxesOf(self.scan))
            if outdated != self.state.outdated:
                self.state.outdated = outdated
                results.fade(self.scan, outdated)
