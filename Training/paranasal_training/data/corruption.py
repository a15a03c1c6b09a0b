"""Coarse noise on the autoencoder's input: shapes of the size of lesions, painted over healthy crops.

An autoencoder that only copies healthy sinuses through a small latent vector blurs every edge, so its
residual is large along all walls, and it copies large anomalies in part. One that has to restore
healthy crops from coarse noise learns to take out whatever does not belong, and its residual is
clearer (the idea: Kascenas et al. 2022, denoising autoencoders with noise of lesion-like coarseness).
Only healthy sinuses and no labels are used, as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class CoarseNoiseConfig:
    """Smooth random shapes of one grey value, painted over the autoencoder's input."""

    probability: float = 0.0
    """Probability that a crop is painted over, 0 (the paper's autoencoder) to 1."""
    knots: tuple[int, int] = (3, 8)
    """Fewest and most random values along the cube's edge, 2 or more; few make large shapes."""
    level: tuple[float, float] = (0.4, 1.6)
    """Lowest and highest level above which the random field is painted, in its standard deviations;
    high levels make few shapes.
    """
    edge: float = 0.08
    """Softness of the shapes' borders in standard deviations of the field, above 0."""
    bright: tuple[float, float] = (0.25, 1.0)
    """Darkest and brightest grey of most shapes, 0 to 1."""
    dark: tuple[float, float] = (0.0, 0.2)
    """Darkest and brightest grey of the dark shapes, 0 to 1."""
    dark_fraction: float = 0.2
    """Fraction of dark shapes, 0 to 1."""
    grain: float = 0.1
    """Largest standard deviation of the multiplicative noise inside the shapes, 0 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not 2 <= self.knots[0] <= self.knots[1]:
            raise BadConfig("coarse_noise: probability is 0..1; knots are 2 or more, ascending.")


def add_coarse_noise(
    crops: Tensor, config: CoarseNoiseConfig, generator: torch.Generator
) -> Tensor:
    """Paint coarse noise over float crops (N, 1, D, D, D) in 0..1.

    Args:
        crops: healthy crops, on any device.
        config: how much and of which shape.
        generator: of the CPU, so that a seed means the same on every device.
    """
    if config.probability == 0:
        return crops
    count, edge = len(crops), crops.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        draws = torch.rand(count, 1, 1, 1, 1, generator=generator)
        return (low + (high - low) * draws).to(crops.device)

    low, high = config.knots
    knots = int(torch.randint(low, high + 1, (1,), generator=generator))
    field = torch.randn(count, 1, knots, knots, knots, generator=generator).to(crops.device)
    field = F.interpolate(field, (edge,) * 3, mode="trilinear")
    level = uniform(*config.level) * field.std()
    cover = torch.sigmoid((field - level) / config.edge)
    cover = cover * (uniform(0, 1) < config.probability)
    grey = torch.where(
        uniform(0, 1) < config.dark_fraction, uniform(*config.dark), uniform(*config.bright)
    )
    grain = torch.randn(crops.shape, generator=generator).to(crops.device) * uniform(
        0, config.grain
    )
    return torch.lerp(crops, grey * (1 + grain), cover)
