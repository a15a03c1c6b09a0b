"""Masked autoencoder: what it sees, what counts, and the loss by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.data.config import AugmentConfig
from paranasal_training.methods import Method, Sample, make_method, method_class
from paranasal_training.methods.mae import Options, hidden_error
from paranasal_training.methods.parts.masks import at_edge, draw_visible
from torch import Tensor, nn

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig

MakeSample = Callable[..., Sample]


def build(config: EncoderConfig, **options: Any) -> Any:
    torch.manual_seed(0)
    return make_method("mae", config, options)


class Seen(nn.Module):
    """An encoder that remembers what it is given."""

    def forward(self, crops: Tensor) -> Tensor:
        self.crops = crops
        return crops


def test_error_of_the_hidden_half_by_hand() -> None:
    """Two blocks of (0, 2) and (4, 6): mean 3, deviation sqrt(5); the second is hidden."""
    crops = torch.tensor([0.0, 2.0, 4.0, 6.0]).repeat_interleave(2).view(1, 1, 2, 2, 2)
    visible = torch.tensor([True, False]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    predicted = torch.full_like(crops, 0.5)
    expected = ((1 / 5**0.5 - 0.5) ** 2 + (3 / 5**0.5 - 0.5) ** 2) / 2
    assert hidden_error(predicted, crops, visible).item() == pytest.approx(expected, rel=1e-4)


def test_three_quarters_are_hidden_behind_the_crop_s_mean(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build(tiny)
    method.encoder, method.decoder = Seen(), nn.Identity()
    crops = make_sample().crops
    visible = draw_visible(4, Options(), torch.Generator().manual_seed(0))
    assert visible.shape == (4, 4, 4, 4) and (~visible).sum(dim=(1, 2, 3)).tolist() == [48] * 4
    method.reconstruct(crops, visible)
    shown = at_edge(visible, 32)
    assert torch.equal(method.encoder.crops[shown], crops[shown])
    for seen, crop, mask in zip(method.encoder.crops, crops, shown, strict=True):
        torch.testing.assert_close(seen[~mask], crop.mean().expand(seen[~mask].shape))


def test_only_hidden_voxels_teach(tiny: EncoderConfig) -> None:
    crops = torch.rand(2, 1, 32, 32, 32)
    predicted = torch.zeros_like(crops, requires_grad=True)
    visible = draw_visible(2, Options(), torch.Generator().manual_seed(0))
    loss = hidden_error(predicted, crops, visible)
    assert loss.item() == pytest.approx(1.0, abs=0.02), "variance of standardised crops"
    loss.backward()
    assert predicted.grad is not None
    shown = at_edge(visible, 32)
    assert not predicted.grad[shown].any() and predicted.grad[~shown].all()


def test_there_is_no_noise_on_what_it_sees_or_predicts(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen = build(tiny), []
    monkeypatch.setattr(
        method, "reconstruct", lambda crops, _: seen.append(crops) or torch.zeros_like(crops)
    )
    sample = make_sample(augment=AugmentConfig(1.0, (1, 1), 0.0, 0.0, noise=0.3))
    method.loss(sample)
    torch.testing.assert_close(seen[0], sample.crops)


def test_recipe_is_the_benchmark_s() -> None:
    optimizer = method_class("mae").recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum) == ("sgd", 1e-2, 0.99)
    assert (optimizer.weight_decay, optimizer.clip_norm) == (3e-5, 12.0)
    assert (Options().patch_mm, Options().masked_fraction) == (16, 0.75)


def test_bad_options_are_refused(tiny: EncoderConfig) -> None:
    for options in ({"patch_mm": 5}, {"patch_mm": 2}, {"masked_fraction": 0}):
        with pytest.raises(BadConfig, match=f"of mae: {next(iter(options))}"):
            build(tiny, **options)


def test_loss_falls_in_a_few_steps(
    tiny: EncoderConfig, losses_of: Callable[[int, Method], list[float]]
) -> None:
    losses = losses_of(15, build(tiny))
    assert losses[-1] < 0.9 * losses[0]
