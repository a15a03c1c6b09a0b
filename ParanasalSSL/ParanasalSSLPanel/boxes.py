"""The two boxes as markups ROIs that a user can drag and turn, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.sinuses import SINUSES, Side
from ParanasalSSLPanel.scanNodes import attributeOf, nodeOf, nodeOrNew, setAttribute
from ParanasalSSLPanel.scans import worldAffine

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.quality import Quality

# A box whose matrix differs by less than this (mm, or rotation matrix entries) was not touched.
UNTOUCHED = 1e-3
SCAN_MOVED_MM = 0.5


def boxNode(scan: vtkMRMLScalarVolumeNode, side: Side) -> vtkMRMLMarkupsROINode | None:
    """The ROI of that side, if the scan has boxes."""
    return nodeOf(scan, f"{side.value} box")


def showBoxes(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], quality: Quality
) -> dict[Side, vtkMRMLMarkupsROINode]:
    """Put (or move) the ROIs of a scan to `boxes`; remember where they were placed, and how well.

    The ROIs lie in world coordinates, whatever transform the scan is under.
    """
    nodes = {side: _showBox(scan, box) for side, box in boxes.items()}
    setAttribute(scan, "quality", json.dumps(quality.to_json()))
    setAttribute(scan, "placed on", json.dumps(worldAffine(scan).tolist()))
    adjustBoxes(scan, False)
    return nodes


def _showBox(scan: vtkMRMLScalarVolumeNode, box: SinusBox) -> vtkMRMLMarkupsROINode:
    name = boxName(box.side).format(scan=scan.GetName())
    node = nodeOrNew(scan, f"{box.side.value} box", "vtkMRMLMarkupsROINode", name)
    node.SetROIType(node.ROITypeBox)
    node.SetSize(box.edge_mm, box.edge_mm, box.edge_mm)
    _moveBox(node, box.box_to_ras)
    # A box of a worklist that was placed by hand has no place of the registration's.
    placed = json.dumps(box.box_to_ras.tolist()) if box.origin == "registration" else None
    setAttribute(node, "placed at", placed)
    _styleBox(node, box.side)
    return node


def boxName(side: Side) -> str:
    """What the scene calls a box; with a place for the scan's name."""
    return {Side.LEFT: _("{scan}: left sinus box"), Side.RIGHT: _("{scan}: right sinus box")}[side]


def _styleBox(node: vtkMRMLMarkupsROINode, side: Side) -> None:
    """An outline in the side's colour and one letter, so that the image stays to be seen."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(SINUSES[side].color)
    display.SetSelectedColor(SINUSES[side].color)
    display.SetFillVisibility(False)
    display.SetFillOpacity(0.0)  # some views draw a fill of any opacity darker than it is
    display.SetPropertiesLabelVisibility(False)
    node.SetNthControlPointLabel(0, side.value[0].upper())  # in every language, as on films
    display.SetPointLabelsVisibility(True)
    display.SetScaleHandleVisibility(False)  # the size is the model's


# ----------------------------------------------------------------------- corrections by hand


def isMoved(scan: vtkMRMLScalarVolumeNode, side: Side) -> bool | None:
    """Whether a user has moved or turned that box; None if there is none."""
    node = boxNode(scan, side)
    return None if node is None else not _isUntouched(node)


def isPlaced(scan: vtkMRMLScalarVolumeNode, side: Side) -> bool:
    """Whether it is known where the registration put that box."""
    node = boxNode(scan, side)
    return node is not None and attributeOf(node, "placed at") is not None


def resetBox(scan: vtkMRMLScalarVolumeNode, side: Side) -> None:
    """Put one box back to where the registration put it. Raises `BadBoxes` if that is not known."""
    _moveBox(_present(scan, side), _placedAt(scan, side))


def mirrorBox(scan: vtkMRMLScalarVolumeNode, side: Side) -> None:
    """Put the box of `side` to where the other one, as it stands now, lies mirrored.

    The mirror is the head's middle plane as the registration found it: half-way between the two
    boxes that it placed, across their left-right axes.

    Raises `BadBoxes` if there are no two boxes, or none by registration.
    """
    other = Side.LEFT if side is Side.RIGHT else Side.RIGHT
    target, source = _present(scan, side), _present(scan, other)
    left, right = _placedAt(scan, Side.LEFT), _placedAt(scan, Side.RIGHT)
    normal = left[:3, 0] + right[:3, 0]
    normal /= np.linalg.norm(normal)
    mirror = np.eye(4)
    mirror[:3, :3] -= 2 * np.outer(normal, normal)
    mirror[:3, 3] = normal * (normal @ (left[:3, 3] + right[:3, 3]))
    # The first axis is turned around once more, so that it points to the head's right again.
    matrix = mirror @ boxFromNode(other, source).box_to_ras @ np.diag([-1.0, 1.0, 1.0, 1.0])
    _moveBox(target, matrix)


def adjustBoxes(scan: vtkMRMLScalarVolumeNode, adjusted: bool, turned: bool | None = None) -> None:
    """Give the boxes handles, or keep them as they are and out of the way.

    turned: whether there are rings to turn them, too, which lie over the face; None: as before.
    """
    turned = areTurned(scan) if turned is None else turned
    setAttribute(scan, "adjusted", "yes" if adjusted else None)
    setAttribute(scan, "turned", "yes" if turned else None)
    for node in (boxNode(scan, side) for side in Side):
        if node is not None:
            node.SetLocked(not adjusted)
            display = node.GetDisplayNode()
            display.SetHandlesInteractive(adjusted)
            display.SetTranslationHandleVisibility(adjusted)
            display.SetRotationHandleVisibility(adjusted and turned)


def areAdjusted(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a user can drag the boxes."""
    return attributeOf(scan, "adjusted") is not None


