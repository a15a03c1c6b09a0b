"""What the room's page looks like: its columns, its views, its keys; `section_*` fill it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_slicer.core import LayoutManager
from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition

from ParanasalSSLLib.results.record import RESEARCH_USE
from ParanasalSSLViewer.interface import Room
from ParanasalSSLViewer.section import Section

FOUR_UP, COMPARED, BESIDE = "four", "compared", "beside"
EDGES = {"Axial": ("R", "L"), "Coronal": ("R", "L"), "Sagittal": ("A", "P")}  # left, right
KEYS = {"n": "next", "p": "previous", "o": "overlay"}  # those of the module's panel -> buttons here
STYLE = """
html { overflow: hidden; font-size: 14px; }
.room { display: flex; height: 100vh; background: #1b1f23; color: #e8ecef; }
.side { width: 21rem; overflow-y: auto; padding: .8rem; flex: none; }
.list { width: 17.5rem; border-right: 1px solid #333a40; }
.facts { border-left: 1px solid #333a40; }
.views { flex: 1; min-width: 0; height: 100vh; }
.views > div { height: 100%; }
.views .layout-grid-container > div, .views .layout-grid-item { min-width: 0; min-height: 0; }
.case { padding: .5rem .6rem; border-radius: 6px; cursor: pointer; margin-bottom: .25rem; }
.case:hover { background: #2a3036; }
.case.present { background: #33414d; }
.soft { color: #a9b4bd; font-size: .86rem; }
.alarm { color: #ffab7d; font-weight: 600; }
.doubt { color: #ffcc66; font-weight: 600; }
.error { color: #ff8a80; }
.v-btn { text-transform: none; letter-spacing: 0; }
a { color: inherit; }
h2 { font-size: .95rem; margin: 1rem 0 .35rem; }
.scores table { border-collapse: collapse; width: 100%; }
.scores td { padding: .12rem 0; vertical-align: top; }
.edge { position: absolute; top: 18%; color: #fff; font-weight: 600; pointer-events: none;
        text-shadow: 0 0 3px #000, 0 0 3px #000; }
.plane { position: absolute; top: .3rem; right: .5rem; color: #fff; pointer-events: none;
         text-shadow: 0 0 3px #000, 0 0 3px #000; }
"""
# The page puts its scripts in again with every new layout, so the old one is to be replaced.
PRESS = """
window.onkeydown = event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input[type=text], textarea")) return;
  const button = document.getElementById(%s[event.key.toLowerCase()]);
  if (button) { event.preventDefault(); button.click(); }
};
"""


def layouts() -> dict[str, Layout]:
    """Four views; the sides side by side as on films; an earlier scan beside the present one."""
    from ParanasalSSLPanel.views import EARLIER, LATER

    planes = ViewLayoutDefinition
    axial, solid, coronal = planes.axial_view(), planes.threed_view(), planes.coronal_view()
    right, left = planes.coronal_view("ParanasalRight"), planes.coronal_view("ParanasalLeft")
    earlier, later = (
        [planes.coronal_view(names["Coronal"]), planes.axial_view(names["Axial"])]
        for names in (EARLIER, LATER)
    )
    return {
        FOUR_UP: _columns([axial, planes.sagittal_view()], [coronal, solid]),
        COMPARED: _columns([right, axial], [left, solid]),
        BESIDE: _columns(earlier, later),
    }


def _columns(*columns: list[Any]) -> Layout:
    """Views below one another, in columns beside one another."""
    stacks = [Layout(LayoutDirection.Vertical, column) for column in columns]
    return Layout(LayoutDirection.Horizontal, stacks)


def over_slices(server: Any, view_id: str, view: Any) -> None:
    """Plane and sides, in letters over a slice view."""
    orientation = view.get_orientation()
    left, right = EDGES.get(orientation, ("", ""))
    html.Div(left, classes="edge", style="left: .5rem")
    html.Div(right, classes="edge", style="right: .5rem")
    html.Div(f"{orientation}{_time_of(view.get_singleton_tag())}", classes="plane")


def _time_of(view: str) -> str:
    """Which of two scans a slice view shows, where there are two."""
    from ParanasalSSLPanel.views import EARLIER, LATER

    times = {
        **dict.fromkeys(EARLIER.values(), ", earlier"),
        **dict.fromkeys(LATER.values(), ", now"),
    }
    return times.get(view, "")


def over_solid(server: Any, view_id: str, view: Any) -> None:
    """Nothing lies over the 3D view but its name."""
    html.Div("3D", classes="plane")


def button(words: str, name: str, click: Any, **more: Any) -> None:
    """One of the page's buttons. name: its id."""
    v.VBtn(words, id=name, click=click, size="small", variant="tonal", classes="ma-1", **more)


def draw(room: Room, sections: Sequence[Section], server: Any, manager: LayoutManager) -> None:
    """Put the page together; the sections stand below one another."""
    dark = {"theme": {"defaultTheme": "dark"}}
    with VAppLayout(server, vuetify_config=dark) as layout:
        layout.root.classes = "paranasal"
        client.Style(STYLE)
        client.Script(PRESS % json.dumps(KEYS))
        with html.Div(classes="room"):
            with html.Div(classes="side list", id="worklist"):
                _worklist(room)
            with html.Div(classes="views", id="views"):
                manager.initialize_layout_grid(layout)
            with html.Div(classes="side facts", id="facts"):
                html.Div(
                    "{{ words }}", id="words", v_if="words", classes=("failed ? 'error' : ''",)
                )
                for section in sections:
                    section.draw()
                html.P(RESEARCH_USE, classes="soft mt-4", v_if="!scored")


def _worklist(room: Room) -> None:
    html.Div("ParanasalSSL reading room", style="font-weight: 600; margin-bottom: .6rem")
    with html.Div(
        v_for="row in rows",
        key="row.id",
        classes=("`case ${row.id === this_case ? 'present' : ''}`",),
        click=(room.open, "[row.id]"),
        id=("`case-${row.id}`",),
    ):
        with html.Div(style="display: flex; justify-content: space-between"):
            html.B("{{ row.id }}")
            html.Span("{{ row.read ? 'read' : row.state }}", classes="soft")
        html.Div("{{ row.name }}", classes="soft", style="overflow-wrap: anywhere")
        with html.Div(v_for="side in row.sides", v_if="row.scored", key="side.side"):
            html.Span(
                "{{ side.side }} {{ side.probability }} {{ side.words }}",
                classes=("side.suspected ? 'alarm' : 'soft'",),
            )
        html.Div("look at the boxes", v_if="row.quality === 'review'", classes="doubt")
        html.Div("{{ row.message }}", v_if="row.message", classes="error soft")
    button(
        "Run all that wait ({{ waiting }})",
        "run-waiting",
        room.runWaiting,
        v_if="waiting > 0",
        disabled=("running !== ''",),
    )
