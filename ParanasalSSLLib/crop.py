"""Crops: the cube around a sinus as the networks see it, and the way back into the scan's grid.

All geometry of a crop is one affine. The right sinus is mirrored onto the left one by that affine
(its determinant is negative) and nowhere else, so that there is no flip to forget on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut (Bhattacharya 2024, 2.2: a 64 mm cube at 1 mm, percentiles 1 and 99)."""

    size_voxels: int = 64
    spacing_mm: float = 1.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0


@dataclass(frozen=True, eq=False)
class SinusCrop:
    """One sinus, cut out.

    Attributes:
        data: float32 (n, n, n) in 0..1. Axis i runs from lateral to medial, j from posterior to
            anterior, k from inferior to superior, for both sides.
        affine: (4, 4) crop index -> RAS mm; mirrored (negative determinant) for the right side.
        inside: bool (n, n, n), the voxel lies in the scan's image; `data` is 0 elsewhere.
        window: scan intensities that became 0 and 1.
        side: the patient's side.
    """

    data: np.ndarray
    affine: np.ndarray
    inside: np.ndarray
    window: tuple[float, float]
    side: Side


def crop_affine(box: SinusBox, config: CropConfig) -> np.ndarray:
    """(4, 4) affine from crop index to RAS mm; index (n - 1) / 2 is the box's centre."""
    mirror = -1.0 if box.side == Side.RIGHT else 1.0
    index_to_box = np.diag([mirror * config.spacing_mm, config.spacing_mm, config.spacing_mm, 1.0])
    center = np.full(3, (config.size_voxels - 1) / 2)
    index_to_box[:3, 3] = -index_to_box[:3, :3] @ center
    return box.box_to_ras @ index_to_box


def cut_crop(volume: Volume, box: SinusBox, config: CropConfig = CropConfig()) -> SinusCrop:
    """Resample the scan inside `box` (trilinear), mirror a right sinus, scale to 0..1.

    Args:
        volume: the scan, in any orientation.
        box: the cube to cut; its centre and rotation count, the size is the config's.
        config: size, spacing and scaling.
    """
    affine = crop_affine(box, config)
    crop_to_scan = np.linalg.inv(volume.affine) @ affine
    block, block_origin = _block_around(volume, crop_to_scan, config)
    shape = (config.size_voxels,) * 3
    # Scans finer than the crop are averaged first, otherwise fine structures and noise alias.
    sigma = 0.4 * np.maximum(config.spacing_mm / np.array(volume.spacing_mm) - 1.0, 0.0)
    if block.size and sigma.max() > 0.05:
        block = ndimage.gaussian_filter(block, sigma)
    inside = _inside(crop_to_scan, shape, volume.data.shape)
    sampled = np.zeros(shape, np.float32)
    if block.size:
        offset = crop_to_scan[:3, 3] - block_origin
        ndimage.affine_transform(
            block, crop_to_scan[:3, :3], offset, output=sampled, output_shape=shape, order=1,
            mode="nearest",
        )  # fmt: skip
    scaled, window = scale_intensities(sampled, config, inside)
    return SinusCrop(scaled, affine, inside, window, box.side)


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
    width = max(float(high - low), 1e-6)
    scaled = np.clip((data - low) / width, 0.0, 1.0).astype(np.float32)
    if inside is not None:
        scaled[~inside] = 0.0
    return scaled, (float(low), float(low) + width)


def paste(
    crop_map: np.ndarray,
    crop: SinusCrop,
    volume: Volume,
    outside: float = np.nan,
    order: Literal[0, 1] = 1,
) -> np.ndarray:
    """Put a map that lies in the crop's grid back into the scan's own grid.

    Args:
        crop_map: (n, n, n) in the grid of `crop`.
        crop: says where the map lies.
        volume: says which grid is wanted.
        outside: value of scan voxels outside the cube.
        order: 1 trilinear for maps, 0 nearest for masks.

    Returns:
        float32 array of the scan's shape.
    """
    result = np.full(volume.data.shape, outside, np.float32)
    scan_to_crop = np.linalg.inv(crop.affine) @ volume.affine
    start, stop = _bounds(np.linalg.inv(scan_to_crop), crop_map.shape, volume.data.shape, margin=1)
    if (stop <= start).any():
        return result
    shape = tuple(stop - start)
    offset = scan_to_crop[:3, :3] @ start + scan_to_crop[:3, 3]
    values = ndimage.affine_transform(
        crop_map.astype(np.float32), scan_to_crop[:3, :3], offset, output_shape=shape, order=order,
        mode="nearest",
    )  # fmt: skip
    block_to_crop = scan_to_crop.copy()
    block_to_crop[:3, 3] = offset
    within = _inside(block_to_crop, shape, crop_map.shape)
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    result[window] = np.where(within, values, np.float32(outside))
    return result


def _block_around(
    volume: Volume, crop_to_scan: np.ndarray, config: CropConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the scan that the crop touches, and the scan index of its first voxel."""
    shape = (config.size_voxels,) * 3
    start, stop = _bounds(crop_to_scan, shape, volume.data.shape, margin=3)
    window = tuple(slice(a, max(a, b)) for a, b in zip(start, stop, strict=True))
    return volume.data[window], start


def _bounds(
    to_scan: np.ndarray, shape: tuple[int, ...], scan_shape: tuple[int, ...], margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Half-open index bounds in the scan of a grid of `shape` whose indices `to_scan` maps."""
    ends = [(-0.5, n - 0.5) for n in shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    mapped = to_scan[:3, :3] @ corners + to_scan[:3, 3:]
    limit = np.array(scan_shape)
    start = np.clip(np.floor(mapped.min(axis=1)).astype(int) - margin, 0, limit)
    stop = np.clip(np.ceil(mapped.max(axis=1)).astype(int) + margin + 1, 0, limit)
    return start, stop


def _inside(
    transform: np.ndarray, shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> np.ndarray:
    """Bool array of `shape`: the index, mapped by `transform`, lies in the target's voxels."""
    result = np.ones(shape, bool)
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for row, size in zip(transform[:3], target_shape, strict=True):
        position = row[0] * i + row[1] * j + row[2] * k + row[3]
        result &= (position >= -0.5) & (position <= size - 0.5)
    return result