def areTurned(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a user who can drag the boxes can turn them, too."""
    return attributeOf(scan, "turned") is not None


def _present(scan: vtkMRMLScalarVolumeNode, side: Side) -> vtkMRMLMarkupsROINode:
    node = boxNode(scan, side)
    if node is None:
        words = {
            Side.LEFT: _("There is no left box. Press Place boxes first."),
            Side.RIGHT: _("There is no right box. Press Place boxes first."),
        }
        raise BadBoxes(words[side])
    return node


def _placedAt(scan: vtkMRMLScalarVolumeNode, side: Side) -> np.ndarray:
    placed = json.loads(attributeOf(_present(scan, side), "placed at") or "null")
    if placed is None:
        raise BadBoxes(_("The boxes were not placed by this module. Press Place boxes first."))
    return np.array(placed)


def _moveBox(node: vtkMRMLMarkupsROINode, boxToWorld: np.ndarray) -> None:
    """To a place in world coordinates, whatever transform the ROI has been put under."""
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(boxToWorld))


# ------------------------------------------------------------------------------ into the library


def boxesOf(scan: vtkMRMLScalarVolumeNode) -> dict[Side, SinusBox]:
    """The boxes as they stand in the scene; empty if none have been placed.

    A box that a user has dragged or turned is of origin "hand". Resized boxes get their size back.

    Raises:
        BadBoxes: the scan was moved after its boxes were placed, or a box was mirrored by a
            transform.
    """
    nodes = {side: boxNode(scan, side) for side in Side}
    present = {side: node for side, node in nodes.items() if node is not None}
    if present:
        _refuseMovedScan(scan)
    return {side: boxFromNode(side, node) for side, node in present.items()}


def areAutomatic(boxes: Mapping[Side, SinusBox]) -> bool:
    """Whether both sides have boxes and nobody has moved one.

    Such a scan is scored as `paranasal predict` does, which moves boxes onto the cavities that the
    networks see; as soon as a reader has moved one, all stay where they are.
    """
    return len(boxes) == len(Side) and all(box.origin != "hand" for box in boxes.values())


def boxOptions(boxes: Mapping[Side, SinusBox], quality: Quality, file: Path) -> list[str]:
    """Options of `paranasal predict` for boxes, which are written to `file` if a reader has moved one.

    Automatic boxes are placed again by the call, as missing ones are: no options.
    """
    from ParanasalSSLLib.boxes.placement import Placement, write_placement

    if not boxes or areAutomatic(boxes):
        return []
    write_placement(Placement(boxes, quality), file)
    return ["--boxes", str(file)]


def boxFromNode(side: Side, node: vtkMRMLMarkupsROINode) -> SinusBox:
    """One ROI, in world coordinates (transforms and hand rotation included)."""
    from ParanasalSSLLib.boxes.box import EDGE_MM, SinusBox

    if any(abs(length - EDGE_MM) > UNTOUCHED for length in node.GetSize()):
        node.SetSize(EDGE_MM, EDGE_MM, EDGE_MM)
    matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    origin = "registration" if _isUntouched(node) else "hand"
    return SinusBox(side, matrix[:3, 3], axes, EDGE_MM, origin)


def _isUntouched(node: vtkMRMLMarkupsROINode) -> bool:
    placed = json.loads(attributeOf(node, "placed at") or "null")
    matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
    return placed is not None and np.allclose(matrix, placed, rtol=0, atol=UNTOUCHED)


def qualityOf(scan: vtkMRMLScalarVolumeNode) -> Quality | None:
    """How well the boxes were placed by registration; None if that is not known."""
    from ParanasalSSLLib.boxes.quality import Quality

    text = attributeOf(scan, "quality")
    if text is None:
        return None
    try:
        return Quality.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError):  # saved by another version
        return None


def _refuseMovedScan(scan: vtkMRMLScalarVolumeNode) -> None:
    placedOn = attributeOf(scan, "placed on")
    if placedOn is None:
        return
    last = np.append(np.array(scan.GetImageData().GetDimensions()) - 1, 1)
    corners = [np.array([0, 0, 0, 1]), last]
    shift = worldAffine(scan) - np.array(json.loads(placedOn))
    if max(np.linalg.norm(shift @ corner) for corner in corners) > SCAN_MOVED_MM:
        raise BadBoxes(
            _("{name} was moved after its boxes were placed. Press Place boxes again.").format(
                name=scan.GetName()
            )
        )
