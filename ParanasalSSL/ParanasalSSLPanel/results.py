"""What a run found, as nodes: residual map over the slices, segments, tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import (
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSliceCompositeNode,
)
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel.kept import keepResult
from ParanasalSSLPanel.places import forgetPlaces, keepPlaces
from ParanasalSSLPanel.scanNodes import (
    attributeOf,
    nodeOf,
    nodeOrNew,
    releaseNode,
    removeNode,
    setAttribute,
)
from ParanasalSSLPanel.segments import (
    ResidualFile,
    cavityLayers,
    fingerprintOf,
    levelsOf,
    masksOf,
    opacityLayers,
    showLayers,
)
from ParanasalSSLPanel.tables import showTables
from ParanasalSSLPanel.views import setLayers

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLPanel.compute import Findings

# Perceptually even, as in the HTML report; the second is for scenes without the application's files.
COLORS = ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron")
WINDOW = (0.0, 0.5)  # residuals from the darkest to the brightest colour, as in the HTML report
LARGEST_RESIDUAL = 1.0
LEAST_SHOWN = 1e-3  # around the boxes the residual is 0, which is not to darken the scan
LOWEST, LEAST_LEVEL = 0.05, 0.2  # quantile of the residual of opacities; what is never shown
SEEN_THROUGH = 0.25
CLOSED_SURFACE = "Closed surface"  # as vtkSegmentationConverter calls it
FAINT = 0.3  # of results that are outdated
MOVED = 1e-3  # a box whose matrix differs by more (mm, or rotation matrix entries) was moved
AS_FOUND = "opacity as found"  # fingerprint of segments as they were made, on their node
ROLES = ("residual", "segmentation", "levels", "table", "findings")


def showFindings(
    scan: vtkMRMLScalarVolumeNode,
    boxes: Mapping[Side, SinusBox],
    findings: Findings,
) -> None:
    """Put the findings beside the scan, in place of those of an earlier run, whose levels go."""
    from ParanasalSSLLib.results.reading import judged_probabilities

    _showResidual(scan, _shownResidual(findings))
    _showSegments(scan, findings)
    _keepEdited(scan, "levels")
    removeNode(scan, "levels")
    showTables(scan, findings)
    setAttribute(scan, "model", findings.model)
    setAttribute(scan, "notices", json.dumps([_ruleOf(findings), *findings.notices]))
    setAttribute(scan, "scored in", _matrices(boxes))
    setAttribute(scan, "level", json.dumps(_level(findings)))
    setAttribute(scan, "probabilities", json.dumps(judged_probabilities(findings.sinuses)))
    keepResult(scan, findings.files)
    keepPlaces(scan, boxes, findings)


def removeFindings(scan: vtkMRMLScalarVolumeNode) -> None:
    """Take a scan's findings out of the scene, so that none stand beside boxes they don't fit."""
    for role in ROLES:
        _keepEdited(scan, role)
        removeNode(scan, role)
    for key in ("model", "notices", "scored in", "level", "probabilities", "reading"):
        setAttribute(scan, key, None)
    forgetPlaces(scan)
    keepResult(scan, None)


# ------------------------------------------------------------------------------ the residual map


def residualOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLScalarVolumeNode | None:
    """The residual map of a scan, if it has been scored."""
    return nodeOf(scan, "residual")


def levelOf(scan: vtkMRMLScalarVolumeNode) -> float | None:
    """The residual from which the overlay of a scan shows what fills a sinus; None: not scored."""
    return json.loads(attributeOf(scan, "level") or "null")


def _level(findings: Findings) -> float:
    """Nearly the lowest residual of the opacities; where there are none, the highest of all."""
    opaque = np.logical_or.reduce(list(findings.masks.values()))
    if opaque.any():
        return max(float(np.quantile(findings.residual[opaque], LOWEST)), LEAST_LEVEL)
    return LEAST_LEVEL if findings.cavities else LARGEST_RESIDUAL


def _shownResidual(findings: Findings) -> np.ndarray:
    """Only inside the bony walls, where they are known: fat and bone are no findings."""
    if not findings.cavities:
        return findings.residual
    inside = np.logical_or.reduce([*findings.cavities.values(), *findings.masks.values()])
    shown = np.zeros_like(findings.residual)  # few voxels are inside: faster than choosing for each
    shown[inside] = findings.residual[inside]
    return shown


def _showResidual(scan: vtkMRMLScalarVolumeNode, residual: np.ndarray) -> None:
    """residual: float32 (I, J, K) in the scan's grid, 0..1."""
    name = _("{scan} sinus residual").format(scan=scan.GetName())
    node = nodeOrNew(scan, "residual", "vtkMRMLScalarVolumeNode", name)
    _styleResidual(node)  # before it has voxels, of which Slicer would choose a window by itself
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(residual.transpose(2, 1, 0)))
    node.CopyOrientation(scan)
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())


