"""What several methods share: their heads, moving-average copies, and checks of options."""

from __future__ import annotations

import copy
import itertools
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Network = TypeVar("Network", bound=nn.Module)


def mlp(*widths: int, norm: bool = True, last_bias: bool = True) -> nn.Sequential:
    """Linear layers, (N, widths[0]) -> (N, widths[-1]), with ReLU between them.

    Args:
        widths: of the input and of every layer's output.
        norm: batch norm before every ReLU.
        last_bias: False where a batch norm follows, which would take the bias out again.
    """
    *hidden, (before, after) = itertools.pairwise(widths)
    parts: list[nn.Module] = []
    for a, b in hidden:
        parts.append(nn.Linear(a, b, bias=not norm))
        parts += [nn.BatchNorm1d(b)] if norm else []
        parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts, nn.Linear(before, after, bias=last_bias))


def frozen_copy(network: Network) -> Network:
    """The same network once more, without gradients, so that no optimiser ever moves it."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Exponential moving average: every parameter of `target` becomes momentum * itself + the rest of
    `online`'s. Running statistics of batch norms are left alone: each network collects its own."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


def spread(vectors: Tensor) -> Tensor:
    """How far apart the directions of vectors (B, d) are, a scalar without gradient.

    The standard deviation over the batch of each coordinate of the unit vectors, times sqrt(d), mean
    over coordinates: about 1 where they point everywhere, 0 where all point one way (Chen & He 2021,
    4.1). A single vector counts as 1.
    """
    if len(vectors) < 2:
        return vectors.new_ones(())
    units = F.normalize(vectors.detach().float())
    return units.std(dim=0, correction=0).mean() * vectors.shape[1] ** 0.5


def check_between(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise `ValueError` unless the option is a number with low < value < high."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low < value < high:
        limit = "" if high == math.inf else f" and below {high}"
        raise ValueError(f"{name} is a number above {low}{limit}, not {value!r}")
