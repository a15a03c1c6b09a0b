"""LARS and the schedules against hand-computed values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from paranasal_training.methods import method_class
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.runs.optimizers import LARS, learning_rate_factor, make_optimizer

from ParanasalSSLLib.errors import BadConfig


def test_lars_step_is_in_proportion_to_the_weights() -> None:
    """w = (3, 4), g = (0, 2): ratio = 0.001 * 5 / (2 + 0.1 * 5) = 0.002."""
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([0.0, 2.0])
    LARS([weight], lr=0.5, weight_decay=0.1, trust=1e-3).step()
    step = 0.5 * 0.002 * torch.tensor([0.3, 2.4])
    assert torch.allclose(weight.detach(), torch.tensor([3.0, 4.0]) - step)


def test_lars_moves_zeros_plainly_and_skips_vectors_on_request() -> None:
    zero = torch.nn.Parameter(torch.zeros(2))
    zero.grad = torch.ones(2)
    LARS([zero], lr=0.1, weight_decay=0.0).step()
    assert torch.allclose(zero.detach(), torch.full((2,), -0.1))
    bias = torch.nn.Parameter(torch.ones(2))
    bias.grad = torch.ones(2)
    LARS([bias], lr=0.1, weight_decay=0.5, skip_vectors=True).step()
    assert torch.allclose(bias.detach(), torch.full((2,), 0.9))


def test_lars_momentum_adds_up() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = LARS([weight], lr=1.0, momentum=0.5, weight_decay=0.0, skip_vectors=True)
    for _ in range(2):
        weight.grad = torch.ones(1)
        optimizer.step()
    assert weight.item() == pytest.approx(-1.0 - 1.5)


def test_lars_of_byol_and_simclr_keeps_momentum_and_leaves_biases_plain() -> None:
    """Bias 1 with gradients of 1: steps of 0.1, then 0.1 * (1 + 0.9), no decay."""
    for method in ("byol", "simclr"):
        config = replace(method_class(method).recipe.optimizer, lr=0.1, warmup_epochs=0.0)
        bias = torch.nn.Parameter(torch.ones(1))
        optimizer, _ = make_optimizer(config, [bias], epochs=500, steps_per_epoch=10**6)
        for _ in range(2):
            bias.grad = torch.ones(1)
            optimizer.step()
        assert bias.item() == pytest.approx(1 - 0.1 - 0.19)
    assert method_class("residual").recipe.optimizer.momentum is None


def test_steady_weights_keep_their_rate_where_the_others_fall_to_zero() -> None:
    falling, steady = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    config = OptimizerConfig("sgd", 0.1, schedule="cosine", momentum=0.0)
    optimizer, schedule = make_optimizer(config, [falling, steady], 2, 5, [steady])
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        falling.grad = steady.grad = torch.ones(1)
        optimizer.step()
        schedule.step()
    assert [rate[1] for rate in rates] == pytest.approx([0.1] * 10)
    assert rates[5][0] == pytest.approx(0.05)
    assert steady.item() == pytest.approx(-1.0)
    assert falling.item() == pytest.approx(-sum(rate[0] for rate in rates))


def test_a_momentum_of_one_or_more_is_refused() -> None:
    with pytest.raises(BadConfig, match="momentum"):
        OptimizerConfig(name="sgd", momentum=1.0)


def test_what_an_optimizer_would_not_use_is_refused() -> None:
    with pytest.raises(BadConfig, match="momentum is for sgd and lars; adam has its own"):
        OptimizerConfig(momentum=0.9)
    with pytest.raises(BadConfig, match="plain_vectors is for lars, not for sgd"):
        OptimizerConfig(name="sgd", plain_vectors=True)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factor = learning_rate_factor(warmup=4, steps=12)
    assert [factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factor(8) == pytest.approx(0.5)
    assert factor(12) == pytest.approx(0.0)
    assert learning_rate_factor(warmup=0, steps=None)(1000) == 1.0


@pytest.mark.parametrize("name", ["adam", "adamw", "lars"])
def test_every_named_optimizer_goes_downhill(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    config = OptimizerConfig(name=name, lr=0.1)  # type: ignore[arg-type]
    optimizer, _ = make_optimizer(config, [weight], epochs=1, steps_per_epoch=10)
    before = float(weight.square().sum())
    for _ in range(10):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert float(weight.square().sum()) < before


def test_impossible_learning_rate_is_refused() -> None:
    with pytest.raises(BadConfig, match="lr"):
        OptimizerConfig(lr=0.0)
