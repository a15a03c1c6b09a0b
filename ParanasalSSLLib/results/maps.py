"""Residual, opacity and cavity in the scan's own grid: pasted from the boxes, written, read back.

Where the two boxes overlap, near the midline, a voxel belongs to the sinus whose box centre is
nearer: so one layer holds both sinuses, in the map and in the segmentation. What is opaque lies inside
the cavity in the scan's grid too, since both are interpolated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ParanasalSSLLib.crop import paste
from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.itk import read_nifti_by_itk, to_sitk
from ParanasalSSLLib.scans.volume import Volume, nifti_image
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Part, Side, segment_facts

RESIDUAL_STEP = 1e-4  # the map's int16 voxels count these


@dataclass(frozen=True, eq=False)
class PastedRegion:
    """The part of the scan's grid that holds all boxes, with both sinuses pasted into it.

    offset: (3,) index of the region's first voxel in the scan
    volume: the scan, cut to the region
    residual: float32, 0..1, and 0 outside the boxes
    labels: uint8, 0 or `SEGMENT_LABELS` where a sinus is opaque
    sides: the sides that were scored
    cavities: uint8, 0 or `SEGMENT_LABELS` inside the bony walls; None where the model outlines none
    """

    offset: np.ndarray
    volume: Volume
    residual: np.ndarray
    labels: np.ndarray
    sides: tuple[Side, ...]
    cavities: np.ndarray | None = None

    @property
    def layers(self) -> dict[Part, np.ndarray]:
        """The labels of each part that there is; each may overlap the other."""
        cavity = {} if self.cavities is None else {Part.CAVITY: self.cavities}
        return {Part.OPACITY: self.labels} | cavity

    @property
    def window(self) -> tuple[slice, ...]:
        """The region as slices of the scan's array."""
        ends = zip(self.offset, self.residual.shape, strict=True)
        return tuple(slice(start, start + n) for start, n in ends)

    @classmethod
    def of(cls, result: ScanResult) -> PastedRegion:
        """Residual and opacity of all sides, in the part of the scan that their boxes touch."""
        start, stop = _window_of(result)
        volume = result.volume.cut(start, stop)
        owner = _owners(result, volume)
        residual = np.zeros(volume.shape, np.float32)
        labels = np.zeros(volume.shape, np.uint8)
        measured = [s for s in result.sinuses.values() if s.score.measures is not None]
        cavities = np.zeros(volume.shape, np.uint8) if measured else None
        for side, sinus in result.sinuses.items():
            pasted = paste(sinus.residual, sinus.crop, volume)
            mine = np.isfinite(pasted) & (owner == SEGMENT_LABELS[side])
            residual[mine] = pasted[mine]
            labels[mine & _pasted(sinus.opacity, sinus, volume)] = SEGMENT_LABELS[side]
            if cavities is not None and sinus.score.measures is not None:
                cavity = sinus.score.measures.cavity
                cavities[mine & _pasted(cavity, sinus, volume)] = SEGMENT_LABELS[side]
        return cls(start, volume, residual, labels, tuple(result.sinuses), cavities)


def _pasted(mask: np.ndarray, sinus: SinusResult, volume: Volume) -> np.ndarray:
    """bool of the volume's shape: the mask (64, 64, 64) of a sinus's crop covers at least half."""
    return paste(mask.astype(np.float32), sinus.crop, volume, outside=0.0) >= 0.5


def _window_of(result: ScanResult) -> tuple[np.ndarray, np.ndarray]:
    """First and past-the-last index of the scan's voxels that any crop may reach; at least one voxel.

    A box may have another edge than its crop.
    """
    corners = np.concatenate([s.crop.corners(0.5) for s in result.sinuses.values()])
    start, stop = result.volume.window_around(corners)
    start = np.minimum(start, np.array(result.volume.shape) - 1)
    return start, np.maximum(stop, start + 1)


def _owners(result: ScanResult, volume: Volume) -> np.ndarray:
    """Label of the sinus whose box centre is nearest, for each voxel of `volume`."""
    sides = list(result.sinuses)
    if len(sides) == 1:
        return np.full(volume.shape, SEGMENT_LABELS[sides[0]], np.uint8)
    first, second = (result.sinuses[side].box.center_ras_mm for side in sides)
    # |x - first| < |x - second| is one side of a plane, hence linear in the voxel's index.
    normal = second - first
    offset = (second @ second - first @ first) / 2
    weights = normal @ volume.affine[:3, :3]
    i, j, k = (np.arange(n) * w for n, w in zip(volume.shape, weights, strict=True))
    along = i[:, None, None] + j[None, :, None] + k[None, None, :]
    nearer_first = along < offset - normal @ volume.affine[:3, 3]
    return np.where(nearer_first, *(np.uint8(SEGMENT_LABELS[side]) for side in sides))


