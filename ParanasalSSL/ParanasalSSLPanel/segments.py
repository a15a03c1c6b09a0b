"""Segments that Segment Editor can edit: opacities, cavities, or several levels of the residual."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from vtk.util.numpy_support import vtk_to_numpy

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Part, Side, segment_facts
from ParanasalSSLPanel.scanNodes import nodeOrNew, setAttribute

if TYPE_CHECKING:
    from ParanasalSSLLib.scans.volume import Volume

LEVELS = (0.5, 0.75, 0.95)  # of the calibrated range, see `levelsOf`
WIDEST_BOX_MM = 100  # of one box turned with the head; two boxes together are wider


@dataclass(frozen=True, eq=False)
class Layer:
    """One segment to be: bool (I, J, K) in the grid of a volume node, name, RGB colour 0..1, terms."""

    identifier: str
    name: str
    color: tuple[float, float, float]
    terminology: str
    side: Side
    mask: np.ndarray


def opacityLayers(masks: Mapping[Side, np.ndarray]) -> list[Layer]:
    """One segment a side: what fills it."""
    return _layers(masks, Part.OPACITY)


def cavityLayers(masks: Mapping[Side, np.ndarray]) -> list[Layer]:
    """One segment a side: all inside the bony walls."""
    return _layers(masks, Part.CAVITY)


def _layers(masks: Mapping[Side, np.ndarray], part: Part) -> list[Layer]:
    sides = [side for side in Side if side in masks]
    facts = {side: segment_facts(side, part) for side in sides}
    return [
        Layer(one.identifier, one.name, one.color, one.terminology, side, masks[side])
        for side, one in facts.items()
    ]


def levelsOf(
    residual: np.ndarray, masks: Mapping[Side, np.ndarray], levels: Iterable[float] = LEVELS
) -> list[Layer]:
    """Nested segments inside the opacities, one per side and level.

    The calibrated range of a side goes from the lowest residual of its opacity (0 %) to the
    highest (100 %): a level of 75 % holds its voxels in the upper quarter of that range.

    Args:
        residual: float32 (I, J, K), 0..1.
        masks: per side, bool (I, J, K).
        levels: shares of the range, 0..1.
    """
    layers = []
    for layer in opacityLayers(masks):
        values = residual[layer.mask]
        low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
        for level in levels:
            mask = layer.mask & (residual >= low + level * (high - low))
            identifier = f"{layer.identifier}_{level:.0%}".replace("%", "")
            name, color = f"{layer.name} {level:.0%}", _lighter(layer.color, level)
            layers.append(replace(layer, identifier=identifier, name=name, color=color, mask=mask))
    return layers


def _lighter(color: tuple[float, float, float], level: float) -> tuple[float, float, float]:
    """The side's colour, the paler the higher the level."""
    red, green, blue = (part + 0.7 * level**2 * (1 - part) for part in color)
    return red, green, blue


# ----------------------------------------------------------------------------- into the scene


def showLayers(
    scan: vtkMRMLScalarVolumeNode, role: str, name: str, layers: list[Layer]
) -> vtkMRMLSegmentationNode:
    """Put layers into the scan's segmentation node of that role, in place of what it held."""
    node = nodeOrNew(scan, role, "vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.GetSegmentation().RemoveAllSegments()
    for layer in layers:
        _addSegment(node, scan, layer)
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.0)  # the colours of the residual stay visible inside the outline
    display.SetOpacity2DOutline(1.0)
    return node


def masksOf(node: vtkMRMLSegmentationNode, scan: vtkMRMLScalarVolumeNode) -> dict[Side, np.ndarray]:
    """The opacities now, a user's edits included: per side, bool (I, J, K) in the scan's grid."""
    found = {}
    for layer in opacityLayers(dict.fromkeys(Side, np.zeros(0))):
        if node.GetSegmentation().GetSegment(layer.identifier) is not None:
            array = slicer.util.arrayFromSegmentBinaryLabelmap(node, layer.identifier, scan)
            if array is None:  # an empty segment
                array = np.zeros_like(slicer.util.arrayFromVolume(scan), bool)
            found[layer.side] = array.transpose(2, 1, 0) > 0
    return found


