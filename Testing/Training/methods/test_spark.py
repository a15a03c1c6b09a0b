"""SparK's task: which patches are masked, and that the loss is that of the right voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.data.config import AugmentConfig
from paranasal_training.methods import make_method
from paranasal_training.methods.parts.masks import (
    at_edge,
    draw_visible,
    from_patches,
    to_patches,
)
from paranasal_training.methods.spark import Options, masked_error
from spark_networks import WIDTHS, MakeSample, all_configs, build, few_visible, noise, seeded
from torch import Tensor, nn

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig

# ------------------------------------------------------------------------------------- the task


@pytest.mark.parametrize(
    ("options", "masked"),
    [
        (Options(), 307),
        (Options(masked_fraction=0.4), 205),
        (Options(masked_fraction=0.8), 410),
        (Options(patch_mm=16), 38),
        (Options(patch_mm=16, masked_fraction=0.01), 1),
    ],
)
def test_share_of_masked_patches_is_exact_in_each_crop(options: Options, masked: int) -> None:
    visible = draw_visible(5, options, seeded())
    assert visible.shape == (5, *[64 // options.patch_mm] * 3)
    assert [int(n) for n in (~visible).sum(dim=(1, 2, 3))] == [masked] * 5
    assert not torch.equal(visible[0], visible[1])
    assert torch.equal(visible, draw_visible(5, options, seeded()))
    assert not torch.equal(visible, draw_visible(5, options, seeded(1)))


def test_masked_positions_get_the_embedding_of_their_level(tiny: EncoderConfig) -> None:
    part: Any = build(tiny).densify[0]
    width = tiny.widths[0]
    assert 0 < part.embedding.std() < 0.05
    with torch.no_grad():
        part.embedding.copy_(torch.arange(1.0, width + 1))
        if part.projection.bias is not None:
            part.projection.bias.zero_()
        nn.init.dirac_(part.projection.weight)
    seen = few_visible()[:, None].expand(2, width, 8, 8, 8)
    x = torch.where(seen, torch.randn(2, width, 8, 8, 8, generator=seeded()), 0)
    dense = part.eval()(few_visible(), x)
    expected = torch.where(seen, x, part.embedding.view(width, 1, 1, 1))
    torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-5)


def test_patches_are_cut_and_put_back() -> None:
    volumes = torch.arange(2 * 4**3.0).view(2, 1, 4, 4, 4)
    patches = to_patches(volumes, 2)
    assert patches.shape == (2, 2, 2, 2, 8)
    assert torch.equal(patches[1, 1, 0, 1], volumes[1, 0, 2:4, 0:2, 2:4].flatten())
    assert torch.equal(from_patches(patches, 2), volumes)


def test_loss_by_hand() -> None:
    """Two patches of 2^3 of which one is visible: (0, 0, 0, 0, 4, 4, 4, 4) becomes -1 and 1."""
    crops = torch.zeros(1, 1, 2, 2, 4)
    crops[..., 1, :, :2] = 4.0
    crops[..., 2:] = 7.0
    crops = torch.cat([crops, torch.zeros(1, 1, 2, 2, 4)], dim=3)
    crops = torch.cat([crops, torch.zeros(1, 1, 2, 4, 4)], dim=2)
    visible = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    visible[0, 0, 0, 0] = False
    predicted = torch.full((1, 1, 4, 4, 4), 0.5)
    expected = (4 * 1.5**2 + 4 * 0.5**2) / 8
    assert masked_error(predicted, crops, visible).item() == pytest.approx(expected, rel=1e-5)


def test_visible_patches_do_not_count() -> None:
    crops = torch.rand(2, 1, 32, 32, 32, generator=seeded())
    predicted = torch.rand(2, 1, 32, 32, 32, generator=seeded(1), requires_grad=True)
    visible = draw_visible(2, Options(), seeded())
    loss = masked_error(predicted, crops, visible)
    loss.backward()
    assert predicted.grad is not None
    seen = at_edge(visible, 32)
    assert not predicted.grad[seen].any() and predicted.grad[~seen].all()
    other = torch.where(seen, crops + 1, crops)
    assert masked_error(predicted, other, visible).item() == loss.item()


def test_brightness_and_contrast_of_a_patch_are_not_to_be_predicted() -> None:
    crops = torch.rand(2, 1, 32, 32, 32, generator=seeded())
    predicted, visible = torch.zeros_like(crops), draw_visible(2, Options(), seeded())
    loss = masked_error(predicted, crops, visible)
    assert loss.item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(masked_error(predicted, 3 * crops - 1, visible), loss)


def test_a_flat_patch_gives_no_error_to_learn_from() -> None:
    flat = torch.full((1, 1, 32, 32, 32), 0.3)
    visible = draw_visible(1, Options(), seeded())
    assert masked_error(torch.zeros_like(flat), flat, visible).item() < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"patch_mm": 0},
        {"patch_mm": 6},
        {"patch_mm": 64},
        {"patch_mm": 8.0},
        {"patch_mm": "8"},
        {"patch_mm": 2},  # one voxel at 2 mm
        {"masked_fraction": 0},
        {"masked_fraction": 1},
        {"masked_fraction": 60},
        {"masked_fraction": float("nan")},
        {"masked_fraction": "0.6"},
        {"masked_fraction": 0.05, "patch_mm": 32},  # 0 of 8
        {"masked_fraction": 0.9995},  # all 512
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], tiny: EncoderConfig) -> None:
    with pytest.raises(BadConfig, match=f"of spark: {next(iter(options))}"):
        make_method("spark", tiny, options)


def test_encoder_with_experts_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"plain convolutions.*experts"):
        build(EncoderConfig(WIDTHS, voxels=32, pool=False, experts=2))


def test_validation_takes_crops_as_they_are(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(tiny)
    seen: list[Tensor] = []
    rebuild = method.reconstruct

    def reconstruct(crops: Tensor, visible: Tensor) -> Tensor:
        seen.append(crops)
        return rebuild(crops, visible)

    monkeypatch.setattr(method, "reconstruct", reconstruct)
    always = AugmentConfig(probability=1.0)
    for training in (True, False):
        method.loss(make_sample(training, always))
    crops = make_sample().crops
    assert not torch.equal(seen[0], crops) and torch.equal(seen[1], crops)


def test_noise_is_on_what_is_seen_and_not_on_what_is_predicted(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that says 0 everywhere: the error is that of clean patches, by hand."""
    method = build(tiny)
    seen: list[Tensor] = []
    monkeypatch.setattr(
        method, "reconstruct", lambda crops, _: seen.append(crops) or torch.zeros_like(crops)
    )
    still = AugmentConfig(1.0, scale=(1, 1), rotation_deg=0, translation_mm=0, noise=0.25)
    sample = make_sample(augment=still)
    loss = method.loss(sample)
    assert (seen[0] - sample.crops).std() > 0.02
    again = make_sample(augment=still)
    again.augmented()
    visible = draw_visible(4, Options(), again.generator)
    hidden = to_patches(sample.crops, 4)[~visible]
    varying = (hidden.var(dim=1, correction=0) > 1e-3).float().mean()
    assert loss.item() == pytest.approx(varying.item(), abs=0.01)


@all_configs
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_gradients_are_finite_at_every_resolution(config: EncoderConfig, bf16: bool) -> None:
    method = build(config)
    visible = draw_visible(2, Options(), seeded())
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        rebuilt = method.reconstruct(noise(config), visible)
    assert rebuilt.shape == (2, 1, *[config.voxels] * 3)
    masked_error(rebuilt, noise(config), visible).backward()
    for name, weight in method.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name


def test_loss_falls_in_a_few_steps(
    tiny: EncoderConfig, losses_of: Callable[..., list[float]]
) -> None:
    losses = losses_of(15, build(tiny))
    assert losses[-1] < 0.9 * losses[0]
