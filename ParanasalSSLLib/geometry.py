"""Where the voxels of an image lie: one grid type, and the only flip between LPS and RAS.

World coordinates are RAS mm throughout the library. ITK, DICOM and Slicer's files use LPS; what
comes from or goes to them passes `lps_to_ras` or `ras_to_lps`. Points always have their three
coordinates on the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SAME_PLACE_MM = 0.1
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a three-dimensional image, without their values.

    Attributes:
        shape: voxels along each axis.
        affine: float64 (4, 4), voxel index (i, j, k, 1) -> RAS mm, read-only. An index is the
            voxel's centre.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        i, j, k = self.shape
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        object.__setattr__(self, "shape", (int(i), int(j), int(k)))
        object.__setattr__(self, "affine", affine)

    @classmethod
    def around(
        cls, center_ras_mm: np.ndarray, steps: np.ndarray, shape: tuple[int, int, int]
    ) -> Grid:
        """The grid whose middle lies at a point.

        Args:
            center_ras_mm: (3,) RAS mm.
            steps: (3, 3), its columns lead from a voxel to the next one along each axis, RAS mm.
            shape: voxels along each axis.
        """
        affine = np.eye(4)
        affine[:3, :3] = steps
        affine[:3, 3] = center_ras_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        return Grid(shape, affine)

    @cached_property
    def inverse(self) -> np.ndarray:
        """(4, 4) RAS mm -> voxel index."""
        return np.linalg.inv(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxels along each axis, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, ml."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def center_ras_mm(self) -> np.ndarray:
        """(3,) centre of the image in RAS mm."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def to_world(self, index: np.ndarray) -> np.ndarray:
        """(..., 3) RAS mm of voxel indices (..., 3), which may be fractions."""
        return apply_affine(self.affine, index)

    def to_index(self, ras: np.ndarray) -> np.ndarray:
        """(..., 3) voxel indices, as fractions, of points (..., 3) in RAS mm."""
        return apply_affine(self.inverse, ras)

    def index_to(self, other: Grid) -> np.ndarray:
        """(4, 4) voxel index of this grid -> voxel index of the other one."""
        return other.inverse @ self.affine

    def corners(self, margin_voxels: float = 0.0) -> np.ndarray:
        """(8, 3) RAS mm of the corner voxels' centres, moved outwards by a margin along each axis.

        A margin of 0.5 gives the corners of the image's outline.
        """
        ends = [(-margin_voxels, n - 1 + margin_voxels) for n in self.shape]
        return self.to_world(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3))

    def contains(self, ras: np.ndarray) -> np.ndarray:
        """bool (...): the point (..., 3) in RAS mm lies in a voxel of this grid."""
        index = self.to_index(ras)
        within = (index >= -0.5) & (index <= np.array(self.shape) - 0.5)
        return np.asarray(within.all(axis=-1))

    def voxels_inside(self, other: Grid) -> np.ndarray:
        """bool of this grid's shape: the voxel's centre lies in a voxel of the other grid."""
        result = np.ones(self.shape, bool)
        i, j, k = np.ogrid[: self.shape[0], : self.shape[1], : self.shape[2]]
        for row, size in zip(self.index_to(other)[:3], other.shape, strict=True):
            position = row[0] * i + row[1] * j + row[2] * k + row[3]
            result &= (position >= -0.5) & (position <= size - 0.5)
        return result

    def window_around(self, points: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The smallest block of voxels around some points, cut off at the image's edge.

        Args:
            points: (n, 3) RAS mm.
            margin: voxels more on every side.

        Returns:
            First index and the one behind the last, (3,) int each; a stop that is not above its
            start says that the block is empty.
        """
        index = self.to_index(points)
        start = np.floor(index.min(axis=0)).astype(int) - margin
        stop = np.ceil(index.max(axis=0)).astype(int) + margin + 1
        limit = np.array(self.shape)
        return np.clip(start, 0, limit), np.clip(stop, 0, limit)

    def cut(self, start: np.ndarray, stop: np.ndarray) -> Grid:
        """The grid of the block from index `start` to before `stop`, (3,) int each.

        Its voxels stay where they are; it is empty where a stop is not above its start.
        """
        i, j, k = np.maximum(np.subtract(stop, start), 0).tolist()
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        return Grid((i, j, k), affine)


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., 3) points mapped by a (4, 4) affine."""
    return np.asarray(points) @ affine[:3, :3].T + affine[:3, 3]


def angle_deg(rotation: np.ndarray) -> float:
    """Angle (0..180) by which a rotation matrix (3, 3) turns."""
    return float(np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def is_same_place(one: Grid, other: Grid) -> bool:
    """Whether two grids have voxels at the same places; their axes may run in another order."""
    away = np.linalg.norm(one.corners()[:, None] - other.corners(), axis=2).min(axis=1).max()
    return sorted(one.shape) == sorted(other.shape) and bool(away <= SAME_PLACE_MM)


def lps_to_ras(affine_or_points: np.ndarray) -> np.ndarray:
    """Flip a world between LPS and RAS; the flip is its own inverse.

    Args:
        affine_or_points: a (4, 4) affine that maps to LPS mm, or points (..., 3) in LPS mm.

    Returns:
        The affine that maps to RAS mm, or the points in RAS mm.

    Raises:
        ValueError: neither (4, 4) nor (..., 3).
    """
    array = np.asarray(affine_or_points, dtype=np.float64)
    if array.shape == (4, 4):
        return _FLIP @ array
    if array.shape[-1:] == (3,):
        return array @ _FLIP[:3, :3]
    raise ValueError(f"expected a (4, 4) affine or (..., 3) points, got {array.shape}")


def transform_lps_to_ras(transform: np.ndarray) -> np.ndarray:
    """A (4, 4) map from LPS mm to LPS mm as the same map from RAS mm to RAS mm."""
    return _FLIP @ transform @ _FLIP


def ras_to_lps(affine_or_points: np.ndarray) -> np.ndarray:
    """Flip a world from RAS to LPS: see `lps_to_ras`, whose inverse this is."""
    return lps_to_ras(affine_or_points)