def _styleResidual(node: vtkMRMLScalarVolumeNode) -> None:
    setAttribute(node, "role", "residual")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    present = (name for name in COLORS if slicer.mrmlScene.GetNodeByID(name) is not None)
    display.SetAndObserveColorNodeID(next(present, None))
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*WINDOW)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText(_("Residual"))
    legend.SetNumberOfLabels(3)
    legend.SetLabelFormat("%.2f")
    legend.SetSize(0.08, 0.3)  # of the view
    legend.SetVisibility(False)


def showOverlay(scan: vtkMRMLScalarVolumeNode, threshold: float, opacity: float) -> None:
    """Lay the residual map over the scan in the slice views, or show the scan alone.

    Args:
        scan: goes to the background.
        threshold: residuals below it are not painted, 0..1.
        opacity: of what is painted, 0..1.
    """
    residual = residualOf(scan)
    setLayers(scan, residual)
    styleOverlay(scan, threshold, opacity)
    _showLegend(scan, True)


def _showLegend(scan: vtkMRMLScalarVolumeNode, shown: bool) -> None:
    residual = residualOf(scan)
    logic = slicer.vtkSlicerColorLogic
    legend = logic.GetColorLegendDisplayNode(residual) if residual is not None else None
    if legend is not None:  # scenes of earlier versions have none
        legend.SetVisibility(shown)


def styleOverlay(scan: vtkMRMLScalarVolumeNode, threshold: float, opacity: float) -> None:
    """How the residual map looks where it is shown; what the slice views show stays."""
    residual = residualOf(scan)
    if residual is None:
        return
    display = residual.GetDisplayNode()
    display.SetThreshold(max(threshold, LEAST_SHOWN), LARGEST_RESIDUAL)
    display.SetApplyThreshold(True)
    for composite in _viewsOf(residual):
        composite.SetForegroundOpacity(opacity)


def fade(scan: vtkMRMLScalarVolumeNode, faded: bool) -> None:
    """Draw the outlines of results that are no longer those of the boxes faintly, or as they were."""
    for role in ("segmentation", "levels"):
        node = nodeOf(scan, role)
        if node is not None:
            node.GetDisplayNode().SetOpacity(FAINT if faded else 1.0)


def isOverlayShown(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a slice view shows the residual map of a scan."""
    residual = residualOf(scan)
    return residual is not None and bool(_viewsOf(residual))


def hideOverlay(scan: vtkMRMLScalarVolumeNode) -> None:
    """Take the residual map of a scan off the slice views that show it."""
    residual = residualOf(scan)
    for composite in _viewsOf(residual) if residual is not None else []:
        composite.SetForegroundVolumeID(None)
    _showLegend(scan, False)


def _viewsOf(residual: vtkMRMLScalarVolumeNode) -> list[vtkMRMLSliceCompositeNode]:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [c for c in composites if c.GetForegroundVolumeID() == residual.GetID()]


# --------------------------------------------------------------------------------- the opacities


def segmentationOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode | None:
    """The segmentation of a scan, if it has been scored."""
    return nodeOf(scan, "segmentation")


def _showSegments(scan: vtkMRMLScalarVolumeNode, findings: Findings) -> None:
    _keepEdited(scan, "segmentation")
    name = _("{scan} sinus opacity").format(scan=scan.GetName())
    layers = opacityLayers(findings.masks) + cavityLayers(findings.cavities)
    node = showLayers(scan, "segmentation", name, layers)
    setAttribute(node, AS_FOUND, fingerprintOf(node))


def show3D(scan: vtkMRMLScalarVolumeNode, shown: bool) -> None:
    """Draw the segments of a scan as closed surfaces, the cavities seen through; or no longer."""
    node = segmentationOf(scan)
    if node is None:
        return
    if not shown:
        node.RemoveClosedSurfaceRepresentation()
        return
    node.CreateClosedSurfaceRepresentation()
    for layer in cavityLayers(dict.fromkeys(Side, np.zeros(0))):
        if node.GetSegmentation().GetSegment(layer.identifier) is not None:
            node.GetDisplayNode().SetSegmentOpacity3D(layer.identifier, SEEN_THROUGH)


def isShown3D(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether the segments of a scan are drawn as closed surfaces."""
    node = segmentationOf(scan)
    return node is not None and node.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE)


