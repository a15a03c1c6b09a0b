"""How much of a sinus the image shows: scans often end within it."""

from __future__ import annotations

from functools import cache

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.geometry import Grid, apply_affine
from ParanasalSSLLib.scans.volume import Volume

# Half axes (right, anterior, superior; mm) of the ellipsoid with the mean spread of the cavities of
# 60 sides of 19 heads about their centres (`paranasal_training.sinus.references`).
HALF_MM = np.array([13.7, 18.8, 17.9])
STEP_MM = 2.0


def visible_fraction(box: SinusBox, image: Grid, breadth: float = 1.0) -> float:
    """Part (0..1) of a sinus in the middle of `box` that lies inside `image`.

    breadth: of the sinus, 1 for a mean one.
    """
    points = apply_affine(box.box_to_ras, breadth * _ellipsoid())
    return float(image.contains(points).mean())


@cache
def _ellipsoid() -> np.ndarray:
    """(n, 3) points all over a mean sinus, mm from its centre."""
    axes = [np.arange(-half, half + STEP_MM, STEP_MM) for half in HALF_MM]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(points[((points / HALF_MM) ** 2).sum(axis=1) <= 1])


def shown_grid(volume: Volume) -> Grid:
    """The scan's grid without slices at its ends that hold one value throughout (filled up)."""
    start, stop = np.zeros(3, int), np.array(volume.shape)
    for axis, size in enumerate(volume.shape):
        slices = np.moveaxis(volume.data, axis, 0)
        first = next((i for i in range(size) if _varies(slices[i])), None)
        if first is not None:
            last = next(i for i in reversed(range(size)) if _varies(slices[i]))
            start[axis], stop[axis] = first, last + 1
    return Grid.cut(volume, start, stop)


def _varies(image: np.ndarray) -> bool:
    return bool(image.max() > image.min())
