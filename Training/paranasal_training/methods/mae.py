"""Masked autoencoder (He et al. 2022), as today's benchmarks train it in 3D (Wald et al. 2024).

A plain residual-encoder U-Net sees a crop in which three quarters of the blocks of 16 mm have the
crop's mean value, and reproduces them; the loss is the squared error inside them, of crops whose voxels
have mean 0 and variance 1. Augmentation is geometry alone. No tokens, no sparse convolutions.

Deviations from Wald (OpenMind): the comparison's ResNet18 and its decoder for their U-Net of six stages
with instance norm, so that every row's encoder is the same; crops of 64 mm for 160; batches of 32 for
8; SGD without Nesterov's correction; a rate that falls by a cosine for their polynomial; no flips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.masks import MaskOptions, at_edge, draw_visible
from paranasal_training.methods.parts.unet import UNetDecoder
from paranasal_training.runs.config import OptimizerConfig, Recipe
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options(MaskOptions):
    """What is the masked autoencoder's own."""

    patch_mm: int = 16
    masked_fraction: float = 0.75


class Task(Method):
    """Visible blocks -> masked blocks."""

    recipe = Recipe(
        OptimizerConfig(
            "sgd", 1e-2, weight_decay=3e-5, schedule="cosine", momentum=0.99, clip_norm=12.0
        ),
        epochs=500,
        batch_size=32,
    )

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        options.check_voxels(config.voxels)
        self.decoder = UNetDecoder(config)

    def loss(self, sample: Sample) -> Tensor:
        """Squared error inside the masked blocks."""
        _, crops = sample.augmented(sample.crops)
        assert crops is not None
        visible = draw_visible(len(crops), self.options, sample.generator).to(crops.device)
        return hidden_error(self.reconstruct(crops, visible), crops, visible)

    def reconstruct(self, crops: Tensor, visible: Tensor) -> Tensor:
        """What the visible blocks, bool (B, g, g, g), let one expect: (B, 1, D, D, D)."""
        mean = crops.mean(dim=(1, 2, 3, 4), keepdim=True)
        seen = torch.where(at_edge(visible, crops.shape[-1]), crops, mean)
        return self.decoder(self.encoder(seen))


def hidden_error(predicted: Tensor, crops: Tensor, visible: Tensor) -> Tensor:
    """Mean squared error over the voxels of masked blocks.

    Args:
        predicted: (B, 1, D, D, D), of crops each of which has mean 0 and variance 1.
        crops: (B, 1, D, D, D), as they are.
        visible: bool (B, g, g, g), of the blocks.
    """
    hidden = ~at_edge(visible, crops.shape[-1])
    variance, mean = torch.var_mean(crops, dim=(1, 2, 3, 4), correction=0, keepdim=True)
    wanted = (crops - mean) / (variance + 1e-6).sqrt()
    return F.mse_loss(predicted.float()[hidden], wanted[hidden])
