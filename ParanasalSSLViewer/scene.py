"""What only a room asks of the scene: a scan without results, and where to look at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode

from ParanasalSSLLib.scans.read import read_volume


def openScan(path: Path) -> vtkMRMLScalarVolumeNode:
    """Read a scan by the library, so that its grid is the one in which it is scored."""
    volume = read_volume(path)
    return slicer.util.addVolumeFromArray(
        volume.data.transpose(2, 1, 0).copy(),
        volume.affine,
        path.name.split(".")[0],
        "vtkMRMLScalarVolumeNode",
    )


def lookAtMiddle(scan: vtkMRMLScalarVolumeNode) -> None:
    """Centre the slice views on a scan, all of it in sight."""
    bounds = np.zeros(6)
    scan.GetRASBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*((low + high) / 2).tolist())
        width, height, depth = node.GetFieldOfView()
        scale = float((high - low).max()) / max(min(width, height), 1e-6)
        node.SetFieldOfView(width * scale, height * scale, depth)
