"""What a clear sinus may show: lining, roots, septa, bright tissue behind the wall.

All of it stays clear. Fields lie in the cavity's own frame (1 mm), `distance` is mm to its wall,
positive inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

THICKEST_LINING_MM = 1.9  # 2 mm and more is a mucosal thickening
SHARE_SURROUNDED = 0.35


@dataclass(frozen=True)
class Tissue:
    """Levels on the crop's scale that a lesion's signal is drawn from.

    around: (n,) sorted samples of tissue outside the walls; medial: the turbinates' side of it.
    """

    air: float
    around: np.ndarray
    medial: np.ndarray


def smooth_field(shape: tuple[int, ...], scale_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of about unit variance with structures of about `scale_mm`."""
    cells = [max(3, round(n / scale_mm) + 2) for n in shape]
    knots = rng.standard_normal(cells).astype(np.float32)
    zoom = [(c - 1) / max(n - 1, 1) for c, n in zip(cells, shape, strict=True)]
    return 1.5 * ndimage.affine_transform(knots, np.array(zoom), output_shape=shape, order=1)


def draw_lining(
    distance: np.ndarray, tissue: Tissue, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Healthy mucosa below 2 mm on the walls: share and signal."""
    thickness = rng.uniform(0.3, 1.7) * np.exp(0.4 * smooth_field(distance.shape, 9, rng))
    share = np.clip(np.minimum(thickness, THICKEST_LINING_MM) - distance + 0.5, 0, 1)
    level = np.quantile(tissue.medial, rng.uniform(0.1, 0.9))
    return share * (distance > -0.5), np.full(distance.shape, level, np.float32)


def draw_septum(
    distance: np.ndarray, tissue: Tissue, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A thin wall of bone and mucosa that rises into the lumen: share and signal."""
    middle = np.array(distance.shape) / 2
    normal = rng.normal(0, 1, 3) * [1.0, 1.0, 0.4]
    normal /= np.linalg.norm(normal)
    offsets = [
        np.arange(n, dtype=np.float32) - m for n, m in zip(distance.shape, middle, strict=True)
    ]
    i, j, k = np.ix_(*offsets)
    plane = normal[0] * i + normal[1] * j + normal[2] * k - rng.uniform(-8, 8)
    plane = plane + 1.5 * smooth_field(distance.shape, 12, rng)
    height = k - rng.uniform(-12, 6) + 2 * smooth_field(distance.shape, 10, rng)
    share = np.clip(rng.uniform(0.4, 0.9) - np.abs(plane) + 0.5, 0, 1) * np.clip(0.5 - height, 0, 1)
    level = rng.uniform(0.3, 1.0) * np.quantile(tissue.medial, 0.5)
    return share * (distance > -0.5), np.full(distance.shape, level, np.float32)


@dataclass(frozen=True)
class Bulges:
    """What rises from the jaw into the floor, in a shell of dark bone: how many, how large.

    high: of its centre above the floor, in radii. behind: only in the back half.
    """

    count: tuple[int, int]
    radius_mm: tuple[float, float]
    high: tuple[float, float]
    behind: bool


ROOTS = Bulges((1, 3), (2.5, 6.5), (-0.5, 0.5), behind=False)
CRYPTS = Bulges((1, 2), (5.0, 10.0), (-0.6, 0.3), behind=True)  # a child's molars, not yet through


def draw_bulges(
    kind: Bulges, distance: np.ndarray, tissue: Tissue, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Roots, or crypts, under the floor.

    Returns:
        mm to the bulge's surface, negative inside it, and its signal.
    """
    lumen = np.argwhere(distance > 0)
    if kind.behind:
        lumen = lumen[lumen[:, 1] <= np.median(lumen[:, 1])]
    least, most = kind.count
    columns = lumen[rng.integers(len(lumen), size=int(rng.integers(least, most + 1)))]
    i, j, k = np.ix_(*(np.arange(n, dtype=np.float32) for n in distance.shape))
    surface = np.full(distance.shape, 50, np.float32)
    for column in columns:
        bottom = np.flatnonzero(distance[column[0], column[1]] > 0)[0]
        radius = rng.uniform(*kind.radius_mm)
        high = rng.uniform(*kind.high) * radius
        away = np.sqrt(
            (i - column[0]) ** 2
            + (j - column[1]) ** 2
            + ((k - bottom - high) * rng.uniform(0.6, 1.1)) ** 2
        )
        surface = np.minimum(surface, away - radius)
    core = np.quantile(tissue.around, rng.uniform(0.05, 0.9))
    core = core * (1 + rng.uniform(0, 0.3) * smooth_field(distance.shape, rng.uniform(3, 7), rng))
    bone_mm = rng.uniform(0.4, 1.6)
    share_core = np.clip(0.5 - (surface + bone_mm), 0, 1)
    return surface, (tissue.air + share_core * (core - tissue.air)).astype(np.float32)


@dataclass(frozen=True)
class Surround:
    """Bright fat or marrow outside one part of the wall, as under a small sinus or behind it.

    direction: from the cavity's centre to that part. Levels on the crop's scale.
    """

    direction: np.ndarray
    depth_mm: float
    level: float

    def share(self, distance: np.ndarray, mm: np.ndarray) -> np.ndarray:
        """How much of each voxel it takes; `distance` (...) to the wall, `mm` (3, ...)."""
        length = np.sqrt(np.square(mm).sum(axis=0)) + 1e-3
        towards = np.tensordot(self.direction, mm, axes=1) / length
        near = np.clip(-distance - 0.7, 0, 1) * np.clip(self.depth_mm + distance, 0, 1)
        return near * np.clip((towards - 0.55) / 0.25, 0, 1)


def draw_surround(tissue: Tissue, rng: np.random.Generator) -> Surround | None:
    """Bright fat or marrow at the floor, the outer or the back wall; none for most."""
    if rng.random() > SHARE_SURROUNDED:
        return None
    walls = [
        [0, 0, -1], [0, 0, -1], [-1, 0, 0], [-0.7, -0.7, 0], [-0.7, 0.7, -0.2], [0, 1, -0.3],
    ]  # fmt: skip
    direction = np.array(walls[rng.integers(len(walls))]) + rng.normal(0, 0.25, 3)
    level = np.quantile(tissue.around, rng.uniform(0.7, 0.99)) * rng.uniform(0.9, 1.2)
    direction /= np.linalg.norm(direction)
    return Surround(direction, float(rng.uniform(3, 12)), float(level))
