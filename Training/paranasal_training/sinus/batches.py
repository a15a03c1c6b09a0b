"""Batches for the sinus network: samples of stores, changed a little each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.augment import rotations, warp
from paranasal_training.sinus.config import SinusAugmentConfig
from ParanasalSSLLib.errors import BadConfig, BadStore


@dataclass(frozen=True, eq=False)
class SinusBatch:
    """Float32: image (N, 2, 64, 64, 64) in 0..1; cavity, opacity and valid (N, 64, 64, 64), 0..1."""

    image: Tensor
    cavity: Tensor
    opacity: Tensor
    valid: Tensor


class SinusSamples:
    """The samples of one or more stores, on disk (memory-mapped).

    Attributes:
        table: a line per sample, those of all stores.

    Raises:
        BadStore: a folder holds no store.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if missing := [f for f in folders if not (Path(f) / "table.csv").exists()]:
            raise BadStore(f"{missing[0]} holds no store of sinus samples (no table.csv).")
        tables = [pd.read_csv(Path(f) / "table.csv") for f in folders]
        parts = [table.assign(store=number) for number, table in enumerate(tables)]
        self.table = pd.concat(parts, ignore_index=True)
        self._maps = [
            {
                name: np.load(Path(f) / f"{name}.npy", mmap_mode="r")
                for name in ("image", "cavity", "opacity", "valid")
            }
            for f in folders
        ]

    def rows(self, groups: Sequence[str], inside: bool) -> np.ndarray:
        """(n,) row numbers of persons in (or not in) `groups`. Raises `BadConfig` if there are none."""
        found = np.flatnonzero(self.table["group"].isin(list(groups)) == inside)
        if not len(found):
            raise BadConfig("The stores hold no samples of these persons.")
        return found

    def draw(self, groups: Sequence[str], inside: bool, most: int, seed: int) -> np.ndarray:
        """At most so many of `rows`, in an order that follows from the seed."""
        return np.random.default_rng(seed).permutation(self.rows(groups, inside))[:most]

    def batch(self, rows: np.ndarray) -> SinusBatch:
        """The samples of rows, as they are stored."""
        keys = self.table.loc[rows, ["store", "sample"]].to_numpy()

        def read(name: str) -> Tensor:
            stored = np.stack([self._maps[store][name][sample] for store, sample in keys])
            return torch.from_numpy(stored).float()

        images, cavity, opacity = (read(name) / 255 for name in ("image", "cavity", "opacity"))
        return SinusBatch(images, cavity, opacity, read("valid"))


def endless_rows(rows: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of rows, in a new order each time round."""
    while True:
        order = rng.permutation(rows)
        for start in range(0, max(len(order) - size + 1, 1), size):
            yield order[start : start + size]


def augmented(
    batch: SinusBatch, config: SinusAugmentConfig, rng: np.random.Generator
) -> SinusBatch:
    """All shifted and of another contrast; some of another shape, noisier, without the other side."""
    count = len(batch.image)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    batch = reshaped(batch, np.flatnonzero(rng.random(count) < config.warped), config, generator)
    shifts = rng.integers(-config.shift_voxels, config.shift_voxels + 1, (count, 3))
    image, cavity, opacity, valid = (
        torch.stack([shifted(x, s) for x, s in zip(maps, shifts, strict=True)])
        for maps in (batch.image, batch.cavity, batch.opacity, batch.valid)
    )
    gamma = np.exp(rng.uniform(-config.log_gamma, config.log_gamma, count)).astype(np.float32)
    image = image.clamp(min=0).pow(torch.from_numpy(gamma).view(-1, 1, 1, 1, 1))
    for i in np.flatnonzero(rng.random(count) < config.noisy):
        level = float(rng.uniform(0, config.noise))
        image[i] += level * torch.randn(image[i].shape, generator=generator) * (image[i] > 0)
    image[np.flatnonzero(rng.random(count) < config.without_other), 1] = 0
    return SinusBatch(image.clamp(0, 1), cavity, opacity, valid)


def reshaped(
    batch: SinusBatch, which: np.ndarray, config: SinusAugmentConfig, generator: torch.Generator
) -> SinusBatch:
    """These samples turned, scaled along each axis and bent; nothing is valid beyond their edges."""
    if not len(which):
        return batch
    valid = F.pad(batch.valid[:, 1:-1, 1:-1, 1:-1], (1,) * 6)[:, None]
    stacked = torch.cat([batch.image, batch.cavity[:, None], batch.opacity[:, None], valid], dim=1)
    matrices, bend = _draw_shapes(len(which), batch.image.shape[-1], config, generator)
    changed = warp(stacked[which], matrices, bend)
    changed[:, -1:] = changed[:, -1:] > 0.99
    stacked[which] = changed * changed[:, -1:]
    image, cavity, opacity, valid = stacked.split([2, 1, 1, 1], dim=1)
    return SinusBatch(image, cavity[:, 0], opacity[:, 0], valid[:, 0])


def _draw_shapes(
    count: int, edge: int, config: SinusAugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Affine maps (n, 3, 4) and bendings (n, 3, D, D, D), both in voxels, output -> input."""
    draws = torch.rand(2, count, 3, generator=generator)
    turned = rotations((2 * draws[0] - 1) * np.deg2rad(config.rotation_deg))
    low, high = np.log(config.size)
    linear = turned * (-(low + (high - low) * draws[1])).exp()[:, None, :]
    knots = torch.randn(count, 3, 5, 5, 5, generator=generator)
    knots *= config.bend_mm * torch.rand(count, 1, 1, 1, 1, generator=generator)
    bend = F.interpolate(knots, size=(edge,) * 3, mode="trilinear", align_corners=True)
    return F.pad(linear, (0, 1)), bend


def shifted(volume: Tensor, shift: np.ndarray) -> Tensor:
    """(..., D, D, D) moved by whole voxels, zeros where nothing comes from."""
    result = torch.zeros_like(volume)
    edge = volume.shape[-1]
    x, y, z = (slice(max(s, 0), edge + min(s, 0)) for s in shift.tolist())
    i, j, k = (slice(max(-s, 0), edge + min(-s, 0)) for s in shift.tolist())
    result[..., x, y, z] = volume[..., i, j, k]
    return result
