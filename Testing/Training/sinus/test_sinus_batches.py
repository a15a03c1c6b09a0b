"""What the sinus network is taught beyond single donors: other shapes in every batch, crypts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from paranasal_training.sinus.batches import SinusBatch, augmented
from paranasal_training.sinus.config import SinusAugmentConfig
from paranasal_training.sinus.healthy import Tissue
from paranasal_training.sinus.painting import cavity_of, paint

from ParanasalSSLLib.errors import BadConfig

EDGE = 32
STILL = SinusAugmentConfig(
    warped=0,
    rotation_deg=0,
    size=(1, 1),
    bend_mm=0,
    shift_voxels=0,
    log_gamma=0,
    noisy=0,
    without_other=0,
)


def ball() -> SinusBatch:
    """Four round dark sinuses, 8 voxels in radius, filled to the half, in bright tissue."""
    away = torch.arange(EDGE) - (EDGE - 1) / 2
    inside = (away[:, None, None] ** 2 + away[:, None] ** 2 + away**2 < 64).float()
    filled = inside * (away < 0)
    image = (1 - inside + 0.5 * filled).expand(4, 2, EDGE, EDGE, EDGE).clone()
    whole = torch.ones(4, EDGE, EDGE, EDGE)
    return SinusBatch(image, inside.expand(4, -1, -1, -1), filled.expand(4, -1, -1, -1), whole)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_changes_where_nothing_is_drawn() -> None:
    before, after = ball(), augmented(ball(), STILL, rng())
    for name in ("image", "cavity", "opacity", "valid"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name


def test_outlines_go_where_the_image_goes() -> None:
    config = replace(STILL, warped=1.0, rotation_deg=20.0, size=(0.9, 1.2), bend_mm=1.0)
    after = augmented(ball(), config, rng(1))
    seen = after.valid > 0
    expected = 1 - after.cavity + 0.5 * after.opacity
    assert torch.allclose(after.image[:, 0][seen], expected[seen], atol=1e-4)
    assert not after.image[:, 0][~seen].any() and not after.cavity[~seen].any()


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_sinus_becomes_as_much_larger_as_is_said(factor: float) -> None:
    config = replace(STILL, warped=1.0, size=(factor, factor))
    after = augmented(ball(), config, rng())
    ratio = after.cavity.sum() / ball().cavity.sum()
    assert float(ratio) == pytest.approx(factor**3, rel=0.05)
    assert bool((after.valid.mean() < 1) == (factor < 1)), "a smaller image ends inside the crop"


def test_only_some_samples_change_their_shape() -> None:
    config = replace(STILL, warped=0.5, size=(1.2, 1.2))
    changed = (augmented(ball(), config, rng(3)).cavity != ball().cavity).flatten(1).any(dim=1)
    assert 0 < int(changed.sum()) < 4


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(BadConfig, match="size"):
        SinusAugmentConfig(size=(1.2, 0.9))


@pytest.mark.parametrize("seed", range(4))
def test_crypts_of_molars_lie_under_the_floor_behind_and_are_no_disease(seed: int) -> None:
    away = np.stack(np.meshgrid(*[np.arange(48.0) - 23.5] * 3, indexing="ij"))
    cavity = cavity_of((16 - np.linalg.norm(away, axis=0)).astype(np.float32))
    tissue = Tissue(0.02, np.linspace(0.3, 0.9, 100), np.linspace(0.4, 0.8, 100))
    painting = paint(cavity, tissue, "clear", rng(seed), healthy=False, crypts=True)
    taken = np.argwhere(cavity.lumen & (painting.cavity < 0.5)) - np.array(cavity.lumen.shape) / 2
    assert len(taken) > 100 and not painting.opacity.any()
    assert taken[:, 1].mean() < 0 and taken[:, 2].mean() < 0, "behind and below"
    assert (painting.share[painting.cavity < 0.5] > 0.4)[cavity.lumen[painting.cavity < 0.5]].all()