def write_residual_map(region: PastedRegion, volume: Volume, path: Path) -> None:
    """NIfTI in the scan's own grid: the residual (0..1) inside the boxes, 0 outside.

    Stored as int16 with a scale factor (steps of `RESIDUAL_STEP`), which every reader applies.
    """
    import nibabel as nib

    stored = np.zeros(volume.shape, np.int16)
    stored[region.window] = np.rint(region.residual / RESIDUAL_STEP)
    image = nifti_image(stored, volume.affine)
    header = image.header
    header.set_slope_inter(RESIDUAL_STEP, 0.0)
    header["cal_max"] = 1.0
    header["descrip"] = b"ParanasalSSL residual 0..1, 0 outside the boxes"
    with write_whole(path) as temporary:
        nib.save(image, temporary)  # nibabel compresses at level 1: fast


def write_segmentation(region: PastedRegion, path: Path) -> None:
    """3D Slicer's segmentation format (.seg.nrrd): a layer for each part, a segment for each sinus.

    Format: Slicer's developer guide, "Segmentation labelmap file format". The image covers the
    boxes only; its own origin puts it in place, and the offset tells Slicer the voxels' indices in
    the scan. Where there are cavities it has two components, the layers of opacity and of cavity.
    """
    layers = [labels.transpose(2, 1, 0) for labels in region.layers.values()]
    voxels = layers[0] if len(layers) == 1 else np.stack(layers, axis=-1)
    image = sitk.GetImageFromArray(voxels, isVector=len(layers) > 1)
    image.CopyInformation(to_sitk(region.volume))
    for key, value in _segmentation_fields(region).items():
        image.SetMetaData(key, value)
    with write_whole(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True, compressionLevel=4)


def _segmentation_fields(region: PastedRegion) -> dict[str, str]:
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|Closed surface|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": " ".join(str(int(n)) for n in region.offset),
    }
    # All segments of a layer share one image, so each has the extent of the whole file.
    extent = " ".join(f"0 {n - 1}" for n in region.labels.shape)
    segments = [(layer, part, s) for layer, part in enumerate(region.layers) for s in region.sides]
    for index, (layer, part, side) in enumerate(segments):
        facts = segment_facts(side, part)
        segment = {
            "ID": facts.identifier,
            "Name": facts.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{component:g}" for component in facts.color),
            "ColorAutoGenerated": "0",
            "LabelValue": str(SEGMENT_LABELS[side]),
            "Layer": str(layer),
            "Extent": extent,
            "Tags": f"TerminologyEntry:{facts.terminology}|",
        }
        fields |= {f"Segment{index}_{key}": value for key, value in segment.items()}
    return fields


def read_residual_map(path: Path) -> Volume:
    """A residual map that `write_residual_map` wrote, 0..1, in the scan's own grid.

    Raises:
        UnreadableScan: it is missing or damaged.
        UnsupportedScan: it is an image, but its values are no residuals.
    """
    volume = read_nifti_by_itk(path)
    if not (volume.data.min() >= 0 and 0 < volume.data.max() <= 1):
        raise UnsupportedScan(f"{path.name} is no residual map: its values are not 0 to 1.")
    return volume


@dataclass(frozen=True, eq=False)
class WrittenMaps:
    """What `write_scan` has written of a scan, in the scan's own grid.

    grid: where its voxels lie, within the precision of the map's file
    residual: float32 (I, J, K), 0..1, and 0 outside the boxes
    labels: uint8 (I, J, K), 0 or `SEGMENT_LABELS` where a sinus is opaque
    cavities: uint8 (I, J, K), likewise inside the bony walls; None where the model outlined none
    """

    grid: Grid
    residual: np.ndarray
    labels: np.ndarray
    cavities: np.ndarray | None


def read_maps(files: ScanFiles) -> WrittenMaps:
    """The maps of a scan's result. Raises `UnreadableScan`: a file is missing or damaged."""
    try:
        map_ = read_nifti_by_itk(files.residual_map)
    except UnreadableScan as error:
        raise _lost(files) from error
    return WrittenMaps(map_, map_.data, *read_labels(files, map_.shape))


def read_labels(files: ScanFiles, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels and cavities of a scan of that shape: as in `WrittenMaps`.

    Raises:
        UnreadableScan: the file is missing or damaged, or of a scan of another shape.
    """
    try:
        segmentation = sitk.ReadImage(str(files.segmentation))
        offset = segmentation.GetMetaData("Segmentation_ReferenceImageExtentOffset").split()
        voxels = sitk.GetArrayViewFromImage(segmentation)
        layers = np.moveaxis(voxels, -1, 0) if voxels.ndim == 4 else voxels[None]
        whole = np.zeros((len(layers), *shape), np.uint8)
        for layer, part in zip(whole, layers, strict=True):
            part = part.transpose(2, 1, 0)
            window = (slice(int(o), int(o) + n) for o, n in zip(offset, part.shape, strict=True))
            layer[tuple(window)] = part
    except (ValueError, RuntimeError) as error:
        raise _lost(files) from error
    return whole[0], whole[1] if len(whole) > 1 else None


def _lost(files: ScanFiles) -> UnreadableScan:
    return UnreadableScan(
        f"The results in {files.folder} are missing or damaged. Score the scan again."
    )
