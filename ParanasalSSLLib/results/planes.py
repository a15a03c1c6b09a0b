"""Picture planes in the head, in a box's own frame, so that an oblique or tilted scan looks upright.

Radiological convention: the patient's right is on the viewer's left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.geometry import Grid


@dataclass(frozen=True)
class Orientation:
    """A plane in a box's frame (x right, y front, z up).

    right, up: axis and sign that run to the right and up on the screen
    letters: at the left, right, top and bottom of the picture
    """

    name: str
    right: tuple[int, int]
    up: tuple[int, int]
    letters: tuple[str, str, str, str]

    @property
    def normal(self) -> int:
        """The axis that the plane does not hold."""
        return 3 - self.right[0] - self.up[0]


AXIAL = Orientation("Axial", (0, -1), (1, 1), ("R", "L", "A", "P"))
CORONAL = Orientation("Coronal", (0, -1), (2, 1), ("R", "L", "S", "I"))
SAGITTAL = Orientation("Sagittal", (1, -1), (2, 1), ("A", "P", "S", "I"))
ORIENTATIONS = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True, eq=False)
class Plane:
    """A square picture plane in the head.

    center: (3,) RAS mm; right, up: (3,) unit vectors in RAS; field_mm: edge of the square
    """

    orientation: Orientation
    center: np.ndarray
    right: np.ndarray
    up: np.ndarray
    field_mm: float

    @classmethod
    def through(
        cls, center: np.ndarray, rotation: np.ndarray, orientation: Orientation, field_mm: float
    ) -> Plane:
        """The plane of that orientation through `center` in the frame `rotation` (a box's)."""
        (right, right_sign), (up, up_sign) = orientation.right, orientation.up
        return cls(
            orientation,
            np.asarray(center, float),
            right_sign * rotation[:, right],
            up_sign * rotation[:, up],
            field_mm,
        )

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector towards the one who looks: right x up, RAS."""
        return np.cross(self.right, self.up)

    def grid(self, pixels: int) -> Grid:
        """The picture as a grid of one slice: rows upwards, columns to the right."""
        steps = np.stack([self.up, self.right, self.normal], axis=1) * self.field_mm / pixels
        return Grid.around(self.center, steps, (pixels, pixels, 1))

    def sample(
        self, data: np.ndarray, grid: Grid, pixels: int, outside: float | None = 0.0
    ) -> np.ndarray:
        """Linear samples of an image in this plane.

        Args:
            data: (I, J, K).
            grid: where its voxels lie.
            pixels: along each edge of the picture.
            outside: value beyond the image; None for the nearest voxel's.

        Returns:
            float32 (pixels, pixels); row 0 is the lowest row of the picture.
        """
        picture = self.grid(pixels)
        to_data = picture.index_to(grid)
        beyond = {"mode": "nearest"} if outside is None else {"mode": "constant", "cval": outside}
        values = ndimage.affine_transform(
            data, to_data[:3, :3], to_data[:3, 3], output_shape=picture.shape, order=1,
            output=np.float32, **beyond,
        )  # fmt: skip
        return values[:, :, 0]

    def inside(self, grid: Grid, pixels: int) -> np.ndarray:
        """bool (pixels, pixels): the pixel lies in a voxel of an image; rows as in `sample`."""
        return self.grid(pixels).voxels_inside(grid)[:, :, 0]

    def on_screen(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) RAS mm -> (N, 2) mm to the right of and above the picture's centre."""
        offsets = np.asarray(points) - self.center
        return np.stack([offsets @ self.right, offsets @ self.up], axis=1)

    def cut(self, box: SinusBox) -> np.ndarray:
        """Corners (N, 2) on screen of the polygon in which the plane cuts the box; N may be 0."""
        ends = np.array(list(_edges(box)))
        heights = (ends - self.center) @ self.normal
        crossing = (heights[:, 0] < 0) != (heights[:, 1] < 0)
        ends, heights = ends[crossing], heights[crossing]
        if len(ends) < 3:
            return np.empty((0, 2))
        part = heights[:, 0] / (heights[:, 0] - heights[:, 1])
        points = self.on_screen(ends[:, 0] + part[:, None] * (ends[:, 1] - ends[:, 0]))
        angle = np.arctan2(*(points - points.mean(axis=0)).T[::-1])
        return points[np.argsort(angle)]


def _edges(box: SinusBox) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """The twelve edges of a box, as pairs of RAS points."""
    corners = box.corners_ras_mm()
    for first, second in combinations(corners, 2):
        if np.count_nonzero(np.abs((second - first) @ box.rotation) > box.edge_mm / 2) == 1:
            yield first, second
