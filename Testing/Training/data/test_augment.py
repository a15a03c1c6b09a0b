"""Augmentation: reproducible, in mm, and the same numbers however it is computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from paranasal_training.data import augment
from paranasal_training.data.augment import Augmentation, changed_brightness, rotations, warp
from paranasal_training.data.config import AugmentConfig, ViewConfig
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadConfig


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_views_differ_in_brightness_which_can_be_off() -> None:
    crops = torch.rand(6, 1, 16, 16, 16, generator=seeded())
    still = AugmentConfig(probability=0.0, views=ViewConfig(0.0, 0.0, 0.0, 0.0))
    assert torch.allclose(Augmentation(still).view(crops, seeded(1)), crops)
    augmentation = Augmentation(AugmentConfig(probability=0.0))
    one, two = augmentation.view(crops, seeded(1)), augmentation.view(crops, seeded(2))
    assert one.min() >= 0 and one.max() <= 1
    means = (one.mean(dim=(1, 2, 3, 4)) - two.mean(dim=(1, 2, 3, 4))).abs()
    assert means.max() > 0.05
    darker = changed_brightness(crops, ViewConfig(1.0, 0.0, 0.0, 0.0), seeded(3))
    order = crops[0].flatten().argsort()
    assert (darker[0].flatten()[order].diff() >= 0).all(), "an exponent keeps the order"


def test_contrast_of_a_view_changes_about_the_crop_s_mean() -> None:
    crops = 0.5 + 0.1 * (torch.rand(40, 1, 8, 8, 8, generator=seeded()) - 0.5)
    changed = changed_brightness(crops, ViewConfig(0.0, 0.0, 0.0, 0.4), seeded(3))
    mean, spread = (f(crops.flatten(1), dim=1) for f in (torch.mean, torch.std))
    torch.testing.assert_close(changed.flatten(1).mean(dim=1), mean)
    factors = (changed.flatten(1).std(dim=1) / spread).log()
    assert factors.abs().max() <= 0.4 + 1e-3
    assert factors.min() < -0.3 and factors.max() > 0.3


def test_geometry_is_the_same_under_autocast() -> None:
    crops = torch.rand(4, 1, 16, 16, 16, generator=seeded())
    augmentation = Augmentation(AugmentConfig(probability=1.0, noise=0.0))
    plain, _ = augmentation(crops, seeded(1))
    with torch.autocast("cpu", torch.bfloat16):
        cast, _ = augmentation(crops, seeded(1))
    assert torch.equal(plain, cast)


def test_augmentation_follows_from_the_seed_and_can_be_off() -> None:
    crops = torch.rand(4, 1, 16, 16, 16, generator=seeded())
    augmentation = Augmentation(AugmentConfig())
    assert torch.equal(augmentation(crops, seeded(3))[0], augmentation(crops, seeded(3))[0])
    assert torch.equal(Augmentation(AugmentConfig(probability=0.0))(crops, seeded())[0], crops)


def test_warp_gives_what_grid_sample_gives_beyond_the_edges_too() -> None:
    volumes = torch.rand(11, 2, 32, 32, 32, generator=seeded())
    draws = torch.rand(11, 7, generator=seeded(1)) * 2 - 1
    linear = rotations(draws[:, :3] * math.pi) * (1 + 0.3 * draws[:, 3, None, None])
    matrices = torch.cat([linear, 12 * draws[:, 4:, None]], dim=2)
    bend = 3 * torch.rand(11, 3, 32, 32, 32, generator=seeded(2))
    for bent in (None, bend):
        by_grid = augment._warp_by_grid(volumes, matrices, bent)
        assert torch.allclose(warp(volumes, matrices, bent), by_grid, atol=1e-5)


def test_a_bend_says_where_each_voxel_comes_from() -> None:
    bend = torch.zeros(1, 3, 17, 17, 17)
    bend[:, 1] = 2.0
    moved = warp(lamp(8, 8, 8), torch.eye(3, 4)[None], bend)
    assert brightest(moved) == (8, 6, 8)


def test_a_warp_that_moves_nothing_changes_nothing() -> None:
    volumes = torch.rand(2, 1, 16, 16, 16, generator=seeded())
    assert torch.equal(warp(volumes, torch.eye(3, 4).expand(2, 3, 4)), volumes)


def test_changes_are_the_same_in_mm_at_both_resolutions() -> None:
    smooth = F.interpolate(
        torch.rand(6, 1, 5, 5, 5, generator=seeded()), (64,) * 3, mode="trilinear"
    )
    augmentation = Augmentation(AugmentConfig(probability=1.0, noise=0.0))
    fine = augmentation(smooth, seeded(1))[0]
    coarse = augmentation(F.avg_pool3d(smooth, 2), seeded(1))[0]
    assert (F.avg_pool3d(fine, 2) - coarse).abs().mean() < 0.01


def test_noise_is_as_strong_as_drawn_and_spares_the_crops_that_drew_none() -> None:
    crops = torch.full((400, 1, 8, 8, 8), 0.5)
    config = AugmentConfig(0.5, scale=(1.0, 1.0), rotation_deg=0.0, translation_mm=0.0, noise=0.2)
    noisy = Augmentation(config)(crops, seeded())[0]
    spread = noisy.flatten(1).std(dim=1)
    chosen = spread > 0
    assert 0.4 < chosen.float().mean() < 0.6
    assert spread.max() < 0.23
    assert abs(float(spread[chosen].mean()) - 0.1) < 0.02


def test_the_given_crops_stay_as_they_are() -> None:
    crops = torch.rand(4, 1, 16, 16, 16, generator=seeded())
    before = crops.clone()
    Augmentation(AugmentConfig(probability=1.0))(crops, seeded(1), crops)
    assert torch.equal(crops, before)


@pytest.mark.parametrize("values", [{"probability": 2.0}, {"scale": (1.2, 0.8)}, {"noise": -1.0}])
def test_impossible_augmentation_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadConfig):
        AugmentConfig(**values)  # type: ignore[arg-type]
