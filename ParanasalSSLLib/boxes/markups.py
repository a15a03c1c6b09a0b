"""Boxes as Slicer's markups ROIs (`.mrk.json`).

Slicer's reader drops what it does not know, but keeps the description of an ROI's control point. So
that is where we write, as JSON, where the box was put, by whom, and how well: boxes that Slicer has
saved again still tell their quality, and one that was dragged there is known to have been.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import NOT_JUDGED, Quality
from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.geometry import lps_to_ras, ras_to_lps
from ParanasalSSLLib.sinuses import SINUSES, Side

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


@dataclass(frozen=True, eq=False)
class Remembered:
    """Where a box was put when it was written, and how good it was said to be."""

    box: SinusBox
    quality: Quality

    @classmethod
    def from_json(cls, side: Side, content: Any) -> Remembered:
        """From a control point's description. Raises errors of many kinds for anything else."""
        box = SinusBox(
            side, content["center_ras_mm"], content["rotation"], origin=str(content["origin"])
        )
        return cls(box, Quality.from_json(content["quality"]))

    def judged(self, found: SinusBox) -> tuple[SinusBox, Quality | None]:
        """The box as it was found now: as it was written, or moved by hand since."""
        if found.is_at(self.box):
            return replace(found, origin=self.box.origin), self.quality
        return replace(found, origin="hand"), None


def box_from_markup(markup: dict[str, Any]) -> tuple[SinusBox, Remembered | None]:
    """One ROI, and what it says of itself.

    Raises:
        BadBoxes, KeyError, TypeError, ValueError, AttributeError: no ROI, no cube, or of no side.
    """
    if markup["type"] != "ROI":
        raise BadBoxes(f"a markup of type {markup['type']} was found where ROIs are expected.")
    system = markup.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS"):
        raise BadBoxes(f'its coordinate system is {system!r}; "LPS" or "RAS" is expected.')
    to_ras = lps_to_ras(np.eye(4))[:3, :3] if system == "LPS" else np.eye(3)
    size = np.array(markup["size"], float)
    if np.ptp(size) > 0.5:
        raise BadBoxes(f"a box of {size.round(1).tolist()} mm was found; a cube is expected.")
    # Slicer stores the object-to-node matrix row by row; its columns are the ROI's axes.
    unturned = to_ras  # a file without orientation means axes along the RAS ones
    orientation = np.array(markup.get("orientation", unturned), float).reshape(3, 3)
    center = np.diag(to_ras) * np.array(markup["center"], float)
    rotation = to_ras @ orientation
    origin = "registration" if markup.get("description") == "registration" else "hand"
    box = SinusBox(_side_of(markup), center, rotation, float(size.mean()), origin)
    return box, _remembered(markup, box.side)


def _side_of(markup: dict[str, Any]) -> Side:
    labels = [point.get("label", "") for point in markup.get("controlPoints", [])]
    for text in (markup.get("name", ""), *labels):
        words = text.lower()  # "L" and "R" are what the Slicer module labels its boxes with
        sides = [side for side in Side if side.value in words or words == side.value[0]]
        if len(sides) == 1:
            return sides[0]
    raise BadBoxes('an ROI does not say its side: have "left" or "right" in its name.')


def _remembered(markup: dict[str, Any], side: Side) -> Remembered | None:
    try:
        text = markup["controlPoints"][0]["description"]
        return Remembered.from_json(side, json.loads(text))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, BadBoxes):
        return None


def box_to_markup(box: SinusBox, quality: Quality) -> dict[str, Any]:
    """One ROI in LPS, as Slicer writes it."""
    facts = SINUSES[box.side]
    center = ras_to_lps(box.center_ras_mm)
    orientation = ras_to_lps(box.box_to_ras)[:3, :3]
    point = {
        "id": "1",
        "label": facts.name,
        "description": "" if quality == NOT_JUDGED else _description(box, quality),
        "position": center.tolist(),
        "selected": True,
        "visibility": True,
        "positionStatus": "defined",
    }
    return {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "name": f"{facts.name} box",
        "description": box.origin,
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "roiType": "Box",
        "insideOut": False,
        "center": center.tolist(),
        "orientation": orientation.ravel().tolist(),
        "size": [box.edge_mm] * 3,
        "controlPoints": [point],
        "display": {"color": list(facts.color), "selectedColor": list(facts.color)},
    }


def _description(box: SinusBox, quality: Quality) -> str:
    return json.dumps(
        {
            "origin": box.origin,
            "center_ras_mm": box.center_ras_mm.round(4).tolist(),
            "rotation": box.rotation.round(7).tolist(),
            "quality": quality.to_json(),
        }
    )
