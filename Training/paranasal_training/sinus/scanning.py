"""From a painted cavity to an image: into the scan's own voxels, then one resampling to a crop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from nibabel.affines import to_matvec
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.sinus.healthy import Surround, Tissue
from paranasal_training.sinus.painting import Cavity, Painting, cavity_of
from paranasal_training.sinus.references import (
    BLOCK,
    HIGHEST,
    LOWEST,
    STEPS,
    Reference,
    prefilter_voxels,
)
from ParanasalSSLLib.geometry import apply_affine

FINEST_MM = 1.0  # occupancy is sampled at least this densely inside a voxel
TISSUE_AT = 0.45  # tissue is above this share of the way from air to the tissue's typical level


@dataclass(frozen=True, eq=False)
class Canvas:
    """A reference made ready for painting. All that does not change from sample to sample."""

    reference: Reference

    @cached_property
    def cavity(self) -> Cavity:
        """Where lesions are shaped."""
        return cavity_of(self.reference.distance)

    @cached_property
    def window(self) -> tuple[slice, slice, slice]:
        """The voxels of `native` that the cavity touches."""
        starts = np.array([s.start for s in self.cavity.window])
        stops = np.array([s.stop for s in self.cavity.window])
        ends = np.stack([starts, stops - 1], axis=1) - (BLOCK - 1) / 2
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
        mapped = apply_affine(self.reference.box_to_native, corners)
        shape = np.array(self.reference.native.shape)
        low = np.clip(np.floor(mapped.min(axis=0)).astype(int), 0, shape - 1)
        high = np.clip(np.ceil(mapped.max(axis=0)).astype(int) + 1, low + 1, shape)
        whole = [
            _whole_slices(*axis) for axis in zip(self.reference.slices, low, high, strict=True)
        ]
        return whole[0], whole[1], whole[2]

    @cached_property
    def fine(self) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
        """Where inside the cavity's window the parts of each voxel lie, for `grid_sample`."""
        counts = tuple(int(np.clip(round(s / FINEST_MM), 1, 6)) for s in self.reference.spacing_mm)
        axes = [
            (np.arange(w.start, w.stop)[:, None] + (np.arange(c) + 0.5) / c - 0.5).ravel()
            for w, c in zip(self.window, counts, strict=True)
        ]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        mm = apply_affine(self.reference.native_to_box, index)
        start = np.array([s.start for s in self.cavity.window])
        at = mm + (BLOCK - 1) / 2 - start
        size = np.array(self.cavity.distance.shape)
        grid = (2 * at / (size - 1) - 1)[:, ::-1]
        shape = tuple(len(axis) for axis in axes)
        return torch.from_numpy(grid.astype(np.float32).copy()), shape, counts

    @cached_property
    def air_share(self) -> np.ndarray:
        """How much of each voxel of the window is air (or dark bone), 0..1, by its signal."""
        return self._air_share(self.window)

    def _air_share(self, window: tuple[slice, slice, slice]) -> np.ndarray:
        values = self.reference.native[window] / np.float32(STEPS)
        air, tissue = self.reference.air, self.reference.tissue
        noise = 0.12 * (tissue - air)
        return np.clip((tissue - values) / (tissue - air - noise), 0, 1).astype(np.float32)

    @cached_property
    def shell(self) -> tuple[np.ndarray, np.ndarray]:
        """Values of `native` within 14 mm outside the walls: all round, and on the medial side."""
        distance = self.reference.distance[::2, ::2, ::2]
        points = np.argwhere((distance < -2) & (distance > -14))
        mm = 2 * points - (BLOCK - 1) / 2
        index = np.rint(apply_affine(self.reference.box_to_native, mm)).astype(int)
        inside = ((index >= 0) & (index < self.reference.native.shape)).all(axis=1)
        values = self.reference.native[tuple(index[inside].T)]
        medial = mm[inside, 0] > 6
        low = (
            self.reference.air + TISSUE_AT * (self.reference.tissue - self.reference.air)
        ) * STEPS
        return values[values > low], values[medial & (values > low)]

    def tissue(self, table: np.ndarray) -> Tissue:
        """The levels of this scan after its contrast was changed by `table`."""
        around, medial = (table[values - LOWEST] for values in self.shell)
        if len(medial) < 20:
            medial = around
        return Tissue(self.reference.air, around, medial)

    def occupancy(self, painting: Painting) -> tuple[np.ndarray, np.ndarray]:
        """Share of each voxel of the window taken, and share times signal."""
        grid, shape, counts = self.fine
        stacked = np.stack([painting.share, painting.share * painting.signal])
        fields = torch.from_numpy(stacked.astype(np.float32))
        taken = F.grid_sample(
            fields[None], grid[None, None, None], mode="bilinear", padding_mode="zeros",
            align_corners=True,
        )  # fmt: skip
        i, j, k = (n // c for n, c in zip(shape, counts, strict=True))
        a, b, c = counts
        mean = taken.view(2, i, a, j, b, k, c).mean(dim=(2, 4, 6)).numpy()
        for axis, (numbers, window) in enumerate(
            zip(self.reference.slices, self.window, strict=True)
        ):
            mean = _alike(mean, axis + 1, numbers[window])
        return mean[0], mean[1]

    def painted(
        self, painting: Painting | None, table: np.ndarray, surround: Surround | None = None
    ) -> np.ndarray:
        """The scan's own voxels with the painting in them: float32 of `native`'s shape."""
        image = table[self.reference.native - LOWEST]
        if surround is not None:
            self._brighten(image, surround)
        if painting is None or not painting.share.any():
            return image
        share, amount = self.occupancy(painting)
        level = amount / np.maximum(share, 1e-4)
        taken = np.minimum(share, self.air_share)
        added = taken * (level - self.reference.air)
        sigma = prefilter_voxels(self.reference.spacing_mm)
        if sigma.max() > 0.05:
            added = ndimage.gaussian_filter(added, sigma)
        image[self.window] += added
        return image

    def _brighten(self, image: np.ndarray, surround: Surround) -> None:
        """Put bright tissue outside the wall in place of tissue; air and dark bone stay."""
        reach = np.ceil(surround.depth_mm / np.array(self.reference.spacing_mm)).astype(int)
        i, j, k = (
            slice(max(0, w.start - r), min(n, w.stop + r))
            for w, r, n in zip(self.window, reach, image.shape, strict=True)
        )
        window = (i, j, k)
        index = np.stack(np.meshgrid(*(np.arange(w.start, w.stop) for w in window), indexing="ij"))
        mm = map_points(self.reference.native_to_box, index.astype(float)).astype(np.float32)
        distance = sample(self.reference.distance[None], mm + np.float32((BLOCK - 1) / 2))[0]
        share = surround.share(distance, mm) * (1 - self._air_share(window))
        image[window] += share * (surround.level - image[window])


def map_points(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (3, ...), coordinates first, mapped by a (4, 4) in the precision of the points."""
    matrix, offset = to_matvec(affine.astype(points.dtype))
    return np.tensordot(matrix, points, axes=1) + offset.reshape(3, *[1] * (points.ndim - 1))


def _whole_slices(numbers: np.ndarray, low: int, high: int) -> slice:
    """Bounds widened so that all copies of a slice are in or out."""
    first, last = numbers[low], numbers[high - 1]
    return slice(int(np.searchsorted(numbers, first)), int(np.searchsorted(numbers, last, "right")))


def _alike(mean: np.ndarray, axis: int, numbers: np.ndarray) -> np.ndarray:
    """Copies of one thick slice all get its mean."""
    unique, position = np.unique(numbers, return_inverse=True)
    if len(unique) == len(numbers):
        return mean
    starts = np.searchsorted(position, np.arange(len(unique)))
    sums = np.add.reduceat(mean, starts, axis=axis)
    counts = np.bincount(position).reshape([-1 if a == axis else 1 for a in range(mean.ndim)])
    return (sums / counts).take(position, axis=axis)


def identity_table() -> np.ndarray:
    """The table of `native`'s values that leaves a scan's contrast as it is."""
    return (np.arange(LOWEST, HIGHEST + 1) / STEPS).astype(np.float32)


def sample(volumes: np.ndarray, index: np.ndarray, nearest: bool = False) -> np.ndarray:
    """Values of (C, I, J, K) at index coordinates (3, ...), borders repeated: (C, ...)."""
    size = np.array(volumes.shape[1:], np.float32).reshape(3, *[1] * (index.ndim - 1))
    scaled = 2 * index / np.maximum(size - 1, 1) - 1
    grid = torch.from_numpy(np.ascontiguousarray(np.moveaxis(scaled[::-1], 0, -1), np.float32))
    flat = grid.view(1, 1, 1, -1, 3)
    values = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(volumes, np.float32))[None], flat,
        mode="nearest" if nearest else "bilinear", padding_mode="border", align_corners=True,
    )  # fmt: skip
    return values.numpy().reshape(volumes.shape[0], *index.shape[1:])
