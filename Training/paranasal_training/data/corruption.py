"""Coarse noise on the autoencoder's input: shapes of the size of lesions, painted over healthy crops.

An autoencoder that only copies healthy sinuses through a small latent vector blurs every edge, so its
residual is large along all walls, and it copies large anomalies in part. One that has to restore
healthy crops from coarse noise learns to take out whatever does not belong, and its residual is
clearer (the idea: Kascenas et al. 2022, denoising autoencoders with noise of lesion-like coarseness).
Only healthy sinuses and no labels are used, as before.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.config import CoarseNoiseConfig


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
