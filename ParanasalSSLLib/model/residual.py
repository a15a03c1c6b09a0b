"""Residuals: how a sinus differs from its healthy reconstruction.

The residual is |x - x'| (Bhattacharya 2024, 2.3.2), cleaned by a median filter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from ParanasalSSLLib.devices import cpu_threads
from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.scans.volume import window_width


def residual_map(
    crop: np.ndarray, reconstruction: np.ndarray, config: ResidualConfig = ResidualConfig()
) -> np.ndarray:
    """|x - x'|, filtered, in 0..1.

    Args:
        crop: (n, n, n), 0..1.
        reconstruction: of the same shape; values outside 0..1 are clipped.
        config: filter and scaling.

    Returns:
        float32 (n, n, n).
    """
    residual = np.abs(crop - np.clip(reconstruction, 0.0, 1.0)).astype(np.float32)
    if config.scaling == "percentile":
        low, high = np.percentile(residual, [1, 99])
        residual = np.clip((residual - low) / window_width(low, high), 0, 1)
    if config.median_kernel_voxels:
        residual = _median(residual, config.median_kernel_voxels)
    if config.otsu:
        parts = remove_small_parts(residual >= otsu_threshold(residual), config)
        residual = parts.astype(np.float32)
    return residual


def residual_maps(crops: np.ndarray, rebuilt: np.ndarray, config: ResidualConfig) -> np.ndarray:
    """`residual_map` of each pair of (N, 1, n, n, n), on all cores: float32 (N, 1, n, n, n)."""
    with ThreadPoolExecutor(cpu_threads()) as pool:  # the filters release the lock
        maps = pool.map(
            lambda crop, image: residual_map(crop, image, config), crops[:, 0], rebuilt[:, 0]
        )
        return np.stack(list(maps))[:, None]


def _median(image: np.ndarray, kernel: int) -> np.ndarray:
    """SciPy's `median_filter`, number for number, two to four times as fast.

    NumPy's partition uses vector instructions. One slab at a time stays in the processor's cache.
    """
    windows = sliding_window_view(np.pad(image, kernel // 2, mode="symmetric"), (kernel,) * 3)
    middle = kernel**3 // 2
    result = np.empty_like(image)
    for slab, found in zip(windows, result, strict=True):
        flat = slab.reshape(*slab.shape[:2], -1)
        found[:] = np.partition(flat, middle, axis=-1)[..., middle]
    return result


def remove_small_parts(mask: np.ndarray, config: ResidualConfig) -> np.ndarray:
    """Drop connected parts (26 neighbours) of `minimum_component_voxels` or fewer."""
    return parts_larger_than(mask, config.minimum_component_voxels, np.ones((3, 3, 3)))


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """The level that separates `values` into two classes with the largest variance between them."""
    counts, edges = np.histogram(values, bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centers)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    variance = below * above * (mean_above - mean_below) ** 2
    # Every level in a gap between the classes separates them equally well: take the middle one.
    best = np.flatnonzero(variance >= variance.max() * (1 - 1e-9))
    return float(edges[1:-1][best].mean())


def parts_larger_than(
    mask: np.ndarray, voxels: int, neighbours: np.ndarray | None = None
) -> np.ndarray:
    """The connected parts of a bool array of more than so many voxels.

    neighbours: structuring element, the six direct neighbours by default.
    """
    if voxels < 1:
        return mask
    labels, _ = ndimage.label(mask, neighbours)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes > voxels)[labels]
