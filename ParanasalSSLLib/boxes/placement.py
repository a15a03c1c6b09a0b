"""Boxes of a scan with how far they are to be trusted, and their files: ours and Slicer's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ParanasalSSLLib.boxes.box import EDGE_MM, SinusBox, refuse_swapped_sides
from ParanasalSSLLib.boxes.markups import SCHEMA, Remembered, box_from_markup, box_to_markup
from ParanasalSSLLib.boxes.quality import (
    NOT_JUDGED,
    Quality,
    judge_distance,
    judge_place,
    worst_of,
)
from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.files import write_json
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Side

FORMAT = "paranasal-boxes"
FORMAT_VERSION = 1
SLICER_SUFFIX = ".mrk.json"
NOT_REPEATED = Quality(
    "review", ("The registration that placed the boxes could not be repeated on this scan.",)
)

Judged = tuple[SinusBox, Quality | None]  # None: its file does not say


@dataclass(frozen=True, eq=False)
class Placement:
    """The boxes of one scan, of one side or both, and their quality.

    quality: `NOT_JUDGED` until the boxes have been looked at on their scan (`judge_given`)
    """

    boxes: Mapping[Side, SinusBox]
    quality: Quality = NOT_JUDGED

    @property
    def untouched(self) -> dict[Side, SinusBox]:
        """The boxes that lie where a registration put them."""
        return {side: box for side, box in self.boxes.items() if box.origin != "hand"}


def judge_given(grid: Grid, given: Placement, registered: Placement) -> Placement:
    """The given boxes with the quality that they have on this scan; the worst verdict wins.

    Boxes where a registration put them keep the quality that they were given (that of `registered`
    where none is known). Boxes placed by hand are judged by where they lie. Either is "review"
    when it lies far from where the scan's own registration finds the sinus: another patient's, say.

    Args:
        grid: of the scan that the boxes are to be used on.
        given: from a file or a user.
        registered: what `find_boxes` says of that scan. A failed one refuses no boxes placed by hand.
    """
    lost = registered.quality.verdict == "failed"
    qualities = [judge_place(grid, given.boxes)]
    if given.untouched:
        unknown = given.quality == NOT_JUDGED and not lost
        qualities.insert(0, registered.quality if unknown else given.quality)
    if not lost:
        qualities.append(judge_distance(given.boxes, registered.boxes))
    elif given.untouched:
        qualities.append(NOT_REPEATED)
    return Placement(given.boxes, worst_of(qualities))


# --------------------------------------------------------------------------------------- write


def write_placement(placement: Placement, path: str | Path) -> None:
    """Write boxes and quality to `.mrk.json` (Slicer markups, LPS) or to our `.json` (RAS)."""
    path, quality = Path(path), placement.quality
    ordered = [placement.boxes[side] for side in Side if side in placement.boxes]
    content: dict[str, Any]
    if path.name.endswith(SLICER_SUFFIX):
        content = {"@schema": SCHEMA, "markups": [box_to_markup(box, quality) for box in ordered]}
    else:
        entries = [_entry(box) for box in ordered]
        content = {"format": FORMAT, "version": FORMAT_VERSION, "boxes": entries}
        if quality != NOT_JUDGED:
            content["quality"] = quality.to_json()
    write_json(path, content)


def _entry(box: SinusBox) -> dict[str, Any]:
    return {
        "side": box.side.value,
        "center_ras_mm": box.center_ras_mm.tolist(),
        "rotation": box.rotation.tolist(),
        "edge_mm": box.edge_mm,
        "origin": box.origin,
    }


# ---------------------------------------------------------------------------------------- read


def read_placement(*paths: str | Path) -> Placement:
    """Read one or both boxes from our `.json` or from Slicer's `.mrk.json` (ROIs named by side).

    Slicer saves each ROI in a file of its own, so several files may be given; the worst of their
    verdicts counts. Where a `.mrk.json` of a result does not tell its quality, the result's
    `report.json` beside it is asked. A box that was moved since it was written is of origin "hand".

    Raises:
        BadBoxes: missing or damaged file, no or two boxes of a side, impossible geometry, or a left
            box on the right of the right one.
    """
    judged = [one for path in paths for one in _read_file(Path(path))]
    name = " and ".join(Path(path).name for path in paths)
    boxes = _checked([box for box, _ in judged], name)
    known = [quality or NOT_JUDGED for box, quality in judged if quality or box.origin != "hand"]
    return Placement(boxes, worst_of(known) if known else NOT_JUDGED)


def _read_file(path: Path) -> list[Judged]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadBoxes(f"{path.name} cannot be read as a file of boxes: {error}.") from error
    try:
        if isinstance(content, dict) and "markups" in content:
            return [_from_markup(markup, path) for markup in content["markups"]]
        return _from_own_format(content)
    except BadBoxes as error:
        raise BadBoxes(f"{path.name}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBoxes(
            f"{path.name} is no file of boxes ({type(error).__name__}: {error}). Write one with "
            "`paranasal predict`, or save the two ROIs from Slicer as .mrk.json."
        ) from error


def _from_own_format(content: Any) -> list[Judged]:
    if content.get("format") != FORMAT or content.get("version") != FORMAT_VERSION:
        raise BadBoxes(f'it is not of the format "{FORMAT}", version {FORMAT_VERSION}.')
    quality = _quality_in(content)
    return [(_from_entry(entry), quality) for entry in content["boxes"]]


def _from_entry(entry: Any) -> SinusBox:
    return SinusBox(
        Side(entry["side"]),
        np.array(entry["center_ras_mm"], float),
        np.array(entry["rotation"], float),
        float(entry.get("edge_mm", EDGE_MM)),
        str(entry.get("origin", "hand")),
    )


def _quality_in(content: Any) -> Quality | None:
    try:
        return Quality.from_json(content["quality"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _from_markup(markup: dict[str, Any], path: Path) -> Judged:
    box, remembered = box_from_markup(markup)
    remembered = remembered or _in_report_beside(path, box.side)
    return (box, None) if remembered is None else remembered.judged(box)


def _in_report_beside(path: Path, side: Side) -> Remembered | None:
    """What the report of the result says that these boxes belong to."""
    result, boxes, _ = path.name.partition("_desc-boxes.mrk.json")
    if not boxes:
        return None
    try:
        report = json.loads(path.with_name(f"{result}_report.json").read_text(encoding="utf-8"))
        entry = report["sinuses"][side.value]["box"]
        rotation = np.array(entry["axes_ras"], float).T
        box = SinusBox(side, entry["center_ras_mm"], rotation, origin=str(entry["origin"]))
        return Remembered(box, Quality.from_json(report["quality"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadBoxes, RecursionError):
        return None


def _checked(boxes: list[SinusBox], name: str) -> dict[Side, SinusBox]:
    if not boxes:
        raise BadBoxes(f"{name} holds no box.")
    result = {box.side: box for box in boxes}
    if len(result) < len(boxes):
        raise BadBoxes(f"{name} holds two boxes of the same side.")
    if len(result) == 2:
        refuse_swapped_sides(result, name)
    return result
