"""BYOL (Grill et al. 2020): predict what a slowly following copy makes of another view.

Heads are the paper's (Bhattacharya 2024: 512-4096-512), scaled with the encoder; its code, as
published, has neither predictor nor moving average. `spread` of the projections, logged for each epoch,
falls to 0 where the representation collapses.

Deviations from Grill: projections of 512 numbers, not 256; momentum from 0.99 (their value for short
training), not 0.996; LARS of 0.2 for 128 crops (the paper), not 0.45 for 256; 500 epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import CONTRASTIVE_RECIPE, Method, Sample
from paranasal_training.methods.parts.heads import (
    check_between,
    follow,
    frozen_copy,
    mlp,
    spread,
)
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options:
    """What is BYOL's own."""

    momentum: float = 0.99
    """Fraction of itself that the target network keeps at the first step, between 0 and 1; it rises to
    1 by a cosine.
    """

    def __post_init__(self) -> None:
        check_between("momentum", self.momentum, 0, 1)


class Task(Method):
    """Online: encoder, projector, predictor. Target: encoder and projector, without gradients."""

    recipe = CONTRASTIVE_RECIPE
    validates = False

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        width = config.widths[-1]
        self.projector = mlp(width, 8 * width, width)
        self.predictor = mlp(width, 8 * width, width)
        self.target_encoder = frozen_copy(self.encoder)
        self.target_projector = frozen_copy(self.projector)

    def loss(self, sample: Sample) -> Tensor:
        """Distance of each view's prediction from the target network's projection of the other."""
        one, two = sample.view(), sample.view()
        aims = self.aim(two), self.aim(one)
        self.figures["spread"] = spread(aims[0])
        return distance(self.predict(one), aims[0]) + distance(self.predict(two), aims[1])

    def predict(self, crops: Tensor) -> Tensor:
        """(B, 1, D, D, D) -> (B, d)."""
        return self.predictor(self.projector(self.encoder.pooled(crops)))

    @torch.no_grad()
    def aim(self, crops: Tensor) -> Tensor:
        """What the target network makes of crops, (B, d), without gradient."""
        return self.target_projector(self.target_encoder.pooled(crops))

    def after_step(self, progress: float) -> None:
        """Let the target network follow by its moving average, less and less (Grill, 3.3)."""
        kept = 1 - (1 - self.options.momentum) * (math.cos(math.pi * progress) + 1) / 2
        follow(self.target_encoder, self.encoder, kept)
        follow(self.target_projector, self.projector, kept)


def distance(predictions: Tensor, aims: Tensor) -> Tensor:
    """Mean 2 - 2 cos of (B, d) and (B, d), in float32."""
    return 2 - 2 * F.cosine_similarity(predictions.float(), aims.float()).mean()