def isEdited(scan: vtkMRMLScalarVolumeNode, role: str = "segmentation") -> bool:
    """Whether a user has edited the segments of a scan, or its levels."""
    node = nodeOf(scan, role)
    found = attributeOf(node, AS_FOUND) if node is not None else None
    return found is not None and found != fingerprintOf(node)


def _keepEdited(scan: vtkMRMLScalarVolumeNode, role: str) -> None:
    """A segmentation that a user has edited stays in the scene, as one of the user's own."""
    node = nodeOf(scan, role)
    if node is not None and isEdited(scan, role):
        node.SetName(_("{name} (edited)").format(name=node.GetName()))
        releaseNode(scan, role)


def showResidualFile(file: ResidualFile) -> None:
    """A residual map from a file, coloured, with its opacity as segments; the levels stay hidden."""
    node = file.node
    _styleResidual(node)
    name = _("{scan}, opacity").format(scan=node.GetName())
    showLayers(node, "segmentation", name, opacityLayers(file.masks))
    residual = slicer.util.arrayFromVolume(node).transpose(2, 1, 0)
    name = _("{scan}, levels").format(scan=node.GetName())
    levels = showLayers(node, "levels", name, levelsOf(residual, file.masks))
    levels.SetDisplayVisibility(False)
    slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=0.6)


def showLevels(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode:
    """Levels of the residual inside the opacities (a user's edits included), as segments of their own.

    Raises `UnsupportedScan` when the scan has not been scored.
    """
    residual, opacity = residualOf(scan), segmentationOf(scan)
    if residual is None or opacity is None:
        raise UnsupportedScan(_("There is no residual yet. Press Run first."))
    layers = levelsOf(
        slicer.util.arrayFromVolume(residual).transpose(2, 1, 0), masksOf(opacity, scan)
    )
    _keepEdited(scan, "levels")
    name = _("{scan} sinus residual, levels").format(scan=scan.GetName())
    node = showLayers(scan, "levels", name, layers)
    setAttribute(node, AS_FOUND, fingerprintOf(node))
    return node


def _ruleOf(findings: Findings) -> str:
    thresholds = {sinus.threshold for sinus in findings.sinuses.values()}
    return _(
        "Model {model}: a sinus is called anomalous from a probability of {threshold}."
    ).format(model=findings.model, threshold=" / ".join(f"{value:.2f}" for value in thresholds))


# ------------------------------------------------------------------------- what belongs to numbers


def modelOf(scan: vtkMRMLScalarVolumeNode) -> str | None:
    """Name and version of the model that made the numbers of a scan."""
    return attributeOf(scan, "model")


def probabilitiesOf(scan: vtkMRMLScalarVolumeNode) -> dict[Side, float]:
    """Of each judged side, as shown."""
    content = json.loads(attributeOf(scan, "probabilities") or "{}")
    return {Side(side): float(number) for side, number in content.items()}


def noticesOf(scan: vtkMRMLScalarVolumeNode) -> tuple[str, ...]:
    """The sentences that must stand beside the numbers of a scan; empty if it was not scored."""
    return tuple(json.loads(attributeOf(scan, "notices") or "[]"))


def areOutdated(scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox]) -> bool:
    """Whether a scan's findings belong to other boxes than `boxes`; False if it has none."""
    text = attributeOf(scan, "scored in")
    if text is None:
        return False
    scored, now = json.loads(text), json.loads(_matrices(boxes))
    return scored.keys() != now.keys() or any(
        not np.allclose(scored[side], now[side], rtol=0, atol=MOVED) for side in scored
    )


def _matrices(boxes: Mapping[Side, SinusBox]) -> str:
    return json.dumps({side.value: box.box_to_ras.tolist() for side, box in boxes.items()})
