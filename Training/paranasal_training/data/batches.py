"""Crops in memory and the order in which training sees them.

A whole split fits in memory as bytes (0.26 MB a crop), so there are no worker processes: a batch is
one indexing operation. Order and augmentation follow from (seed, epoch, batch) alone, so that a run
that was interrupted is resumed exactly as it would have gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from paranasal_training.data.store import CropStore
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.resolution import at_voxels

_STREAM = 1_000_003  # separates the random streams of neighbouring seeds, epochs and batches


class Batch(NamedTuple):
    """crops: uint8 (B, C, D, D, D), of all channels; target: uint8 (B, 1, D, D, D) or int64 (B,).

    seed: for everything random that is done to this part of a batch, another one in each process.
    shared_seed: for what all processes are to draw alike.
    numbers: int64 (B,), which crops of the data these are.
    """

    crops: Tensor
    target: Tensor
    seed: int
    shared_seed: int
    numbers: Tensor


@dataclass(frozen=True, eq=False)
class CropData:
    """Crops with one target each, on one device."""

    crops: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.crops)

    def to(self, device: torch.device) -> CropData:
        """The same on another device."""
        return CropData(self.crops.to(device), self.target.to(device))


def load_crops(
    store: CropStore,
    rows: np.ndarray,
    target: np.ndarray | None = None,
    voxels: int = 64,
    second: np.ndarray | None = None,
) -> CropData:
    """Copy rows of a store into memory.

    Args:
        store: where the crops are.
        rows: (n,) row numbers.
        target: (n,) labels, uint8 (n, D, D, D) maps, or None.
        voxels: edge of the crops, 64 (1 mm) or 32 (2 mm, means of 2^3 voxels).
        second: uint8 (n, D, D, D), a second channel beside the crops (their residuals).

    Raises:
        BadConfig: there are no such rows.
    """
    if len(rows) == 0:
        raise BadConfig(f"{store.folder} has no rows for this stage. A larger cohort is needed.")
    crops = resized_bytes(store.crops[rows], voxels)
    if second is not None:
        crops = torch.cat([crops, resized_bytes(second, voxels)], dim=1)
    if target is None:
        target = np.zeros(len(rows), np.int64)
    if target.ndim == 4:
        return CropData(crops, resized_bytes(target, voxels))
    return CropData(crops, torch.from_numpy(target))


def resized_bytes(maps: np.ndarray, voxels: int) -> Tensor:
    """uint8 (n, E, E, E) -> uint8 (n, 1, D, D, D) with D = voxels, see `at_voxels`."""
    if maps.shape[-1] == voxels:
        return torch.from_numpy(np.ascontiguousarray(maps)).unsqueeze(1)
    parts = [
        at_voxels(maps[start : start + 64, None].astype(np.float32), voxels)
        for start in range(0, len(maps), 64)
    ]
    return torch.from_numpy(np.concatenate([part.round().astype(np.uint8) for part in parts]))


class EpochOrder:
    """The order of items in each epoch. Lightning calls `set_epoch`."""

    def __init__(self, count: int, seed: int, shuffle: bool) -> None:
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def indices(self) -> Tensor:
        """(count,) int64, a permutation when shuffling."""
        if not self.shuffle:  # the same every time
            return torch.arange(self.count)
        seed = mixed_seed(self.seed, self.epoch)
        return torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))


class BatchLoader:
    """Iterates over `CropData` in batches.

    A last incomplete training batch is dropped (batch norm needs company), unless it is the only one.
    With several processes (`world`), each takes its own part of every batch (number `rank`).
    """

    def __init__(
        self,
        data: CropData,
        batch_size: int,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise BadConfig(f"batch_size {batch_size} cannot be shared by {world} device(s).")
        self.data, self.batch_size = data, batch_size
        self.rank, self.world = rank, world
        self.sampler = EpochOrder(len(data), seed, shuffle)
        self.batch_sampler = None  # Lightning asks for one

    def __len__(self) -> int:
        if self.sampler.shuffle:
            return max(1, len(self.data) // self.batch_size)
        return -(-len(self.data) // self.batch_size)

    @property
    def crops(self) -> int:
        """How many crops an epoch has."""
        return min(len(self.data), len(self) * self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.indices().to(self.data.crops.device)
        for number in range(len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            if (
                self.sampler.shuffle and len(chosen) > self.world
            ):  # what is learnt together is equal
                chosen = chosen[: len(chosen) // self.world * self.world]
            # Of fewer crops than processes every one gets the first: the loss of nothing is no number.
            chosen = chosen[self.rank :: self.world] if self.rank < len(chosen) else chosen[:1]
            epoch = self.sampler.epoch if self.sampler.shuffle else 0
            seed = mixed_seed(self.sampler.seed, epoch, number)
            # Plain indexing would copy bytes one by one.
            crops = self.data.crops.index_select(0, chosen)
            target = self.data.target.index_select(0, chosen)
            own = mixed_seed(seed, self.rank) if self.rank else seed
            yield Batch(crops, target, own, seed, chosen)


def mixed_seed(*numbers: int) -> int:
    """One seed that follows from several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * _STREAM + number + 1) % 2**62
    return seed


def as_floats(voxels: Tensor, gain: float = 1.0) -> Tensor:
    """uint8 0..255 -> float32 0..1, divided by `gain`."""
    return voxels.float().div_(255.0 * gain)
