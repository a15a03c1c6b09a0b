"""LARS, and the learning rate over the course of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017).

    Each parameter tensor w with gradient g moves by lr * ratio * (g + decay * w), where
    ratio = trust * |w| / (|g| + decay * |w|), so that no layer takes a step out of proportion to its
    weights. With `skip_vectors`, biases and norms' parameters take plain steps without decay.

    Args:
        parameters: what to optimise.
        lr: learning rate (the paper: 0.2).
        momentum: of the steps (the paper: 0).
        weight_decay: the paper: 1e-6.
        trust: trust coefficient (the paper: 1e-3).
        skip_vectors: treat tensors of one dimension plainly (the paper's code does not).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.2,
        momentum: float = 0.0,
        weight_decay: float = 1e-6,
        trust: float = 1e-3,
        skip_vectors: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "skip_vectors": skip_vectors,
        }
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure` computes the loss anew, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        direction = parameter.grad
        assert direction is not None
        if not (group["skip_vectors"] and parameter.ndim < 2):
            direction = self._scaled(parameter, direction, group)
        if group["momentum"]:
            state = self.state[parameter]
            velocity = state.setdefault("velocity", torch.zeros_like(parameter))
            direction = velocity.mul_(group["momentum"]).add_(direction)
        parameter.add_(direction, alpha=-group["lr"])

    @staticmethod
    def _scaled(parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        decay = group["weight_decay"]
        size, slope = parameter.norm(), gradient.norm()
        ratio = group["trust"] * size / (slope + decay * size)
        # A tensor of zeros (a fresh bias), or one without gradient, is moved plainly.
        ratio = torch.where((size > 0) & (slope > 0), ratio, torch.ones_like(ratio))
        return (gradient + decay * parameter) * ratio


def warmup_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step: linear rise over `warmup`, then cosine to 0."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
