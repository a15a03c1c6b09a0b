"""Where the slice views look."""

from __future__ import annotations

from typing import Any

import numpy as np


def centres_of_views(slicer: Any) -> np.ndarray:
    """(3, 3) where the slice views look, world RAS mm."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return np.array([slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3] for node in nodes])