def fingerprintOf(node: vtkMRMLSegmentationNode) -> str:
    """Changes with every voxel of a segment and with every segment, but not by saving and loading."""
    content = hashlib.sha256()
    for identifier in node.GetSegmentation().GetSegmentIDs():
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(identifier, image)
        scalars = image.GetPointData().GetScalars()
        voxels = vtk_to_numpy(scalars) if scalars is not None else np.zeros(0)
        index = np.argwhere(voxels.reshape(image.GetDimensions()[::-1]))
        # Where a file begins to count does not matter.
        content.update(identifier.encode() + (index - index[:1]).tobytes())
    return content.hexdigest()


def _addSegment(node: vtkMRMLSegmentationNode, scan: vtkMRMLScalarVolumeNode, layer: Layer) -> None:
    identifier = node.GetSegmentation().AddEmptySegment(layer.identifier, layer.name, layer.color)
    segment = node.GetSegmentation().GetSegment(identifier)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetTag(segment.GetTerminologyEntryTagName(), layer.terminology)
    if layer.mask.any():
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
            _labelmap(scan, layer.mask), node, identifier
        )


def _labelmap(scan: vtkMRMLScalarVolumeNode, mask: np.ndarray) -> slicer.vtkOrientedImageData:
    """The mask in the scan's grid, as large as its voxels; the grid's indices stay."""
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


# ------------------------------------------------------------------------------ from a file


@dataclass(frozen=True, eq=False)
class ResidualFile:
    """A residual map from a file, in the scene.

    node: the map. masks: per side, bool (I, J, K), the opacities.
    calibrated: whether they are those of the segmentation beside the file.
    """

    node: vtkMRMLScalarVolumeNode
    masks: dict[Side, np.ndarray]
    calibrated: bool


def loadResidualFile(path: Path, threshold: float) -> ResidualFile:
    """Load a residual map that `paranasal predict` or `paranasal residual-files` wrote.

    The opacity is that of the segmentation beside it; without one, residuals of `threshold` or more,
    on the side of the head's middle where they lie.

    Raises:
        ParanasalError: the file cannot be read, or holds no residuals (0..1).
    """
    from ParanasalSSLLib.results.maps import read_residual_map

    # Not by Slicer's reader, which may turn the order of the slices around: the opacity is in the
    # order of the file.
    residual = read_residual_map(path)
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    node.UnRegister(None)  # Python holds it
    # Before it comes into the scene, where it could pass for a scan.
    setAttribute(node, "role", "residual")
    slicer.mrmlScene.AddNode(node)
    node.SetName(path.name.removesuffix(".gz").removesuffix(".nii"))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(residual.affine))
    slicer.util.updateVolumeFromArray(node, residual.data.transpose(2, 1, 0).copy())
    beside = _marksBeside(path, residual.shape)
    return ResidualFile(node, beside or _marksByPlace(residual, threshold), beside is not None)


def _marksBeside(path: Path, shape: tuple[int, ...]) -> dict[Side, np.ndarray] | None:
    from ParanasalSSLLib.errors import UnreadableScan
    from ParanasalSSLLib.results.maps import read_labels

    files = ScanFiles(path.parent, path.name.partition("_desc-")[0])
    if path != files.residual_map:
        return None
    try:
        labels, _cavities = read_labels(files, shape)
    except UnreadableScan:
        return None
    return {side: labels == label for side, label in SEGMENT_LABELS.items()}


def _marksByPlace(residual: Volume, threshold: float) -> dict[Side, np.ndarray]:
    """The two boxes lie symmetrically about the middle of all residuals, along the patient's R axis.

    A single box lies on its side of the image's middle.
    """
    inside = np.argwhere(residual.data > 0)
    toRight = inside @ residual.affine[0, :3] + residual.affine[0, 3]
    middle = (toRight.min() + toRight.max()) / 2
    if np.ptp(toRight) < WIDEST_BOX_MM:
        middle = residual.center_ras_mm[0]
    filled = residual.data[tuple(inside.T)] >= threshold
    masks = {side: np.zeros(residual.shape, bool) for side in Side}
    for side, own in ((Side.LEFT, toRight < middle), (Side.RIGHT, toRight >= middle)):
        masks[side][tuple(inside[filled & own].T)] = True
    return masks
