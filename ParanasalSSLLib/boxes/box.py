"""Boxes around the maxillary sinuses, and their files: our JSON and Slicer's markups ROIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.files import write_json
from ParanasalSSLLib.sinuses import SINUSES, Side

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.quality import Quality

EDGE_MM = 64.0
FORMAT = "paranasal-boxes"
FORMAT_VERSION = 1
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class SinusBox:
    """A cube around one maxillary sinus, turned with the head.

    Attributes:
        side: the patient's side.
        center_ras_mm: (3,) centre, RAS mm.
        rotation: (3, 3) proper rotation; its columns are the box's own axes in RAS: x towards the
            head's right, y anterior, z superior.
        edge_mm: length of an edge.
        origin: "registration", or "hand" once a user has placed or moved it.

    Raises:
        BadBoxes: non-finite numbers, or a rotation that is none (sheared, mirrored).
    """

    side: Side
    center_ras_mm: np.ndarray
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    edge_mm: float = EDGE_MM
    origin: str = "registration"

    def __post_init__(self) -> None:
        center = np.array(self.center_ras_mm, dtype=np.float64)
        rotation = np.array(self.rotation, dtype=np.float64)
        name = f"The {self.side} box"
        if center.shape != (3,) or rotation.shape != (3, 3):
            raise BadBoxes(f"{name} needs a centre of 3 numbers and a 3 x 3 rotation.")
        if not (np.isfinite(center).all() and np.isfinite(rotation).all()):
            raise BadBoxes(f"{name} holds numbers that are not finite.")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
            raise BadBoxes(f"{name} is sheared: its axes must be at right angles and of length 1.")
        if np.linalg.det(rotation) < 0:
            raise BadBoxes(f"{name} is mirrored: its axes must be right-handed.")
        if not 16 <= self.edge_mm <= 128:
            raise BadBoxes(f"{name} has an edge of {self.edge_mm} mm; 64 mm is expected.")
        object.__setattr__(self, "center_ras_mm", center)
        object.__setattr__(self, "rotation", rotation)

    @property
    def box_to_ras(self) -> np.ndarray:
        """(4, 4) rigid transform: box frame (mm, origin in the box's centre) -> RAS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.center_ras_mm
        return matrix

    def corners_ras_mm(self) -> np.ndarray:
        """(8, 3) corners in RAS mm."""
        ends = [-0.5, 0.5]
        signs = np.stack(np.meshgrid(ends, ends, ends, indexing="ij")).reshape(3, -1).T
        return self.center_ras_mm + (signs * self.edge_mm) @ self.rotation.T


def read_boxes(*paths: str | Path) -> dict[Side, SinusBox]:
    """Read one or both boxes from our `.json` or from Slicer's `.mrk.json` (ROIs named by side).

    Slicer saves each ROI in a file of its own, so several files may be given.

    Raises:
        BadBoxes: missing or damaged file, no or two boxes of a side, impossible geometry, or a left
            box on the right of the right one.
    """
    boxes = [box for path in paths for box in _read_file(Path(path))]
    return _checked(boxes, " and ".join(Path(path).name for path in paths))


def _read_file(path: Path) -> list[SinusBox]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadBoxes(f"{path.name} cannot be read as a file of boxes: {error}.") from error
    try:
        if isinstance(content, dict) and "markups" in content:
            return [_from_markup(markup) for markup in content["markups"]]
        return _from_own_format(content)
    except BadBoxes as error:
        raise BadBoxes(f"{path.name}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBoxes(
            f"{path.name} is no file of boxes ({type(error).__name__}: {error}). Write one with "
            "`paranasal predict`, or save the two ROIs from Slicer as .mrk.json."
        ) from error


def write_boxes(
    boxes: Mapping[Side, SinusBox], path: str | Path, quality: Quality | None = None
) -> None:
    """Write boxes to `.mrk.json` (Slicer markups, LPS as Slicer does) or to our `.json` (RAS).

    quality: of the registration that placed those of origin "registration"; only our `.json` has a
        place for it (`quality.read_placed_quality`).
    """
    path = Path(path)
    ordered = [boxes[side] for side in Side if side in boxes]
    if path.name.endswith(".mrk.json"):
        content: dict[str, Any] = {
            "@schema": MARKUPS_SCHEMA,
            "markups": [_to_markup(box) for box in ordered],
        }
    else:
        entries = [
            {
                "side": box.side.value,
                "center_ras_mm": box.center_ras_mm.tolist(),
                "rotation": box.rotation.tolist(),
                "edge_mm": box.edge_mm,
                "origin": box.origin,
            }
            for box in ordered
        ]
        content = {"format": FORMAT, "version": FORMAT_VERSION, "boxes": entries}
        if quality is not None:
            content["quality"] = quality.to_json()
    write_json(path, content)


def _from_own_format(content: Any) -> list[SinusBox]:
    if content.get("format") != FORMAT or content.get("version") != FORMAT_VERSION:
        raise BadBoxes(f'it is not of the format "{FORMAT}", version {FORMAT_VERSION}.')
    return [
        SinusBox(
            Side(entry["side"]),
            np.array(entry["center_ras_mm"], float),
            np.array(entry["rotation"], float),
            float(entry.get("edge_mm", EDGE_MM)),
            str(entry.get("origin", "hand")),
        )
        for entry in content["boxes"]
    ]


def _from_markup(markup: dict[str, Any]) -> SinusBox:
    if markup["type"] != "ROI":
        raise BadBoxes(f"a markup of type {markup['type']} was found where ROIs are expected.")
    system = markup.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS"):
        raise BadBoxes(f'its coordinate system is {system!r}; "LPS" or "RAS" is expected.')
    to_ras = _LPS_TO_RAS if system == "LPS" else np.eye(3)
    size = np.array(markup["size"], float)
    if np.ptp(size) > 0.5:
        raise BadBoxes(f"a box of {size.round(1).tolist()} mm was found; a cube is expected.")
    # Slicer stores the object-to-node matrix row by row; its columns are the ROI's axes.
    unturned = to_ras  # a file without orientation means axes along the RAS ones
    orientation = np.array(markup.get("orientation", unturned), float).reshape(3, 3)
    center = np.diag(to_ras) * np.array(markup["center"], float)
    rotation = to_ras @ orientation
    origin = "registration" if markup.get("description") == "registration" else "hand"
    return SinusBox(_side_of(markup), center, rotation, float(size.mean()), origin)


def _side_of(markup: dict[str, Any]) -> Side:
    labels = [point.get("label", "") for point in markup.get("controlPoints", [])]
    for text in (markup.get("name", ""), *labels):
        words = text.lower()
        sides = [side for side in Side if side.value in words]
        if len(sides) == 1:
            return sides[0]
    raise BadBoxes('an ROI does not say its side: have "left" or "right" in its name.')


def _to_markup(box: SinusBox) -> dict[str, Any]:
    facts = SINUSES[box.side]
    center = _LPS_TO_RAS @ box.center_ras_mm
    orientation = _LPS_TO_RAS @ box.rotation
    point = {"id": "1", "label": facts.name, "position": center.tolist(), "selected": True}
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
        "controlPoints": [point | {"visibility": True, "positionStatus": "defined"}],
        "display": {"color": list(facts.color), "selectedColor": list(facts.color)},
    }


def _checked(boxes: list[SinusBox], name: str) -> dict[Side, SinusBox]:
    if not boxes:
        raise BadBoxes(f"{name} holds no box.")
    result = {box.side: box for box in boxes}
    if len(result) < len(boxes):
        raise BadBoxes(f"{name} holds two boxes of the same side.")
    if len(result) == 2:
        refuse_swapped_sides(result, name)
    return result


def refuse_swapped_sides(boxes: Mapping[Side, SinusBox], name: str) -> None:
    """Raise `BadBoxes` when the left box does not lie on the left of the right one."""
    left, right = boxes[Side.LEFT], boxes[Side.RIGHT]
    to_right = (left.rotation[:, 0] + right.rotation[:, 0]) / 2
    if np.dot(right.center_ras_mm - left.center_ras_mm, to_right) <= 0:
        raise BadBoxes(
            f"{name}: the left box lies on the patient's right of the right box. "
            "Swap their names: left and right are the patient's, not the viewer's."
        )
