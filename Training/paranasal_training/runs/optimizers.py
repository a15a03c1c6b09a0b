"""Optimisers by name, LARS, and the learning rate over the course of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from paranasal_training.runs.config import OptimizerConfig


def make_optimizer(
    config: OptimizerConfig,
    parameters: Sequence[Tensor],
    epochs: int,
    steps_per_epoch: int,
    steady: Iterable[Tensor] = (),
) -> tuple[Optimizer, LambdaLR]:
    """The optimiser and its schedule, which is to be stepped once a batch.

    Args:
        config: which one, and its learning rate.
        parameters: what to optimise.
        epochs, steps_per_epoch: of the whole run.
        steady: those of the parameters whose learning rate stays where the warm-up has led it.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    steps = epochs * steps_per_epoch if config.schedule == "cosine" else None
    groups, factors = [], []
    apart = {id(weight) for weight in steady}
    for is_steady in (False, True):
        chosen = [weight for weight in parameters if (id(weight) in apart) == is_steady]
        if chosen:
            groups.append({"params": chosen})
            factors.append(learning_rate_factor(warmup, None if is_steady else steps))
    optimizer = _optimizer(config, groups)
    return optimizer, LambdaLR(optimizer, factors)


def _optimizer(config: OptimizerConfig, parameters: list[dict[str, Any]]) -> Optimizer:
    lr, decay = config.lr, config.weight_decay
    if config.name == "lars":
        momentum = config.momentum or 0.0
        return LARS(parameters, lr, momentum, decay, skip_vectors=config.plain_vectors)
    if config.name == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(parameters, lr, momentum, weight_decay=decay)
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=decay, fused=True)
    return torch.optim.Adam(parameters, lr, weight_decay=decay, fused=True)


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017).

    Each parameter tensor w with gradient g moves by lr * ratio * (g + decay * w), where
    ratio = trust * |w| / (|g| + decay * |w|), so that no layer takes a step out of proportion to its
    weights. With `skip_vectors`, biases and norms' parameters take plain steps without decay.

    Args:
        parameters: what to optimise, or groups of it.
        lr: learning rate (the paper: 0.2).
        momentum: of the steps (the paper: 0).
        weight_decay: the paper: 1e-6.
        trust: trust coefficient (the paper: 1e-3).
        skip_vectors: treat tensors of one dimension plainly (the paper's code does not).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
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


def learning_rate_factor(warmup: int, steps: int | None) -> Callable[[int], float]:
    """Factor of the learning rate at each step.

    Args:
        warmup: steps of linear rise.
        steps: steps of the whole run, for a cosine that ends in 0; None stays at 1.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if steps is None:
            return 1.0
        progress = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
