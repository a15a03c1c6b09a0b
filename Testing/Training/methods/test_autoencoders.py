"""AE and DAE: what goes in, what is wanted, and that they learn it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.data.config import AugmentConfig
from paranasal_training.methods import Method, Sample, make_method
from torch import Tensor

from ParanasalSSLLib.model.config import EncoderConfig

MakeSample = Callable[..., Sample]
NOISY = AugmentConfig(probability=1.0, scale=(1, 1), rotation_deg=0, translation_mm=0, noise=0.25)


def record_pairs(method: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """(input, target) of every loss from now on."""
    pairs: list[tuple[Tensor, Tensor]] = []
    compute = method.difference

    def difference(given: Tensor, wanted: Tensor) -> Tensor:
        pairs.append((given, wanted))
        return compute(given, wanted)

    monkeypatch.setattr(method, "difference", difference)
    return pairs


def build(name: str, tiny: EncoderConfig) -> Method:
    torch.manual_seed(0)
    return make_method(name, tiny, {})


def test_loss_is_the_mean_absolute_difference(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    """A decoder whose last layer says 0.25 everywhere: no sigmoid, mean |0.25 - x|."""
    method: Any = build("ae", tiny)
    torch.nn.init.zeros_(method.decoder.head.weight)
    torch.nn.init.constant_(method.decoder.head.bias, 0.25)
    sample = make_sample(training=False)
    expected = (0.25 - sample.crops).abs().mean()
    assert method.loss(sample).item() == pytest.approx(expected.item(), rel=1e-5)


def test_ae_reproduces_exactly_what_it_is_given(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build("ae", tiny)
    pairs = record_pairs(method, monkeypatch)
    sample = make_sample(augment=NOISY)
    method.loss(sample)
    ((given, wanted),) = pairs
    assert torch.equal(given, wanted) and not torch.equal(given, sample.crops)


@pytest.mark.parametrize("training", [True, False])
def test_dae_has_noise_on_its_input_only_and_always(
    training: bool,
    tiny: EncoderConfig,
    make_sample: MakeSample,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = build("dae", tiny)
    pairs = record_pairs(method, monkeypatch)
    sample = make_sample(training=training, augment=NOISY)
    method.loss(sample)
    ((given, wanted),) = pairs
    noise = given - wanted
    assert torch.allclose(wanted, sample.crops, atol=1e-5)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    for each in noise:
        assert each.std().item() == pytest.approx(0.6, abs=0.02)


def test_dae_target_follows_the_geometry(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build("dae", tiny)
    pairs = record_pairs(method, monkeypatch)
    sample = make_sample(augment=AugmentConfig(probability=1.0, scale=(0.5, 0.5)))
    method.loss(sample)
    ((given, wanted),) = pairs
    assert not torch.allclose(wanted, sample.crops, atol=0.1)
    assert (given - wanted).std().item() == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("name", ["ae", "dae"])
def test_loss_falls_in_a_few_steps(
    name: str, tiny: EncoderConfig, losses_of: Callable[..., list[float]]
) -> None:
    losses = losses_of(6, build(name, tiny))
    assert losses[-1] < 0.8 * losses[0]
