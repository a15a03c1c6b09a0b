"""Crops in memory and the order in which training sees them.

A whole split fits in memory as bytes (0.26 MB a crop), so there are no worker processes: a batch is
one indexing operation. Order and augmentation follow from (seed, epoch, batch) alone, so that a run
that was interrupted goes on exactly as it would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ParanasalSSLLib.errors import BadConfig

from .store import CropStore

_STREAM = 1_000_003  # separates the random streams of neighbouring seeds, epochs and batches


class Batch(NamedTuple):
    """crops: uint8 (B, 1, 64, 64, 64); target: uint8 of that shape, or int64 labels (B,), or none.

    seed: for everything random that is done to this batch.
    """

    crops: Tensor
    target: Tensor
    seed: int


@dataclass(frozen=True, eq=False)
class CropData:
    """Crops with one target each, on one device."""

    crops: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.crops)


def load_crops(
    store: CropStore, rows: np.ndarray, target: np.ndarray | None, device: str = "cpu"
) -> CropData:
    """Copy rows of a store to `device`.

    Args:
        store: where the crops are.
        rows: (n,) row numbers.
        target: (n,) labels, uint8 (n, 64, 64, 64) maps, or None.
        device: "cpu" or "cuda".

    Raises:
        BadConfig: there are no such rows.
    """
    if len(rows) == 0:
        raise BadConfig(f"{store.folder} has no rows for this stage. Simulate a larger cohort.")
    crops = torch.from_numpy(store.crops[rows]).unsqueeze(1)
    if target is None:
        target = np.zeros(len(rows), np.int64)
    goal = torch.from_numpy(np.ascontiguousarray(target))
    if goal.ndim == 4:
        goal = goal.unsqueeze(1)
    return CropData(crops.to(device), goal.to(device))


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
        if not self.shuffle:
            return torch.arange(self.count)
        seed = mixed_seed(self.seed, self.epoch)
        return torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))


class BatchLoader:
    """Iterates over `CropData` in batches.

    A last incomplete training batch is dropped (batch norm needs company), unless it is the only one.
    """

    def __init__(self, data: CropData, batch_size: int, seed: int, shuffle: bool) -> None:
        if batch_size < 1:
            raise BadConfig(f"batch_size is 1 or more, not {batch_size}.")
        self.data, self.batch_size = data, batch_size
        self.sampler = EpochOrder(len(data), seed, shuffle)
        self.batch_sampler = None  # Lightning asks for one

    def __len__(self) -> int:
        if self.sampler.shuffle:
            return max(1, len(self.data) // self.batch_size)
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.indices().to(self.data.crops.device)
        for number in range(len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            seed = mixed_seed(self.sampler.seed, self.sampler.epoch, number)
            yield Batch(self.data.crops[chosen], self.data.target[chosen], seed)


def mixed_seed(*numbers: int) -> int:
    """One seed that follows from several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * _STREAM + number + 1) % 2**62
    return seed


def as_floats(voxels: Tensor, gain: float = 1.0) -> Tensor:
    """uint8 0..255 -> float32 0..1, divided by `gain`."""
    return voxels.float().div_(255.0 * gain)
