"""What tells the panel that the present scan or its boxes have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk
from slicer import vtkMRMLScalarVolumeNode

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel.boxes import boxNode

Slot = Callable[[Any, Any], None]


class WatchedScan:
    """Observes one scan and its boxes, and no longer those before."""

    def __init__(self, onScan: Slot, onBox: Slot) -> None:
        self._onScan, self._onBox = onScan, onBox
        self._observed: list[tuple[Any, int]] = []

    def watch(self, scan: vtkMRMLScalarVolumeNode | None) -> None:
        """Hear of this scan from now on; None: of nothing."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        # Not by Slicer's `addObserver`, which keeps every node that it has ever seen.
        self._observed = []
        if scan is None:
            return
        watched = [
            (scan, scan.ImageDataModifiedEvent, self._onScan),
            (scan, vtk.vtkCommand.ModifiedEvent, self._onScan),
            (scan, scan.TransformModifiedEvent, self._onScan),
        ]
        boxes = [node for side in Side if (node := boxNode(scan, side)) is not None]
        watched += [(node, node.PointModifiedEvent, self._onBox) for node in boxes]
        for node, event, slot in watched:
            self._observed.append((node, node.AddObserver(event, slot)))
