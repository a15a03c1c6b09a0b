"""Between the two resolutions: all crops are 64^3 at 1 mm, some networks look at 32^3 at 2 mm."""

from __future__ import annotations

import numpy as np

CROP_VOXELS = 64  # edge of the crops that go in and of the maps that come out


def at_voxels(maps: np.ndarray, voxels: int) -> np.ndarray:
    """Crops or maps of the same cube with larger or smaller voxels.

    Smaller arrays hold the means of the voxels that each of theirs covers; larger ones are
    interpolated (trilinear). Either way a voxel stays where it is in mm.

    Args:
        maps: float32 (N, C, E, E, E).
        voxels: the edge that is wanted, E, a part or a multiple of it.

    Returns:
        (N, C, voxels, voxels, voxels); `maps` itself where that is its shape.

    Raises:
        ValueError: no cube, or of another edge (an encoder would take it without a word).
    """
    check_cube(maps.shape, voxels)
    edge = maps.shape[-1]
    if edge > voxels:
        count, channels, part = *maps.shape[:2], edge // voxels
        blocks = maps.reshape(count, channels, voxels, part, voxels, part, voxels, part)
        pooled: np.ndarray = blocks.mean(axis=(3, 5, 7))
        return pooled
    return maps if edge == voxels else _interpolated(maps, voxels)


def check_cube(shape: tuple[int, ...], voxels: int) -> None:
    """Raise `ValueError` unless arrays of this shape can get that many voxels along each edge."""
    edge = shape[-1]
    if len(shape) != 5 or shape[2:] != (edge,) * 3 or max(edge, voxels) % min(edge, voxels):
        raise ValueError(f"{shape} cannot become (N, C, {voxels}, {voxels}, {voxels})")


def _interpolated(maps: np.ndarray, voxels: int) -> np.ndarray:
    edge = maps.shape[-1]
    at = np.clip((np.arange(voxels) + 0.5) * edge / voxels - 0.5, 0, edge - 1)
    weights = np.maximum(1 - abs(at[:, None] - np.arange(edge)), 0).astype(maps.dtype)
    for axis in (2, 3, 4):
        maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ weights.T, -1, axis)
    return np.ascontiguousarray(maps)
