"""Autoencoder (Bhattacharya 2024, 2.6): encoder and U-Net decoder with skips reproduce their input.

As in the paper's code, the decoder's output is the image as it is (no sigmoid) and the loss is the mean
absolute difference. What is reproduced is the augmented crop, noise included: a clean target would
make this a denoising autoencoder.

Deviations: the code's optimiser, whose rate falls by a cosine, not where the loss stops falling; the
code's 100 epochs (the text has 500 for every method: the row `ae-long`).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.unet import UNetDecoder
from paranasal_training.runs.config import OptimizerConfig, Recipe
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options:
    """There are none."""


class Task(Method):
    """x -> x."""

    # The paper's code, which however lowers the rate where the loss stops falling.
    recipe = Recipe(OptimizerConfig("adam", 8e-4, schedule="cosine"), epochs=100, batch_size=32)

    def __init__(self, config: EncoderConfig, options: object) -> None:
        super().__init__(config, options)
        self.decoder = UNetDecoder(config)

    def loss(self, sample: Sample) -> Tensor:
        """Difference between augmented crops and their reconstructions, a scalar."""
        crops, _ = sample.augmented()
        return self.difference(crops, crops)

    def difference(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Mean |D(E(given)) - wanted|, of crops (B, 1, D, D, D)."""
        return F.l1_loss(self.decoder(self.encoder(given)).float(), wanted)
