"""Two scans of one patient side by side; their views look at the same place of the head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSliceNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import cases, results, views
from ParanasalSSLPanel.boxes import boxNode


class Comparison:
    """Linked views of two scans with results. What they show is drawn in each scan's own views only.

    The heads are matched by their boxes, which lie in the frame of the head: nothing in the scene is
    moved, the earlier scan is cut along the planes of the later one.

    Raises `BadBoxes`: no sinus has a box in both scans.
    """

    def __init__(self, later: vtkMRMLScalarVolumeNode, earlier: vtkMRMLScalarVolumeNode) -> None:
        self.later, self.earlier = later, earlier
        sides = [side for side in Side if boxNode(later, side) and boxNode(earlier, side)]
        if not sides:
            raise BadBoxes(_("No sinus has a box in both scans."))
        self.toEarlier = headFrame(earlier, sides) @ np.linalg.inv(headFrame(later, sides))
        self._observed: list[tuple[Any, int]] = []
        self._following = False

    @property
    def isPresent(self) -> bool:
        """Whether both scans are still in the scene."""
        return all(slicer.mrmlScene.IsNodePresent(scan) for scan in (self.later, self.earlier))

    def show(self, threshold: float, opacity: float) -> None:
        """Arrange the views and link them; threshold, opacity: of both overlays."""
        views.showFollowUp()
        cases.showCase(self.later, self.earlier)
        results.showOverlay(self.later, threshold, opacity)
        for scan, names in ((self.later, views.LATER), (self.earlier, views.EARLIER)):
            _drawOnlyIn(scan, names.values())
            for name in names.values():
                composite = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
                if composite is not None:
                    views.setLayersOf(composite, scan, results.residualOf(scan))
            results.styleOverlay(scan, threshold, opacity)
        for plane in views.LATER:
            self._link(_sliceNode(views.LATER[plane]), _sliceNode(views.EARLIER[plane]))
        views.lookAtBoxes(self.later)

    def close(self) -> None:
        """Unlink the views; the later scan alone stays on screen."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        for scan in (self.later, self.earlier):
            if slicer.mrmlScene.IsNodePresent(scan):
                _drawOnlyIn(scan, ())
        if slicer.mrmlScene.IsNodePresent(self.later):
            cases.showCase(self.later)
        views.showFourUp()

    def _link(self, later: vtkMRMLSliceNode | None, earlier: vtkMRMLSliceNode | None) -> None:
        if later is None or earlier is None:
            return
        there, back = self.toEarlier, np.linalg.inv(self.toEarlier)
        for source, target, matrix in ((later, earlier, there), (earlier, later, back)):

            def follow(*_event: Any, s: Any = source, t: Any = target, m: Any = matrix) -> None:
                self._follow(s, t, m)

            self._observed.append(
                (source, source.AddObserver(vtk.vtkCommand.ModifiedEvent, follow))
            )

    def _follow(
        self, source: vtkMRMLSliceNode, target: vtkMRMLSliceNode, matrix: np.ndarray
    ) -> None:
        """Let the target look where the source looks, as near. matrix: (4, 4) of the worlds."""
        if self._following:
            return
        self._following = True
        try:
            plane = matrix @ slicer.util.arrayFromVTKMatrix(source.GetSliceToRAS())
            target.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(plane))
            target.SetXYZOrigin(source.GetXYZOrigin())
            views.zoom(target, min(source.GetFieldOfView()[:2]))
            target.UpdateMatrices()
        finally:
            self._following = False


def headFrame(scan: vtkMRMLScalarVolumeNode, sides: Iterable[Side]) -> np.ndarray:
    """(4, 4) from the head's axes (mm, origin between the boxes of these sides) to world RAS mm."""
    matrices = [
        slicer.util.arrayFromVTKMatrix(boxNode(scan, side).GetObjectToWorldMatrix())
        for side in sides
    ]
    u, _, vt = np.linalg.svd(np.sum([matrix[:3, :3] for matrix in matrices], axis=0))
    frame = np.eye(4)
    frame[:3, :3] = u @ vt
    frame[:3, 3] = np.mean([matrix[:3, 3] for matrix in matrices], axis=0)
    return frame


def _sliceNode(name: str) -> vtkMRMLSliceNode | None:
    return slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")


def _drawOnlyIn(scan: vtkMRMLScalarVolumeNode, names: Iterable[str]) -> None:
    """Draw boxes and segments of a scan in these slice views only; without names in all views."""
    shown = [node for node in map(_sliceNode, names) if node is not None]
    for node in cases.drawn(scan):
        display = node.GetDisplayNode()
        if display is not None:
            display.RemoveAllViewNodeIDs()
            for view in shown:
                display.AddViewNodeID(view.GetID())
