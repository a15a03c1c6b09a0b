"""Outline the cavity of a clear sinus: everything inside its bony walls, seen as the air in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

AIR_SHARE = 0.45  # of the way from air to tissue: where the outline runs
OPENING_MM = 4.0  # parts the sinus from nasal cavity, ethmoid cells and dark bone around the roots
REGROWN_MM = 5  # what the opening took from the corners
SMOOTHING_MM = 1.6
FURTHEST_CORE_MM = 16.0  # from the box's centre, over three times the localisation error
PLAUSIBLE_ML = (2.5, 40.0)


@dataclass(frozen=True)
class Limits:
    """Where a reader ended the outline by eye, in mm from the block's centre; None: nowhere.

    Lateral to medial is `medial`, posterior to anterior `back` and `front`, inferior to superior
    `floor` and `roof`.
    """

    medial: float | None = None
    back: float | None = None
    front: float | None = None
    floor: float | None = None
    roof: float | None = None

    def region(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Bool array of `shape` (1 mm voxels, centred): what lies within all limits."""
        within = np.ones(shape, bool)
        bounds = [(None, self.medial), (self.back, self.front), (self.floor, self.roof)]
        for axis, (low, high) in enumerate(bounds):
            at = np.arange(shape[axis]) - (shape[axis] - 1) / 2
            keep = (at >= (-np.inf if low is None else low)) & (
                at <= (np.inf if high is None else high)
            )
            within &= np.expand_dims(keep, tuple({0, 1, 2} - {axis}))
        return within


def air_and_tissue(image: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Level of the air near the centre of a block and the typical level of the tissue around."""
    n = image.shape[0]
    middle = tuple(slice(n // 4, -(n // 4)) for _ in range(3))
    values = image[middle][inside[middle]]
    return float(np.percentile(values, 6)), float(np.percentile(values, 72))


def outline_cavity(
    image: np.ndarray,
    inside: np.ndarray,
    limits: Limits = Limits(),
    reach_mm: float = 30.0,
    region: np.ndarray | None = None,
) -> np.ndarray:
    """Outline the cavity of the clear sinus in the middle of a block.

    Args:
        image: float32 (n, n, n), 1 mm, 0..1, in the frame of `SinusCrop`.
        inside: bool (n, n, n), voxels of the scan's image.
        limits: where the outline ends in any case.
        reach_mm: nothing further than this from the sinus's core belongs to it.
        region: bool (n, n, n), nothing outside belongs to it (None: no such limit).

    Returns:
        bool (n, n, n); all False where no air is found near the centre.
    """
    smooth = ndimage.gaussian_filter(image, 0.8)
    air, tissue = air_and_tissue(smooth, inside)
    dark = (smooth < air + AIR_SHARE * (tissue - air)) & inside & limits.region(image.shape)
    if region is not None:
        dark &= region
    # Beyond the image's edge the sinus goes on: the edge must not count as a wall.
    depth_mm = ndimage.distance_transform_edt(dark | ~inside) * dark
    away = _distance_from((np.array(image.shape) - 1) / 2, image.shape)
    core = np.unravel_index((np.minimum(depth_mm, 8) - 0.4 * away).argmax(), image.shape)
    if depth_mm[core] < 3 or away[core] > FURTHEST_CORE_MM:
        return np.zeros(image.shape, bool)
    seed = _part_of(depth_mm > min(OPENING_MM, 0.8 * depth_mm[core]), core)
    seed &= _distance_from(np.array(core), image.shape) < reach_mm
    grown = ndimage.binary_dilation(seed, iterations=REGROWN_MM, mask=dark)
    return _tidied(grown, core, inside)


def _tidied(cavity: np.ndarray, core: tuple[int, ...], inside: np.ndarray) -> np.ndarray:
    """Without thin tongues, without holes, of one part."""
    padded = cavity | ~inside
    opened = ndimage.distance_transform_edt(padded) > SMOOTHING_MM
    opened = ndimage.distance_transform_edt(~opened) <= SMOOTHING_MM
    part = _part_of(opened & cavity, core)
    closed = ndimage.binary_closing(np.pad(part, 3), iterations=2)[3:-3, 3:-3, 3:-3] & inside
    return ndimage.binary_fill_holes(closed | part)


def _part_of(mask: np.ndarray, core: tuple[int, ...]) -> np.ndarray:
    """The connected part of `mask` that holds `core`, or else the largest."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    chosen = labels[core] or int(np.bincount(labels.ravel())[1:].argmax()) + 1
    return labels == chosen


def _distance_from(point: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    i, j, k = (np.arange(n, dtype=np.float32) - p for n, p in zip(shape, point, strict=True))
    return np.sqrt((i**2)[:, None, None] + (j**2)[None, :, None] + k**2)
