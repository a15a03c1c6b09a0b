"""Grids, smooth random fields and sampling: the few tensor operations that the generator is made of."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 64  # voxels of 1 mm along each edge of a crop


@cache
def grid_mm(size: int = SIZE) -> Tensor:
    """Sinus-frame coordinates (3, size, size, size) in mm of the voxels of a crop."""
    axis = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))


def smooth_noise(rng: np.random.Generator, cells: int, channels: int = 1) -> Tensor:
    """Random fields (channels, 64, 64, 64): unit white noise on `cells`^3 knots, interpolated."""
    knots = rng.standard_normal((1, channels, cells, cells, cells), dtype=np.float32)
    size = (SIZE, SIZE, SIZE)
    return F.interpolate(torch.from_numpy(knots), size, mode="trilinear", align_corners=True)[0]


def white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Independent standard normal values of the given shape."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def soft(signed_distance_mm: Tensor, width_mm: float = 0.5) -> Tensor:
    """Occupancy 0..1 of the inside (negative distance) with an edge of about one voxel."""
    return torch.sigmoid(-signed_distance_mm / width_mm)


def ellipsoid(points: Tensor, center: tuple[float, ...], radii: tuple[float, ...]) -> Tensor:
    """Approximate signed distance (mm) to an ellipsoid; negative inside. `points`: (3, ...)."""
    squared = sum(((p - c) / r).square() for p, c, r in zip(points, center, radii, strict=True))
    return (torch.as_tensor(squared).sqrt() - 1) * min(radii)


def smooth_intersection(distances: list[Tensor], rounding_mm: float) -> Tensor:
    """Signed distance of the intersection of half-spaces with edges rounded by `rounding_mm`."""
    result = distances[0] / rounding_mm
    for distance in distances[1:]:
        result = torch.logaddexp(result, distance / rounding_mm)
    return rounding_mm * result


def rotation_matrix(angles_deg: np.ndarray) -> Tensor:
    """Rotation (3, 3) by the three given angles about i, then j, then k."""
    ax, ay, az = np.deg2rad(angles_deg)
    cx, sx, cy, sy, cz, sz = np.cos(ax), np.sin(ax), np.cos(ay), np.sin(ay), np.cos(az), np.sin(az)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return torch.from_numpy((rz @ ry @ rx).astype(np.float32))


def sample_at(volumes: Tensor, points_mm: Tensor, padding: str = "border") -> Tensor:
    """Values of `volumes` (C, A, B, D; 1 mm, centred) at `points_mm` (3, I, J, K), trilinear."""
    half_extent = torch.tensor([(n - 1) / 2 for n in volumes.shape[1:]])
    normalised = points_mm / half_extent.view(3, 1, 1, 1)
    grid = normalised.flip(0).permute(1, 2, 3, 0)[None]  # grid_sample wants the last axis first
    sampled = F.grid_sample(
        volumes[None], grid, mode="bilinear", padding_mode=padding, align_corners=True
    )
    return sampled[0]


def box_blur(volume: Tensor, axis: int, width: int) -> Tensor:
    """Mean over `width` voxels (odd) along one axis of a (I, J, K) volume, borders replicated."""
    if width <= 1:
        return volume
    kernel = [1, 1, 1]
    kernel[axis] = width
    pad = [0, 0, 0, 0, 0, 0]
    pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = width // 2
    padded = F.pad(volume[None, None], pad, mode="replicate")
    return F.avg_pool3d(padded, kernel, stride=1)[0, 0]
