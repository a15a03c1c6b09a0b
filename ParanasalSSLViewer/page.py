"""What the room's page looks like: worklist, views, and what is known of the case."""

from __future__ import annotations

from typing import Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_slicer.core import LayoutManager
from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition

from ParanasalSSLLib.results.reading import VERDICT_WORDS
from ParanasalSSLLib.results.record import RESEARCH_USE

FOUR_UP, COMPARED = "four", "compared"
EDGES = {"Axial": ("R", "L"), "Coronal": ("R", "L"), "Sagittal": ("A", "P")}  # left, right
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


def layouts() -> dict[str, Layout]:
    """Axial, coronal, sagittal and 3D; or the sides side by side as a radiologist sees them."""
    planes = ViewLayoutDefinition
    axial, solid = planes.axial_view(), planes.threed_view()
    right, left = planes.coronal_view("ParanasalRight"), planes.coronal_view("ParanasalLeft")
    return {
        FOUR_UP: _columns([axial, planes.sagittal_view()], [planes.coronal_view(), solid]),
        COMPARED: _columns([right, axial], [left, solid]),
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
    html.Div(orientation, classes="plane")


def over_solid(server: Any, view_id: str, view: Any) -> None:
    """Nothing lies over the 3D view but its name."""
    html.Div("3D", classes="plane")


def draw(room: Any, server: Any, manager: LayoutManager) -> None:
    """Put the page together."""
    dark = {"theme": {"defaultTheme": "dark"}}
    with VAppLayout(server, vuetify_config=dark) as layout:
        layout.root.classes = "paranasal"
        client.Style(STYLE)
        with html.Div(classes="room"):
            with html.Div(classes="side list", id="worklist"):
                _worklist(room)
            with html.Div(classes="views", id="views"):
                manager.initialize_layout_grid(layout)
            with html.Div(classes="side facts", id="facts"):
                _message()
                _run(room)
                _results(room)
                _findings(room)
                _boxes(room)
                _reading(room)
                _export()
                html.P(RESEARCH_USE, classes="soft mt-4", v_if="!scored")


def _button(words: str, name: str, click: Any, **more: Any) -> None:
    v.VBtn(words, id=name, click=click, size="small", variant="tonal", classes="ma-1", **more)


def _worklist(room: Any) -> None:
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
    _button(
        "Run all that wait ({{ waiting }})",
        "run-waiting",
        room.runWaiting,
        v_if="waiting > 0",
        disabled=("running !== ''",),
    )


def _message() -> None:
    html.Div("{{ words }}", id="words", v_if="words", classes=("failed ? 'error' : ''",))


def _run(room: Any) -> None:
    with html.Div(v_if="running", id="progress"):
        html.Div("{{ running }}: {{ stage }}", classes="soft")
        v.VProgressLinear(model_value=("percent",), height=8, rounded=True, color="#7cc4e0")
        _button("Cancel", "cancel", room.cancel)
    with html.Div(v_if="loaded && !running"):
        _button("{{ scored ? 'Run again' : 'Run' }}", "run", room.run)
    html.Div(
        "The boxes were moved: these numbers belong to their earlier places. Run again.",
        v_if="outdated",
        classes="doubt",
        id="outdated",
    )


def _results(room: Any) -> None:
    with html.Div(v_if="scored"):
        html.H2("Results")
        html.Div(
            v_html=("scores",),
            classes="scores",
            id="scores",
            style=("outdated ? 'opacity: .45' : ''",),
        )
    with html.Div(v_if="loaded"):
        html.H2("Views")
        with html.Div():
            _button("Four views", "four-up", (room.setLayout, f"['{FOUR_UP}']"))
            _button("Sides compared", "compared", (room.setLayout, f"['{COMPARED}']"))
        with html.Div(v_if="scored"):
            _button(
                "{{ overlay ? 'Hide overlay' : 'Show overlay' }}", "overlay", room.toggleOverlay
            )
            _button("{{ surfaces ? 'Hide 3D' : 'Show 3D' }}", "surfaces", room.toggleSurfaces)
            for name, words in (("threshold", "Overlay threshold"), ("opacity", "Overlay opacity")):
                html.Div(f"{words} {{{{ {name}.toFixed(2) }}}}", classes="soft mt-2")
                v.VSlider(
                    v_model=(name,),
                    id=name,
                    min=0,
                    max=1,
                    step=0.01,
                    density="compact",
                    hide_details=True,
                    color="#7cc4e0",
                )


def _findings(room: Any) -> None:
    with html.Div(v_if="scored", id="findings"):
        html.H2("Findings")
        _button("Previous", "previous", (room.step, "[-1]"))
        _button("Next", "next", (room.step, "[1]"))
        html.Div("No findings.", v_if="findings.length === 0", classes="soft")
        html.Div(
            "{{ place.words }}",
            v_for="(place, number) in findings",
            key="number",
            classes=("`case ${number === finding ? 'present' : ''} ${place.clear ? 'soft' : ''}`",),
            click=(room.look, "[number]"),
        )


def _boxes(room: Any) -> None:
    with html.Div(v_if="boxed"):
        html.H2("Boxes")
        _button(
            "{{ adjusted ? 'Done adjusting' : 'Adjust boxes' }}",
            "adjust",
            (room.adjust, "[!adjusted, false]"),
        )
        _button(
            "{{ turned ? 'Without rings' : 'Turn' }}",
            "turn",
            (room.adjust, "[true, !turned]"),
            v_if="adjusted",
        )
        _button("Put back", "reset", room.resetBoxes, v_if="adjusted")


def _reading(room: Any) -> None:
    with html.Div(v_if="scored", id="reading"):
        html.H2("Your reading")
        with html.Div(v_for="side in ['right', 'left']", key="side", style="display: flex"):
            html.Span("{{ side }}", style="width: 2.8rem", classes="mt-2")
            for verdict in VERDICT_WORDS:
                v.VBtn(
                    verdict,
                    size="small",
                    classes="ma-1",
                    id=(f"`${{side}}-{verdict}`",),
                    variant=(f"verdicts[side] === '{verdict}' ? 'flat' : 'tonal'",),
                    color=(f"verdicts[side] === '{verdict}' ? '#7cc4e0' : undefined",),
                    click=(room.judge, f"[side, '{verdict}']"),
                )
        v.VTextarea(
            v_model=("comment",),
            id="comment",
            label="Comment",
            rows=2,
            auto_grow=True,
            density="compact",
            hide_details=True,
            change=room.keepReading,
        )
        _button("Save", "save", room.keepReading)
        html.Span("{{ kept }}", id="kept", classes="soft")


def _export() -> None:
    with html.Div(v_if="reported"):
        html.H2("Files")
        for words, path in (("Report", "report"), ("All files (zip)", "export")):
            with html.A(href=(f"`/{path}/${{this_case}}`",), target="_blank", id=path):
                v.VBtn(words, size="small", variant="tonal", classes="ma-1")
        html.P("{{ notice }}", v_for="notice in notices", key="notice", classes="soft mt-1")
