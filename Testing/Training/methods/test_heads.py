"""The parts that methods share."""

from __future__ import annotations

import pytest
import torch
from paranasal_training.methods.parts.heads import follow, frozen_copy, mlp, spread
from torch import nn


def kinds(network: nn.Module) -> list[str]:
    return [type(part).__name__ for part in network.children()]


def test_mlp_has_norm_and_relu_between_its_layers_only() -> None:
    assert kinds(mlp(4, 8, 2)) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert kinds(mlp(4, 8, 2, norm=False)) == ["Linear", "ReLU", "Linear"]
    assert mlp(4, 8, 2)(torch.randn(3, 4)).shape == (3, 2)


def test_target_moves_a_hundredth_of_the_way() -> None:
    online = nn.Linear(2, 1)
    target = frozen_copy(online)
    with torch.no_grad():
        target.weight.copy_(torch.tensor([[1.0, -2.0]]))
        online.weight.copy_(torch.tensor([[2.0, 8.0]]))
    follow(target, online, momentum=0.99)
    assert torch.allclose(target.weight, torch.tensor([[1.01, -1.9]]), atol=1e-6)
    assert torch.equal(online.weight, torch.tensor([[2.0, 8.0]]))


def test_target_keeps_its_own_batch_statistics() -> None:
    online = nn.BatchNorm1d(2)
    target = frozen_copy(online)
    online(torch.randn(8, 2) + 5)
    follow(target, online, momentum=0.5)
    assert torch.equal(target.running_mean, torch.zeros(2))


def test_frozen_copy_shares_nothing_and_needs_no_gradient() -> None:
    online = nn.Linear(2, 1)
    target = frozen_copy(online)
    assert torch.equal(target.weight, online.weight)
    assert target.weight.data_ptr() != online.weight.data_ptr()
    assert not any(weight.requires_grad for weight in target.parameters())
    assert all(weight.requires_grad for weight in online.parameters())


def test_spread_is_one_everywhere_and_zero_where_all_point_one_way() -> None:
    """By hand: (1, 0), (-1, 0), (0, 1), (0, -1) have a deviation of sqrt(1/2) on both axes."""
    cross = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 5.0], [0.0, -1.0]])
    assert spread(cross).item() == pytest.approx(1.0)
    assert spread(torch.tensor([[3.0, 4.0], [6.0, 8.0]])).item() == pytest.approx(0.0)
    assert spread(torch.randn(4000, 64)).item() == pytest.approx(1.0, abs=0.02)
    assert spread(torch.ones(1, 8)).item() == 1.0
