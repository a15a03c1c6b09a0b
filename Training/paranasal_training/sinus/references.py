"""Reference sinuses: clear sinuses of real heads with the outline of their cavity, as acquired.

A reference keeps the scan's own voxels around the sinus, so that lesions can be painted into them
before anything is resampled. Which sides are taken, and why not, stands in `references.csv`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

from paranasal_training.sinus.outline import PLAUSIBLE_ML, Limits, air_and_tissue, outline_cavity
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import CropConfig, crop_grid, cut_crop
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import apply_affine
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

TABLE = Path(__file__).with_name("references.csv")
BLOCK = 96  # voxels of 1 mm, in which cavities are outlined and lesions are shaped
REACH_MM = 66.0  # from the centre to the faces of the kept part of the scan
STEPS = 1000  # integer steps from 0 to 1 of the crop's scale in `native`
LOWEST, HIGHEST = -200, 2000  # of `native`
# How far the wall lies outside the outline, mm. On FLAIR the outline runs along the inside of the
# bright mucosa, on T1 along the outside of the dark bone: with these the volumes of eleven heads
# scanned both ways agree.
WALL_MM = {"flair": 0.4, "t1": -0.4}


@dataclass(frozen=True, eq=False)
class Reference:
    """One side of one scan, as a left one.

    Attributes:
        scan: file, relative to the data's folder.
        group: the person; scans of one person share it.
        side: the patient's side.
        modality: for tables.
        clear: may be painted and learnt from; else it only stands beside the other side.
        native: int16 (I, J, K), scan intensities on the crop's scale times `STEPS`.
        box_to_native: (4, 4), mm from the cavity's centre (lateral to medial, posterior to
            anterior, inferior to superior) -> index of `native`.
        image_bounds: (2, 3) first and last index of the scan's image in `native`, may lie beyond it.
        slices: per axis (I,), (J,), (K,): slices of equal number are copies of one as acquired.
        distance: float32 (96, 96, 96), 1 mm, mm to the cavity's wall, positive inside.
        air, tissue: levels on the crop's scale.
        spacing_mm: of the voxels as acquired.
    """

    scan: str
    group: str
    side: Side
    modality: str
    clear: bool
    native: np.ndarray
    box_to_native: np.ndarray
    image_bounds: np.ndarray
    slices: tuple[np.ndarray, np.ndarray, np.ndarray]
    distance: np.ndarray
    air: float
    tissue: float
    spacing_mm: tuple[float, float, float]

    @cached_property
    def native_to_box(self) -> np.ndarray:
        """(4, 4), the way back of `box_to_native`."""
        return np.linalg.inv(self.box_to_native)

    @property
    def name(self) -> str:
        """Names scan and side."""
        return f"{Path(self.scan).name.split('.')[0]}:{self.side}"

    @property
    def cavity_ml(self) -> float:
        """Volume of the cavity's visible part."""
        return float((self.distance > 0).sum() / 1000)


@dataclass(frozen=True)
class ReferenceRow:
    """A line of `references.csv`."""

    scan: str
    modality: str
    group: str
    side: Side
    use: bool
    limits: Limits


def read_table(path: Path = TABLE) -> list[ReferenceRow]:
    """The sides that were looked at."""
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            names = Limits.__dataclass_fields__
            limits = Limits(**{k: float(line[k]) for k in names if line[k]})
            row = ReferenceRow(
                line["scan"], line["modality"], line["group"], Side(line["side"]),
                line["use"] == "yes", limits,
            )  # fmt: skip
            rows.append(row)
    return rows


def build_references(data: Path, folder: Path, table: Path = TABLE) -> list[Path]:
    """Find, outline and write every side of the table that is not yet in `folder`.

    Args:
        data: folder that the table's scans are relative to.
        folder: receives one `.npz` per side.
        table: which sides.

    Returns:
        The files of all references.
    """
    rows = read_table(table)
    written = []
    for scan in dict.fromkeys(row.scan for row in rows):
        of_scan = [row for row in rows if row.scan == scan]
        paths = [folder / f"{Path(scan).name.split('.')[0]}_{row.side}.npz" for row in of_scan]
        if not all(path.exists() for path in paths):
            volume = read_volume(data / scan)
            boxes = find_boxes(volume).boxes
            for row, path in zip(of_scan, paths, strict=True):
                save_reference(make_reference(volume, boxes[row.side], row), path)
        written += paths
    return written


def make_reference(
    volume: Volume, box: SinusBox, row: ReferenceRow, region: np.ndarray | None = None
) -> Reference:
    """Outline the cavity near `box`, move the box to its centre and keep the scan around it.

    region: bool (96, 96, 96), 1 mm around the box, which the outline does not leave.
    """
    config = CropConfig(size_voxels=BLOCK)
    crop = cut_crop(volume, box, config)
    cavity = outline_cavity(crop.data, crop.inside, row.limits, region=region)
    low, high = PLAUSIBLE_ML
    clear = row.use and low < cavity.sum() / 1000 < high
    if clear:
        at = crop.to_world(np.array(ndimage.center_of_mass(cavity)))
        middle = SinusBox(box.side, at, box.rotation)
        shift = crop_grid(middle, config).index_to(crop)
        distance = _signed_distance(cavity, crop.inside, shift[:3, 3])
    else:
        middle, distance = box, np.full((BLOCK,) * 3, -50, np.float32)
    return _kept(volume, middle, row, clear, distance)


