"""Where the views look, and how near: at both sinuses, at one finding, at the sides compared."""

from __future__ import annotations

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSliceCompositeNode, vtkMRMLSliceNode

from ParanasalSSLLib.sinuses import SINUSES, Side
from ParanasalSSLPanel.boxes import boxNode

SINUSES_MM, SINUS_MM = 140.0, 80.0  # what the shorter side of a slice view shows
SIDE_BY_SIDE, FOLLOW_UP = 5150, 5151  # the layouts' numbers in Slicer; its own are below 1000
# Of two scans of one patient: views of the later one, and of the earlier one beside them.
LATER = {"Coronal": "ParanasalLaterCoronal", "Axial": "ParanasalLaterAxial"}
EARLIER = {"Coronal": "ParanasalEarlierCoronal", "Axial": "ParanasalEarlierAxial"}
COMPARED = {Side.RIGHT: "ParanasalRight", Side.LEFT: "ParanasalLeft"}  # as a radiologist sees them


def lookAt(pointRasMm: np.ndarray, side: Side | None = None) -> None:
    """Centre the slice views on a point in world coordinates, as near as the sinuses fit.

    side: of the point; the view of the other side then goes to the same coronal slice only.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetLayoutName() in EARLIER.values():  # they follow the later scan's
            continue
        own = next((s for s, name in COMPARED.items() if node.GetLayoutName() == name), None)
        if own is None or own is side:
            _centre(node, pointRasMm, SINUSES_MM if own is None else SINUS_MM)
        else:
            offset = node.GetSliceToRAS()
            at = np.array([offset.GetElement(row, 3) for row in range(3)])
            at[1] = pointRasMm[1]
            _centre(node, at, SINUS_MM)


def lookAtBoxes(scan: vtkMRMLScalarVolumeNode) -> None:
    """Centre the slice views between the boxes, so that both are seen; of one side, on its own."""
    centers = boxCenters(scan)
    if centers:
        lookAt(np.mean(list(centers.values()), axis=0))
    for side, name in COMPARED.items():
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if node is not None and side in centers:
            _centre(node, centers[side], SINUS_MM)


def boxCenters(scan: vtkMRMLScalarVolumeNode) -> dict[Side, np.ndarray]:
    """(3,) world RAS mm of each box of a scan."""
    nodes = {side: node for side in Side if (node := boxNode(scan, side)) is not None}
    return {
        side: slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())[:3, 3]
        for side, node in nodes.items()
    }


def setLayers(
    background: vtkMRMLScalarVolumeNode, foreground: vtkMRMLScalarVolumeNode | None
) -> None:
    """Show a volume, with one over it or none, in all slice views but those of an earlier scan."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if composite.GetLayoutName() not in EARLIER.values():
            setLayersOf(composite, background, foreground)


def setLayersOf(
    composite: vtkMRMLSliceCompositeNode,
    background: vtkMRMLScalarVolumeNode,
    foreground: vtkMRMLScalarVolumeNode | None,
) -> None:
    """As `setLayers`, in one view."""
    composite.SetBackgroundVolumeID(background.GetID())
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)


def _centre(node: vtkMRMLSliceNode, pointRasMm: np.ndarray, edgeMm: float) -> None:
    node.JumpSliceByCentering(*(float(c) for c in pointRasMm))
    zoom(node, edgeMm)


def zoom(node: vtkMRMLSliceNode, edgeMm: float) -> None:
    """Let the shorter side of a slice view show so much, mm."""
    width, height, depth = node.GetFieldOfView()
    shorter = min(width, height)
    if shorter > 0:
        node.SetFieldOfView(width / shorter * edgeMm, height / shorter * edgeMm, depth)


# ------------------------------------------------------------------------------------------ layouts


def showFourUp() -> None:
    """Axial, coronal and sagittal slices, and the boxes in 3D."""
    _arrange(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


def showSideBySide() -> None:
    """The right and the left sinus in a coronal view each, an axial slice and 3D below them."""
    _arrangeOwn(SIDE_BY_SIDE, _description())
    for name in COMPARED.values():
        _showAsElsewhere(name)


def showFollowUp() -> None:
    """The earlier scan on the left, the later one on the right, coronal over axial."""
    rows = [
        [
            _view(names[plane], plane, letter, color)
            for names, letter, color in ((EARLIER, "1", "#8c8c8c"), (LATER, "2", "#F34A33"))
        ]
        for plane in LATER
    ]
    _arrangeOwn(FOLLOW_UP, _rows(*("".join(row) for row in rows)))


def _arrangeOwn(number: int, description: str) -> None:
    layout = _layoutNode()
    if layout is not None and not layout.IsLayoutDescription(number):
        layout.AddLayoutDescription(number, description)
    _arrange(number)


def _layoutNode() -> slicer.vtkMRMLLayoutNode | None:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _arrange(layout: int) -> None:
    node = _layoutNode()
    if node is not None:
        node.SetViewArrangement(layout)


def _showAsElsewhere(name: str) -> None:
    """A view that the layout has just made shows what the axial one shows."""
    new = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
    red = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode")
    if new is not None and red is not None:
        new.SetBackgroundVolumeID(red.GetBackgroundVolumeID())
        new.SetForegroundVolumeID(red.GetForegroundVolumeID())
        new.SetForegroundOpacity(red.GetForegroundOpacity())


def _description() -> str:
    coronal = "".join(
        _view(name, "Coronal", side.value[0].upper(), _hex(side)) for side, name in COMPARED.items()
    )
    axial = _view("Red", "Axial", "R", "#F34A33")
    solid = '<item><view class="vtkMRMLViewNode" singletontag="1"/></item>'
    return _rows(coronal, axial + solid)


def _rows(*rows: str) -> str:
    """Views beside one another, in rows below one another."""
    beside = (f'<item><layout type="horizontal">{row}</layout></item>' for row in rows)
    return f'<layout type="vertical">{"".join(beside)}</layout>'


def _view(name: str, orientation: str, label: str, color: str) -> str:
    facts = {"orientation": orientation, "viewlabel": label, "viewcolor": color}
    properties = (
        f'<property name="{key}" action="default">{value}</property>'
        for key, value in facts.items()
    )
    view = f'<view class="vtkMRMLSliceNode" singletontag="{name}">{"".join(properties)}</view>'
    return f"<item>{view}</item>"


def _hex(side: Side) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in SINUSES[side].color)
