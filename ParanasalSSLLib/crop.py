"""Crops: the cube around a sinus as the networks see it, and the way back into the scan's grid.

All geometry of a crop is one grid. The right sinus is mirrored onto the left one by that grid's affine
(its determinant is negative) and nowhere else, so that there is no flip to forget on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.scans.volume import Volume, window_width
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut (Bhattacharya 2024, 2.2: a 64 mm cube at 1 mm, percentiles 1 and 99)."""

    size_voxels: int = 64
    spacing_mm: float = 1.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0


@dataclass(frozen=True, eq=False)
class SinusCrop(Grid):
    """One sinus, cut out: a grid with values.

    Attributes:
        shape: (n, n, n). Axis i runs from lateral to medial, j from posterior to anterior, k from
            inferior to superior, for both sides.
        affine: (4, 4) crop index -> RAS mm; mirrored (negative determinant) for the right side.
        data: float32 (n, n, n) in 0..1.
        inside: bool (n, n, n), the voxel lies in the scan's image; `data` is 0 elsewhere.
        window: scan intensities that became 0 and 1.
        side: the patient's side.
    """

    data: np.ndarray
    inside: np.ndarray
    window: tuple[float, float]
    side: Side


def crop_grid(box: SinusBox, config: CropConfig) -> Grid:
    """The grid of a box's crop, in the box's middle and along its axes; mirrored on the right."""
    mirror = -1.0 if box.side == Side.RIGHT else 1.0
    steps = config.spacing_mm * box.rotation * [mirror, 1.0, 1.0]
    n = config.size_voxels
    return Grid.around(box.center_ras_mm, steps, (n, n, n))


def cut_crop(volume: Volume, box: SinusBox, config: CropConfig = CropConfig()) -> SinusCrop:
    """Resample the scan inside `box` (trilinear), mirror a right sinus, scale to 0..1.

    Args:
        volume: the scan, in any orientation.
        box: the cube to cut; its centre and rotation count, the size is the config's.
        config: size, spacing and scaling.

    Returns:
        The crop; 0 throughout where the box lies outside the image.
    """
    grid = crop_grid(box, config)
    inside = grid.voxels_inside(volume)
    scaled, window = scale_intensities(_resampled(volume, grid, config), config, inside)
    return SinusCrop(grid.shape, grid.affine, scaled, inside, window, box.side)


def _resampled(volume: Volume, grid: Grid, config: CropConfig) -> np.ndarray:
    """float32 scan intensities at the grid's voxels; the nearest voxel's beyond the image."""
    block = volume.cut(*volume.window_around(grid.corners(0.5), margin=3))
    sampled = np.zeros(grid.shape, np.float32)
    if block.data.size == 0:
        return sampled
    values = block.data
    # Scans finer than the crop are averaged first, otherwise fine structures and noise alias.
    sigma = 0.4 * np.maximum(config.spacing_mm / np.array(volume.spacing_mm) - 1.0, 0.0)
    if sigma.max() > 0.05:
        values = ndimage.gaussian_filter(values, sigma)
    to_block = grid.index_to(block)
    ndimage.affine_transform(
        values, to_block[:3, :3], to_block[:3, 3], output=sampled, output_shape=grid.shape,
        order=1, mode="nearest",
    )  # fmt: skip
    return sampled


def scale_intensities(
    data: np.ndarray, config: CropConfig = CropConfig(), inside: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[float, float]]:
    """Robust scaling to 0..1: the configured percentiles of the voxels inside become 0 and 1.

    Args:
        data: float (n, n, n) scan intensities.
        config: the percentiles.
        inside: bool (n, n, n); voxels outside do not count and become 0.

    Returns:
        float32 (n, n, n) in 0..1 and the window (low, high); all 0 where nothing lies inside.
    """
    values = data if inside is None else data[inside]
    if values.size == 0:
        return np.zeros(data.shape, np.float32), (0.0, 1.0)
    low, high = np.percentile(values, [config.low_percentile, config.high_percentile])
    width = window_width(low, high)
    scaled = np.clip((data - low) / width, 0.0, 1.0).astype(np.float32)
    if inside is not None:
        scaled[~inside] = 0.0
    return scaled, (float(low), float(low) + width)


def paste(
    crop_map: np.ndarray,
    crop: Grid,
    scan: Grid,
    outside: float = np.nan,
    order: Literal[0, 1] = 1,
) -> np.ndarray:
    """Put a map that lies in the crop's grid back into the scan's own grid.

    Args:
        crop_map: (n, n, n) in the grid of `crop`.
        crop: says where the map lies.
        scan: says which grid is wanted.
        outside: value of scan voxels outside the cube.
        order: 1 trilinear for maps, 0 nearest for masks.

    Returns:
        float32 array of the scan's shape.
    """
    result = np.full(scan.shape, outside, np.float32)
    start, stop = scan.window_around(crop.corners(0.5), margin=1)
    if (stop <= start).any():
        return result
    block = scan.cut(start, stop)
    to_crop = block.index_to(crop)
    values = ndimage.affine_transform(
        crop_map.astype(np.float32), to_crop[:3, :3], to_crop[:3, 3], output_shape=block.shape,
        order=order, mode="nearest",
    )  # fmt: skip
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    result[window] = np.where(block.voxels_inside(crop), values, np.float32(outside))
    return result
