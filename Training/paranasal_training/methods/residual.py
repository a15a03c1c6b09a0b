"""Residual prediction: ours (Bhattacharya 2024, 2.3.3).

Encoder and U-Net decoder learn to predict, from a crop alone, where an autoencoder of healthy sinuses
fails to reproduce it.

Deviations: none from the text. The paper's code adds noise and blur to the residual too, and stretches
each to its own range; here the target follows the geometry only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.unet import UNetDecoder
from ParanasalSSLLib.model.config import EncoderConfig

Objective = Literal["bce", "l1", "l2"]


@dataclass(frozen=True)
class Options:
    """What is residual prediction's own."""

    objective: Objective = "bce"
    """Loss: binary cross-entropy (the paper); l1 or l2 (ablation)."""

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise ValueError(f"objective is one of {get_args(Objective)}, not {self.objective!r}")


class Task(Method):
    """x -> |x - x'|."""

    needs_residuals = True

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        self.decoder = UNetDecoder(config)

    def loss(self, sample: Sample) -> Tensor:
        """Difference between decoded and true residual of augmented crops, a scalar."""
        crops, residuals = sample.augmented(sample.residuals)
        assert residuals is not None
        return residual_loss(self.decoder(self.encoder(crops)).float(), residuals, self.options)


def residual_loss(logits: Tensor, residuals: Tensor, options: Options) -> Tensor:
    """Mean over voxels; logits and residuals (0..1) are (B, 1, D, D, D)."""
    if options.objective == "bce":
        return F.binary_cross_entropy_with_logits(logits, residuals)
    if options.objective == "l1":
        return F.l1_loss(logits.sigmoid(), residuals)
    return F.mse_loss(logits.sigmoid(), residuals)
