"""Real anatomy: healthy sinuses of donor heads, deformed and re-contrasted.

A donor contributes one block of 96 mm a side, cut by the same localisation and cropping as any scan,
and the outline of its air. Only the two *together* are deformed, so lesions can grow in the result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from paranasal_training.cohort.anatomy import Anatomy
from paranasal_training.cohort.config import ContrastRange, GeometryRange
from paranasal_training.cohort.contrast import draw_curve
from paranasal_training.cohort.fields import sample_at, smooth_noise
from paranasal_training.cohort.geometry import Variant, canonical_points, resize_around
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import CropConfig, cut_crop
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.scans.read import read_volume

logger = logging.getLogger(__name__)

BLOCK = 96  # voxels of 1 mm: room around the 64 mm cube for rotation, shift and scale
PLAUSIBLE_ML = (5.0, 40.0)
OPENING_MM = 3.2  # parts the sinus from the nasal cavity and from dark bone around the roots
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".zip")
THICKEST_LINING_MM = 1.9  # 2 mm and more is a mucosal thickening
FURTHEST_CORE_MM = 14.0  # from the box's centre, three times the localisation error


@dataclass(frozen=True, eq=False)
class Donor:
    """One healthy sinus, as a left one. `block`: (2, 96, 96, 96), image 0..1 and air occupancy."""

    name: str
    block: Tensor
    air_ml: float


def load_donors(folder: Path) -> list[Donor]:
    """Both sinuses of every head in `folder` whose air is found and of plausible volume.

    Raises:
        BadConfig: the folder holds no usable head.
    """
    donors = []
    for path in sorted(p for p in Path(folder).iterdir() if p.name.endswith(SUFFIXES)):
        try:
            donors += _donors_of(path)
        except ParanasalError as error:
            logger.warning("donor %s left out: %s", path.name, error)
    if not donors:
        raise BadConfig(
            f"No usable healthy head in {folder}: give a folder of whole-head MRI scans "
            f"({', '.join(SUFFIXES)}), or leave --donors out to use procedural anatomy only."
        )
    return donors


def _donors_of(path: Path) -> list[Donor]:
    volume = read_volume(path)
    stem = path.name.split(".")[0]
    found = []
    for side, box in find_boxes(volume).boxes.items():
        crop = cut_crop(volume, box, CropConfig(size_voxels=BLOCK))
        air = outline_air(crop.data)
        air_ml = air.sum() / 1000
        if not PLAUSIBLE_ML[0] < air_ml < PLAUSIBLE_ML[1]:
            logger.warning("donor %s %s left out: %.1f ml of air found", stem, side, air_ml)
            continue
        soft_air = ndimage.gaussian_filter(air.astype(np.float32), 0.5)
        block = torch.from_numpy(np.stack([crop.data, soft_air]))
        found.append(Donor(f"{stem}:{side}", block, float(air_ml)))
    return found


def outline_air(image: np.ndarray, reach_mm: float = 26.0) -> np.ndarray:
    """Outline the air of the sinus around the centre of a crop.

    Args:
        image: float32 (n, n, n) in 0..1 at 1 mm, the sinus's mean position in the centre.
        reach_mm: nothing further than this from the found core belongs to the sinus.

    Returns:
        bool (n, n, n). Dark voxels connected with the core after an opening, which parts the
        sinus from nasal cavity and bone; all False where nothing dark is near the centre.
    """
    smooth = ndimage.gaussian_filter(image, 0.7)
    dark = smooth < _air_threshold(smooth)
    depth_mm = ndimage.distance_transform_edt(dark)
    center = (np.array(image.shape) - 1) / 2
    away = np.linalg.norm(np.indices(image.shape) - center.reshape(3, 1, 1, 1), axis=0)
    core_score = np.minimum(depth_mm, 8) - 0.4 * away
    core = np.unravel_index(core_score.argmax(), image.shape)
    if depth_mm[core] < OPENING_MM or away[core] > FURTHEST_CORE_MM:
        return np.zeros(image.shape, bool)
    labels, _ = ndimage.label(depth_mm > OPENING_MM)
    seed = labels == labels[core] if labels[core] else depth_mm >= depth_mm[core]
    from_core = np.linalg.norm(np.indices(image.shape) - np.reshape(core, (3, 1, 1, 1)), axis=0)
    seed &= from_core < reach_mm
    return ndimage.binary_dilation(seed, iterations=4, mask=dark)


def _air_threshold(smooth: np.ndarray) -> float:
    """Half-way between the darkest region near the centre and the median of the tissue."""
    n = smooth.shape[0]
    middle = smooth[n // 4 : -n // 4, n // 4 : -n // 4, n // 4 : -n // 4]
    air, tissue = np.percentile(middle, 5), np.percentile(middle, 70)
    return float(air + 0.45 * (tissue - air))


def paint_donor(
    donor: Donor,
    variant: Variant,
    rng: np.random.Generator,
    spread: GeometryRange = GeometryRange(),
    contrast: ContrastRange = ContrastRange(),
) -> Anatomy:
    """A new healthy sinus from a donor's: deformed, resized, re-contrasted, perhaps lined anew."""
    points = resize_around(canonical_points(variant, rng), variant.size)
    image, lumen = sample_at(donor.block, points)
    knots, values = draw_curve(rng, contrast)
    image = torch.from_numpy(np.interp(image.numpy(), knots, values).astype(np.float32))
    image = image * (1 + rng.uniform(0, 0.08) * smooth_noise(rng, 16)[0])
    bright = float(np.percentile(image[::2, ::2, ::2].numpy(), 95))
    # Mucosa and secretions range from darker than muscle (T1 fluid) to the brightest (T2).
    anatomy = Anatomy(image, lumen.clamp(0, 1), max(0.22, bright * rng.uniform(0.35, 1.05)))
    if not any(spread.donor_lining_mm):
        return anatomy
    return line_walls(anatomy, float(rng.uniform(*spread.donor_lining_mm)), rng)


def line_walls(anatomy: Anatomy, lining_mm: float, rng: np.random.Generator) -> Anatomy:
    """Paint healthy mucosa of about `lining_mm` onto the walls of a sinus; its lumen shrinks by it."""
    lumen = anatomy.lumen.numpy() > 0.5
    if not lumen.any():
        return anatomy
    window = ndimage.find_objects(lumen.astype(np.uint8))[0]
    depth_mm = np.zeros(lumen.shape, np.float32)
    padded = np.pad(lumen[window], 1)
    depth_mm[window] = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1]
    local_mm = (lining_mm * (1 + 0.4 * smooth_noise(rng, 8)[0])).clamp(0, THICKEST_LINING_MM)
    # A voxel at depth d reaches from d - 1 to d mm: the part of it that lining fills.
    filled = (local_mm + 1 - torch.from_numpy(depth_mm)).clamp(0, 1) * torch.from_numpy(lumen)
    signal = anatomy.lesion_signal * rng.uniform(0.6, 1.0)
    image = torch.lerp(anatomy.image, torch.full_like(anatomy.image, float(signal)), filled)
    return Anatomy(image, anatomy.lumen * (1 - filled), anatomy.lesion_signal)
