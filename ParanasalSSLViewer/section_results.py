"""The page's section "Results": numbers, overlay, surfaces, levels, and how the views are arranged."""

from __future__ import annotations

from typing import Any, ClassVar

from trame.widgets import html
from trame.widgets import vuetify3 as v

from ParanasalSSLViewer import page
from ParanasalSSLViewer.page import button
from ParanasalSSLViewer.section import Section

OPACITY, THRESHOLD = 0.6, 0.2  # of the overlay, as the panel begins
SLIDERS = (("threshold", "Overlay threshold"), ("opacity", "Overlay opacity"))


class ResultsSection(Section):
    """What the numbers are, and how they are seen."""

    STATE: ClassVar = {
        "scored": False,
        "scores": "",
        "threshold": THRESHOLD,
        "opacity": OPACITY,
        "overlay": True,
        "surfaces": True,
        "levels": "none",  # or "shown", "hidden"
    }

    def draw(self) -> None:
        """See `Section`."""
        with html.Div(v_if="scored"):
            html.H2("Results")
            faded = ("outdated ? 'opacity: .45' : ''",)
            html.Div(v_html=("scores",), classes="scores", id="scores", style=faded)
        with html.Div(v_if="loaded"):
            html.H2("Views")
            button("Four views", "four-up", (self.arrange, f"['{page.FOUR_UP}']"))
            button("Sides compared", "compared", (self.arrange, f"['{page.COMPARED}']"))
            with html.Div(v_if="scored"):
                self._draw_results()
        self.state.change("threshold", "opacity")(self._onOverlay)

    def _draw_results(self) -> None:
        button(
            "{{ overlay ? 'Hide overlay' : 'Show overlay' }}",
            "overlay",
            self.toggleOverlay,
            title="Key O",
        )
        button("{{ surfaces ? 'Hide 3D' : 'Show 3D' }}", "surfaces", self.toggleSurfaces)
        words = "levels === 'shown' ? 'Hide 50 / 75 / 95 %' : levels === 'hidden' ? "
        words += "'Show 50 / 75 / 95 %' : 'Create 50 / 75 / 95 % segments'"
        button(f"{{{{ {words} }}}}", "levels", self.toggleLevels)
        for name, title in SLIDERS:
            html.Div(f"{title} {{{{ {name}.toFixed(2) }}}}", classes="soft mt-2")
            look = {"density": "compact", "hide_details": True, "color": "#7cc4e0"}
            v.VSlider(v_model=(name,), id=name, min=0, max=1, step=0.01, **look)

    def show(self) -> None:
        """See `Section`."""
        from ParanasalSSLPanel import results, tables

        scan, state = self.scan, self.state
        state.scored = scan is not None and tables.tableOf(scan) is not None
        state.scores = tables.scoresHtml(scan) if state.scored else ""
        state.levels = "none"
        if scan is None:
            return
        level = results.levelOf(scan)
        state.threshold, state.opacity = round(level or THRESHOLD, 2), OPACITY
        state.overlay = level is not None
        results.showOverlay(scan, state.threshold, OPACITY)
        results.show3D(scan, state.surfaces)

    def _onOverlay(self, threshold: float, opacity: float, **_: Any) -> None:
        from ParanasalSSLPanel import results

        if self.scan is not None and self.state.scored and self.state.overlay:
            results.styleOverlay(self.scan, float(threshold), float(opacity))

    def toggleOverlay(self) -> None:
        """Show the residual over the slices, or not."""
        from ParanasalSSLPanel import results

        self.state.overlay = not self.state.overlay
        if self.state.overlay:
            results.showOverlay(self.scan, self.state.threshold, self.state.opacity)
        else:
            results.hideOverlay(self.scan)

    def toggleSurfaces(self) -> None:
        """Show cavities and opacities in 3D, or not."""
        from ParanasalSSLPanel import results

        self.state.surfaces = not self.state.surfaces
        results.show3D(self.scan, self.state.surfaces)

    def toggleLevels(self) -> None:
        """Make the levels of the residual as segments; then show them or not."""
        from ParanasalSSLPanel import results
        from ParanasalSSLPanel.scanNodes import nodeOf

        with self.room.telling():
            if self.state.levels == "none":
                results.showLevels(self.scan)
            shown = self.state.levels != "shown"
            nodeOf(self.scan, "levels").SetDisplayVisibility(shown)
            self.state.levels = "shown" if shown else "hidden"

    def arrange(self, layout: str) -> None:
        """Four views, the sides compared, or an earlier examination beside."""
        from ParanasalSSLPanel import results

        self.room.setLayout(layout)
        if self.scan is not None:  # new views show nothing yet
            results.showOverlay(self.scan, self.state.threshold, self.state.opacity)
            if not self.state.overlay:
                results.hideOverlay(self.scan)
        self.room.sights.look(self.scan)
