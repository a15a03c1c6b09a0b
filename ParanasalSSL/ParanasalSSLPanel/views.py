"""Where the slice views look: at a point, at a box, at the largest residual of a side."""

from __future__ import annotations

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSliceNode

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel.boxes import boxNode
from ParanasalSSLPanel.results import peaksOf


def jumpTo(pointRasMm: np.ndarray) -> None:
    """Centre all slice views on a point in world coordinates."""
    vtkMRMLSliceNode.JumpAllSlices(
        slicer.mrmlScene, *(float(c) for c in pointRasMm), vtkMRMLSliceNode.CenteredJumpSlice
    )


def jumpToBoxes(scan: vtkMRMLScalarVolumeNode) -> None:
    """Centre the slice views between the boxes, so that both are seen."""
    nodes = [node for side in Side if (node := boxNode(scan, side)) is not None]
    if nodes:
        centers = [slicer.util.arrayFromVTKMatrix(n.GetObjectToWorldMatrix())[:3, 3] for n in nodes]
        jumpTo(np.mean(centers, axis=0))


def showSinusLayout() -> None:
    """Axial, coronal and sagittal slices, and the boxes in 3D."""
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


class FindingTour:
    """Goes from one side's finding to the next, and around."""

    def __init__(self) -> None:
        self._last: Side | None = None

    def go(self, scan: vtkMRMLScalarVolumeNode, step: int) -> Side | None:
        """Jump to the next (`step` 1) or previous (-1) finding; its side, or None if there is none."""
        found = peaksOf(scan)
        sides = list(found)
        if not sides:
            return None
        if self._last in sides:
            side = sides[(sides.index(self._last) + step) % len(sides)]
        else:
            side = sides[0 if step > 0 else -1]
        self._last = side
        jumpTo(found[side])
        return side
