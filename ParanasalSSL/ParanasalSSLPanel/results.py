"""What a run found, as nodes: residual map over the slices, marked parts as segments, a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from slicer import (
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ParanasalSSLLib.sinuses import SINUSES, Side
from ParanasalSSLPanel.belongings import belonging, note, noted, obtainBelonging, removeBelonging

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes import SinusBox
    from ParanasalSSLLib.quality import Quality
    from ParanasalSSLPanel.compute import Findings

COLORS = "vtkMRMLColorTableNodeIron"
WINDOW = (0.0, 0.5)  # residuals from the darkest to the brightest colour, as in the HTML report
LARGEST_RESIDUAL = 1.0
MOVED = 1e-3  # a box whose matrix differs by more (mm, or rotation matrix entries) was moved
ROLES = ("residual", "segmentation", "table")


def showFindings(
    scan: vtkMRMLScalarVolumeNode,
    boxes: Mapping[Side, SinusBox],
    quality: Quality,
    findings: Findings,
) -> None:
    """Put the findings beside the scan, in place of those of an earlier run."""
    _showResidual(scan, findings.residual)
    _showSegments(scan, findings.masks)
    _showTable(scan, quality, findings)
    note(scan, "notices", json.dumps(findings.notices))
    note(scan, "scored in", _matrices(boxes))


def removeFindings(scan: vtkMRMLScalarVolumeNode) -> None:
    """Take a scan's findings out of the scene, so that none stand beside boxes they don't fit."""
    for role in ROLES:
        removeBelonging(scan, role)
    note(scan, "notices", None)
    note(scan, "scored in", None)


# ------------------------------------------------------------------------------ the residual map


def residualOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLScalarVolumeNode | None:
    """The residual map of a scan, if it has been scored."""
    return belonging(scan, "residual")


def isResidual(node: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume is a result of this module and no scan."""
    return noted(node, "role") == "residual"


def _showResidual(scan: vtkMRMLScalarVolumeNode, residual: np.ndarray) -> None:
    """residual: float32 (I, J, K) in the scan's grid, 0..1."""
    name = _("{scan} sinus residual").format(scan=scan.GetName())
    node = obtainBelonging(scan, "residual", "vtkMRMLScalarVolumeNode", name)
    note(node, "role", "residual")
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(residual.transpose(2, 1, 0)))
    node.CopyOrientation(scan)
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(COLORS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*WINDOW)


def showOverlay(scan: vtkMRMLScalarVolumeNode, threshold: float, opacity: float) -> None:
    """Lay the residual map over the scan in the slice views, or show the scan alone.

    Args:
        scan: goes to the background.
        threshold: residuals below it are not painted, 0..1.
        opacity: of what is painted, 0..1.
    """
    residual = residualOf(scan)
    if residual is None:
        slicer.util.setSliceViewerLayers(background=scan, foreground=None)
        return
    display = residual.GetDisplayNode()
    display.SetThreshold(threshold, LARGEST_RESIDUAL)
    display.SetApplyThreshold(True)
    slicer.util.setSliceViewerLayers(
        background=scan, foreground=residual, foregroundOpacity=opacity
    )


# ------------------------------------------------------------------------------- the marked parts


def segmentationOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode | None:
    """The segmentation of a scan, if it has been scored."""
    return belonging(scan, "segmentation")


def _showSegments(scan: vtkMRMLScalarVolumeNode, masks: Mapping[Side, np.ndarray]) -> None:
    """masks: per side, bool (I, J, K) in the scan's grid."""
    name = _("{scan} sinus residual, marked").format(scan=scan.GetName())
    node = obtainBelonging(scan, "segmentation", "vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.GetSegmentation().RemoveAllSegments()
    for side in Side:
        if side in masks:
            _addSegment(node, scan, side, masks[side])
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.0)  # the colours of the residual stay visible inside the outline
    display.SetOpacity2DOutline(1.0)


def _addSegment(
    node: vtkMRMLSegmentationNode, scan: vtkMRMLScalarVolumeNode, side: Side, mask: np.ndarray
) -> None:
    from ParanasalSSLLib.outputs import terminology_entry

    facts = SINUSES[side]
    identifier = node.GetSegmentation().AddEmptySegment(
        f"{side.value}_maxillary_sinus_residual", facts.residual_name, facts.residual_color
    )
    segment = node.GetSegmentation().GetSegment(identifier)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(side))
    if mask.any():
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
            _labelmap(scan, mask), node, identifier
        )


def _labelmap(scan: vtkMRMLScalarVolumeNode, mask: np.ndarray) -> slicer.vtkOrientedImageData:
    """The mask in the scan's grid, as large as what is marked; the grid's indices stay."""
    inhabited = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    ends = [(int(indices[0]), int(indices[-1])) for indices in inhabited]
    part = mask[tuple(slice(first, last + 1) for first, last in ends)]
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(end for pair in ends for end in pair))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[:] = part.ravel(order="F")
    ijkToRas = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(ijkToRas)
    image.SetGeometryFromImageToWorldMatrix(ijkToRas)
    return image


# -------------------------------------------------------------------------------------- the table


def tableOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLTableNode | None:
    """The table of a scan, if it has been scored."""
    return belonging(scan, "table")


def _showTable(scan: vtkMRMLScalarVolumeNode, quality: Quality, findings: Findings) -> None:
    name = _("{scan} sinus scores").format(scan=scan.GetName())
    node = obtainBelonging(scan, "table", "vtkMRMLTableNode", name)
    scored = [(side, findings.sinuses[side]) for side in Side if side in findings.sinuses]
    words = {True: _("anomaly"), False: _("clear")}
    node.RemoveAllColumns()
    _addColumn(node, _("Side"), [side.value for side, _sinus in scored])
    _addColumn(node, _("Probability"), [round(sinus.probability, 3) for _side, sinus in scored])
    _addColumn(node, _("Decision"), [words[sinus.anomalous] for _side, sinus in scored])
    _addColumn(node, _("Anomaly (ml)"), [round(sinus.anomalyMl, 2) for _side, sinus in scored])
    _addColumn(node, _("Box quality"), [quality.verdict] * len(scored))
    node.SetUseColumnTitleAsColumnHeader(True)


def _addColumn(node: vtkMRMLTableNode, name: str, values: list[str] | list[float]) -> None:
    isText = any(isinstance(value, str) for value in values)
    column = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    node.AddColumn(column)
    # Written to a file with the table, so that a reloaded scene has numbers as numbers.
    node.SetColumnType(name, vtk.VTK_STRING if isText else vtk.VTK_DOUBLE)


# ------------------------------------------------------------------------- what belongs to numbers


def noticesOf(scan: vtkMRMLScalarVolumeNode) -> tuple[str, ...]:
    """The sentences that must stand beside the numbers of a scan; empty if it was not scored."""
    return tuple(json.loads(noted(scan, "notices") or "[]"))


def areOutdated(scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox]) -> bool:
    """Whether a scan's findings belong to other boxes than `boxes`; False if it has none."""
    text = noted(scan, "scored in")
    if text is None:
        return False
    scored, now = json.loads(text), json.loads(_matrices(boxes))
    return scored.keys() != now.keys() or any(
        not np.allclose(scored[side], now[side], rtol=0, atol=MOVED) for side in scored
    )


def _matrices(boxes: Mapping[Side, SinusBox]) -> str:
    return json.dumps({side.value: box.box_to_ras.tolist() for side, box in boxes.items()})
