"""Batches, augmentation and corruption: reproducible, and doing what their numbers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paranasal_training.augment import Augmentation, AugmentConfig, rotations, warp
from paranasal_training.corruption import CoarseNoiseConfig, add_coarse_noise
from paranasal_training.data import BatchLoader, CropData, as_floats, load_crops
from paranasal_training.store import CropStore

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


def lamp(i: int, j: int, k: int, edge: int = 17) -> torch.Tensor:
    volume = torch.zeros(1, 1, edge, edge, edge)
    volume[0, 0, i, j, k] = 1.0
    return volume


def brightest(volume: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unravel_index(int(volume.argmax()), volume.shape[-3:]))


def test_warp_moves_along_the_axes_by_voxels() -> None:
    """Matrices say, for each output voxel, where it comes from."""
    matrix = torch.eye(3, 4)[None]
    matrix[0, :, 3] = torch.tensor([2.0, 0.0, -3.0])
    assert brightest(warp(lamp(8, 8, 8), matrix)) == (6, 8, 11)


def test_warp_turns_about_the_axis_that_is_named() -> None:
    quarter = rotations(torch.tensor([[torch.pi / 2, 0.0, 0.0]]))
    matrix = torch.cat([quarter, torch.zeros(1, 3, 1)], dim=2)
    moved = brightest(warp(lamp(10, 12, 8), matrix))
    assert moved[0] == 10, "axis 0 stays under a turn about itself"
    assert moved in {(10, 8, 12), (10, 8, 4)}


def test_target_follows_the_geometry_and_gets_no_noise() -> None:
    crops = torch.rand(8, 1, 16, 16, 16, generator=seeded())
    augmentation = Augmentation(AugmentConfig(probability=1.0, noise=0.0))
    changed, target = augmentation(crops, seeded(1), crops.clone())
    assert target is not None
    assert torch.allclose(changed, target)
    assert not torch.allclose(changed, crops)
    noisy, target = Augmentation(AugmentConfig(1.0, noise=0.3))(crops, seeded(1), crops.clone())
    assert target is not None
    assert not torch.allclose(noisy, target)


def test_augmentation_follows_from_the_seed_and_can_be_off() -> None:
    crops = torch.rand(4, 1, 16, 16, 16, generator=seeded())
    augmentation = Augmentation(AugmentConfig())
    assert torch.equal(augmentation(crops, seeded(3))[0], augmentation(crops, seeded(3))[0])
    assert torch.equal(Augmentation(AugmentConfig(probability=0.0))(crops, seeded())[0], crops)


def test_coarse_noise_paints_shapes_of_one_grey_and_spares_the_rest() -> None:
    crops = torch.full((32, 1, 24, 24, 24), 0.5)
    config = CoarseNoiseConfig(probability=1.0, bright=(0.9, 0.9), dark_share=0.0, grain=0.0)
    painted = add_coarse_noise(crops, config, seeded())
    share = (painted > 0.85).float().mean()
    untouched = (painted - crops).abs().lt(1e-2).float().mean()
    assert 0.05 < share < 0.6
    assert untouched > 0.3
    assert torch.equal(painted, add_coarse_noise(crops, config, seeded()))


def test_coarse_noise_is_off_by_default_as_in_the_paper() -> None:
    crops = torch.rand(2, 1, 8, 8, 8)
    assert add_coarse_noise(crops, CoarseNoiseConfig(), seeded()) is crops


@pytest.mark.parametrize("values", [{"probability": 2.0}, {"scale": (1.2, 0.8)}, {"noise": -1.0}])
def test_impossible_augmentation_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadConfig):
        AugmentConfig(**values)  # type: ignore[arg-type]
