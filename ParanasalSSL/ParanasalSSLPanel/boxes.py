"""The two boxes as markups ROIs that a user can drag and turn, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.sinuses import SINUSES, Side
from ParanasalSSLPanel.belongings import belonging, note, noted, obtainBelonging
from ParanasalSSLPanel.scans import worldAffine

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes import SinusBox
    from ParanasalSSLLib.quality import Quality

# A box whose matrix differs by less than this (mm, or rotation matrix entries) was not touched.
UNTOUCHED = 1e-3
SCAN_MOVED_MM = 0.5


def boxNode(scan: vtkMRMLScalarVolumeNode, side: Side) -> vtkMRMLMarkupsROINode | None:
    """The ROI of that side, if the scan has boxes."""
    return belonging(scan, f"{side.value} box")


def showBoxes(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], quality: Quality
) -> dict[Side, vtkMRMLMarkupsROINode]:
    """Put (or move) the ROIs of a scan to `boxes`; remember where they were placed, and how well.

    The ROIs lie in world coordinates, whatever transform the scan is under.
    """
    nodes = {side: _showBox(scan, box) for side, box in boxes.items()}
    note(scan, "quality", json.dumps(quality.to_json()))
    note(scan, "placed on", json.dumps(worldAffine(scan).tolist()))
    return nodes


def _showBox(scan: vtkMRMLScalarVolumeNode, box: SinusBox) -> vtkMRMLMarkupsROINode:
    name = _("{sinus} box").format(sinus=_(SINUSES[box.side].name))
    node = obtainBelonging(scan, f"{box.side.value} box", "vtkMRMLMarkupsROINode", name)
    node.SetAndObserveTransformNodeID(None)
    node.SetROIType(node.ROITypeBox)
    node.SetSize(box.edge_mm, box.edge_mm, box.edge_mm)
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(box.box_to_ras))
    note(node, "placed at", json.dumps(box.box_to_ras.tolist()))
    _styleBox(node, box.side)
    return node


def _styleBox(node: vtkMRMLMarkupsROINode, side: Side) -> None:
    """The side's colour; handles to drag and turn, none to resize: the size is the model's."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(SINUSES[side].color)
    display.SetSelectedColor(SINUSES[side].color)
    display.SetFillOpacity(0.1)
    display.SetPropertiesLabelVisibility(True)
    display.SetHandlesInteractive(True)
    display.SetTranslationHandleVisibility(True)
    display.SetRotationHandleVisibility(True)
    display.SetScaleHandleVisibility(False)


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


def boxFromNode(side: Side, node: vtkMRMLMarkupsROINode) -> SinusBox:
    """One ROI, in world coordinates (transforms and hand rotation included)."""
    from ParanasalSSLLib.boxes import EDGE_MM, SinusBox

    if any(abs(length - EDGE_MM) > UNTOUCHED for length in node.GetSize()):
        node.SetSize(EDGE_MM, EDGE_MM, EDGE_MM)
    matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
    placed = json.loads(noted(node, "placed at") or "null")
    untouched = placed is not None and np.allclose(matrix, placed, rtol=0, atol=UNTOUCHED)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return SinusBox(
        side, matrix[:3, 3], axes, EDGE_MM, origin="registration" if untouched else "hand"
    )


def qualityOf(scan: vtkMRMLScalarVolumeNode) -> Quality | None:
    """How well the boxes were placed by registration; None if that is not known."""
    from ParanasalSSLLib.quality import Quality

    text = noted(scan, "quality")
    if text is None:
        return None
    try:
        return Quality.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError):  # saved by a version that recorded other evidence
        return None


def _refuseMovedScan(scan: vtkMRMLScalarVolumeNode) -> None:
    placedOn = noted(scan, "placed on")
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
