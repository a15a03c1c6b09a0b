"""Batches and corruption: reproducible, and doing what their numbers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paranasal_training.data.batches import BatchLoader, CropData, as_floats, load_crops
from paranasal_training.data.config import CoarseNoiseConfig
from paranasal_training.data.corruption import add_coarse_noise
from paranasal_training.data.store import CropStore

from ParanasalSSLLib.errors import BadConfig


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int) -> CropData:
    return CropData(
        torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1, 1), torch.arange(count)
    )


def test_every_crop_comes_once_an_epoch_and_in_another_order_the_next() -> None:
    loader = BatchLoader(numbered(12), batch_size=4, seed=0, shuffle=True)
    epochs = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        epochs.append([int(i) for batch in loader for i in batch.target])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]


def test_an_epoch_is_the_same_whenever_it_is_run() -> None:
    """A resumed run sees what the interrupted one would have seen."""
    first, second = (BatchLoader(numbered(12), 4, seed=5, shuffle=True) for _ in range(2))
    for loader in (first, second):
        loader.sampler.set_epoch(3)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.target, other.target)
        assert one.seed == other.seed


def test_validation_keeps_order_and_incomplete_batch() -> None:
    loader = BatchLoader(numbered(10), batch_size=4, seed=0, shuffle=False)
    assert [len(batch.target) for batch in loader] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.target for batch in loader]), torch.arange(10))


def test_crops_without_rows_are_refused(toy_store: CropStore) -> None:
    with pytest.raises(BadConfig, match="no rows"):
        load_crops(toy_store, np.array([], int), None)


def test_bytes_become_floats_and_gain_is_taken_back() -> None:
    voxels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert torch.allclose(as_floats(voxels), torch.tensor([0.0, 0.2, 1.0]))
    assert torch.allclose(as_floats(voxels, gain=2.0), torch.tensor([0.0, 0.1, 0.5]))


def test_coarse_noise_paints_shapes_of_one_grey_and_spares_the_rest() -> None:
    crops = torch.full((32, 1, 24, 24, 24), 0.5)
    config = CoarseNoiseConfig(probability=1.0, bright=(0.9, 0.9), dark_fraction=0.0, grain=0.0)
    painted = add_coarse_noise(crops, config, seeded())
    share = (painted > 0.85).float().mean()
    untouched = (painted - crops).abs().lt(1e-2).float().mean()
    assert 0.05 < share < 0.6
    assert untouched > 0.3
    assert torch.equal(painted, add_coarse_noise(crops, config, seeded()))


def test_coarse_noise_is_off_by_default_as_in_the_paper() -> None:
    crops = torch.rand(2, 1, 8, 8, 8)
    assert add_coarse_noise(crops, CoarseNoiseConfig(), seeded()) is crops
