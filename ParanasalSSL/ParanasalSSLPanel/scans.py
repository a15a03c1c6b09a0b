"""From a volume node to the library's `Volume`, in world coordinates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError, UnsupportedScan
from ParanasalSSLPanel.scanNodes import attributeOf

if TYPE_CHECKING:
    from ParanasalSSLLib.scans.volume import Volume


# Of files that the library reads by themselves, which a single DICOM file is not.
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")


def volumeFromNode(node: vtkMRMLScalarVolumeNode) -> Volume:
    """The scan as the library wants it, checked as the library checks files.

    Raises:
        UnsupportedScan: no voxels, several values a voxel, a frame of a sequence, a warp, or what
            `checked_volume` refuses (CT, label map, ...).
    """
    from ParanasalSSLLib.scans.checks import checked_volume
    from ParanasalSSLLib.scans.volume import Provenance

    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise UnsupportedScan(
            _("{name} holds no image. Load the scan again.").format(name=node.GetName())
        )
    if image.GetNumberOfScalarComponents() != 1:
        raise UnsupportedScan(
            _("{name} has several values a voxel. Choose the grey MR series.").format(
                name=node.GetName()
            )
        )
    if _isFrame(node):
        raise UnsupportedScan(
            _(
                "{name} is one frame of a time or diffusion series (a 4D file). Make a copy of the "
                "frame that you want (module Data: Clone) and choose that."
            ).format(name=node.GetName())
        )
    voxels = slicer.util.arrayFromVolume(node)
    data = np.ascontiguousarray(voxels.transpose(2, 1, 0), dtype=np.float32)  # k, j, i -> i, j, k
    provenance = Provenance("memory", _dicomModality(node))
    return checked_volume(data, worldAffine(node), provenance, Path(node.GetName()))


def troubleWith(node: vtkMRMLScalarVolumeNode) -> str:
    """Why a volume cannot be scored, in words; "" if nothing speaks against it so far."""
    try:
        volumeFromNode(node)
    except ParanasalError as error:
        return str(error)
    return ""


def stampOf(node: vtkMRMLScalarVolumeNode) -> int:
    """Changes whenever the voxels do; 0 for a volume without voxels."""
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return max(image.GetMTime(), scalars.GetMTime()) if scalars is not None else 0


def isScan(node: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume may be a scan: no label map or vectors, and no result of this module."""
    return (
        node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and not node.GetHideFromEditors()
        and attributeOf(node, "role") is None
    )


def scansInScene() -> list[vtkMRMLScalarVolumeNode]:
    """All volumes of the scene that may be scans."""
    return [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if isScan(n)]


def proposedScan() -> vtkMRMLScalarVolumeNode | None:
    """The scan that a slice view shows; else the first one of the scene."""
    found = scansInScene()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = {composite.GetBackgroundVolumeID() for composite in composites}
    return next((n for n in found if n.GetID() in shown), next(iter(found), None))


def fileOf(node: vtkMRMLScalarVolumeNode, folder: Path) -> Path:
    """The file that a volume was loaded from; one without a file of its own is written.

    A series of DICOM files, a changed or moved volume have none: they go to `folder`/scans.

    Raises `ParanasalError`s.
    """
    from ParanasalSSLLib.scans.volume import write_volume

    storage = node.GetStorageNode()
    path = Path(storage.GetFileName() or "") if storage is not None else Path()
    several = storage is not None and storage.GetNumberOfFileNames() > 1
    unchanged = not node.GetModifiedSinceRead() and node.GetParentTransformNode() is None
    if path.name.lower().endswith(SUFFIXES) and path.is_file() and unchanged and not several:
        return path
    volume = volumeFromNode(node)
    content = volume.data.tobytes() + volume.affine.tobytes()
    name = hashlib.sha256(content).hexdigest()[:12]  # the same scan is written once
    target = folder / "scans" / f"loaded-{name}.nii.gz"
    if not target.is_file():
        write_volume(volume, target)
    return target


def _isFrame(node: vtkMRMLScalarVolumeNode) -> bool:
    """Whether the volume shows what a sequence browser puts there, and so changes with time."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return any(browser.IsProxyNode(node.GetID()) for browser in browsers)


def worldAffine(node: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """(4, 4) voxel index (i, j, k, 1) -> RAS mm of the world, parent transforms included."""
    ijkToNode = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijkToNode)
    affine = slicer.util.arrayFromVTKMatrix(ijkToNode)
    transform = node.GetParentTransformNode()
    if transform is None:
        return affine
    if not transform.IsTransformToWorldLinear():
        raise UnsupportedScan(
            _("{name} is warped by a transform. Harden the transform first (module Data).").format(
                name=node.GetName()
            )
        )
    nodeToWorld = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(nodeToWorld)
    return slicer.util.arrayFromVTKMatrix(nodeToWorld) @ affine


def isWhere(node: vtkMRMLScalarVolumeNode, volume: Volume) -> bool:
    """Whether a volume node still has its voxels where they were when `volume` was made of it."""
    from ParanasalSSLLib.geometry import Grid, is_same_place

    image = node.GetImageData()
    if image is None:
        return False
    try:
        return is_same_place(Grid(image.GetDimensions(), worldAffine(node)), volume)
    except ParanasalError:  # warped
        return False


def voxelMl(node: vtkMRMLScalarVolumeNode) -> float:
    """Volume of a voxel, ml."""
    return float(abs(np.linalg.det(worldAffine(node)[:3, :3]))) / 1000


def _dicomModality(node: vtkMRMLScalarVolumeNode) -> str | None:
    """The modality that Slicer's DICOM module noted for the series; None for other files."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    if hierarchy is None:
        return None
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        return None
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return hierarchy.GetItemAttribute(item, name) or None