def _kept(
    volume: Volume, box: SinusBox, row: ReferenceRow, clear: bool, distance: np.ndarray
) -> Reference:
    """The scan around `box`, on its crop's scale, with all that is known of the side."""
    low, high = cut_crop(volume, box).window
    to_scan = volume.inverse @ box.box_to_ras @ _mirror(box.side)
    start, stop = _reach(to_scan, volume.shape)
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    smooth = ndimage.gaussian_filter(volume.data[window], prefilter_voxels(volume.spacing_mm))
    native = np.rint((smooth - low) / (high - low) * STEPS).clip(LOWEST, HIGHEST).astype(np.int16)
    to_scan[:3, 3] -= start
    i, j, k = (_copies(volume.data, axis)[window[axis]] for axis in range(3))
    air, tissue = _levels(volume, box, distance, low, high)
    return Reference(
        scan=row.scan, group=row.group, side=row.side, modality=row.modality, clear=clear,
        native=native, box_to_native=to_scan,
        image_bounds=np.stack([-start, np.array(volume.shape) - 1 - start]).astype(np.float64),
        slices=(i, j, k), distance=distance, air=air, tissue=tissue, spacing_mm=volume.spacing_mm,
    )  # fmt: skip


def _mirror(side: Side) -> np.ndarray:
    """(4, 4) from a left sinus's frame to the side's box frame, as `crop_grid` mirrors."""
    return np.diag([-1.0 if side == Side.RIGHT else 1.0, 1.0, 1.0, 1.0])


def prefilter_voxels(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Standard deviations (3,) of the smoothing before a scan is resampled, as in `cut_crop`."""
    return 0.4 * np.maximum(1.0 / np.array(spacing_mm) - 1.0, 0.0)


def _levels(
    volume: Volume, box: SinusBox, distance: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    """Level of the air in the cavity and of the tissue around, where low is 0 and high is 1."""
    block = cut_crop(volume, box, CropConfig(size_voxels=BLOCK))
    (start, end), (bottom, top) = block.window, (low, high)
    data = (block.data * (end - start) + start - bottom) / (top - bottom)
    air, tissue = air_and_tissue(data, block.inside)
    deep = data[(distance > 3) & block.inside]
    return float(max(np.median(deep) if deep.size > 50 else air, 0.0)), tissue


def _signed_distance(cavity: np.ndarray, inside: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """mm to the wall in a block moved by `shift` voxels; the image's edge is no wall."""
    beyond = ~inside & ndimage.binary_dilation(cavity, iterations=3)
    solid = cavity | beyond
    inner = ndimage.distance_transform_edt(solid) - 0.5
    outer = ndimage.distance_transform_edt(~solid) - 0.5
    signed = np.where(solid, inner, -outer)
    signed = np.where(beyond, -0.5, signed)
    smooth = ndimage.gaussian_filter(signed, 0.6)
    return ndimage.shift(smooth, -shift, order=1, mode="nearest").astype(np.float32)


def _reach(to_scan: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Half-open bounds, in scan voxels, of the cube that is kept."""
    ends = np.stack(np.meshgrid(*[[-REACH_MM, REACH_MM]] * 3, indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    mapped = apply_affine(to_scan, ends)
    start = np.clip(np.floor(mapped.min(axis=0)).astype(int), 0, np.array(shape))
    stop = np.clip(np.ceil(mapped.max(axis=0)).astype(int) + 1, 0, np.array(shape))
    return start, np.maximum(stop, start + 1)


def _copies(data: np.ndarray, axis: int) -> np.ndarray:
    """Number of the slice as acquired that each slice along `axis` is a copy of (n,)."""
    moved = np.moveaxis(data, axis, 0)
    new = [True] + [not np.array_equal(a, b) for a, b in pairwise(moved)]
    empty = moved.reshape(len(moved), -1).max(axis=1) == moved.min()
    return np.cumsum(np.array(new) | empty) - 1


def save_reference(reference: Reference, path: Path) -> None:
    """Write one reference, whole or not at all."""
    fields = {name: getattr(reference, name) for name in Reference.__dataclass_fields__}
    for axis, numbers in enumerate(fields.pop("slices")):
        fields[f"slices_{axis}"] = numbers
    fields["distance"] = fields["distance"].astype(np.float16)
    with write_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **fields)


def load_references(folder: Path) -> list[Reference]:
    """All references in `folder`, in the order of their names."""
    return [load_reference(path) for path in sorted(Path(folder).glob("*.npz"))]


def load_reference(path: Path) -> Reference:
    """One reference, as `save_reference` wrote it."""
    with np.load(path) as stored:
        values = {name: stored[name] for name in stored.files}
    slices = (values.pop("slices_0"), values.pop("slices_1"), values.pop("slices_2"))
    plain = {k: v.item() if v.ndim == 0 else v for k, v in values.items()}
    plain |= {"side": Side(plain["side"]), "distance": plain["distance"].astype(np.float32)}
    plain["distance"] += np.float32(WALL_MM.get(plain["modality"], 0.0))
    plain["spacing_mm"] = tuple(float(v) for v in plain["spacing_mm"])
    return Reference(slices=slices, **plain)
