"""Denoising autoencoder (Bhattacharya 2024, 2.6): as `ae`, but the clean crop from a noisy one.

The noise is on the input only, on every crop, in validation too. It takes the place of the weaker
noise of the augmentation, whose geometry both input and target go through.

Deviations: as `ae`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paranasal_training.data.augment import generator_from
from paranasal_training.methods import Sample, ae
from paranasal_training.methods.parts.heads import check_between


@dataclass(frozen=True)
class Options:
    """What is the denoising autoencoder's own."""

    noise: float = 0.6
    """Standard deviation of the Gaussian noise, above 0; crops are 0..1."""

    def __post_init__(self) -> None:
        check_between("noise", self.noise, 0)


class Task(ae.Task):
    """x + noise -> x."""

    recipe = replace(ae.Task.recipe, batch_size=128)  # the paper's code

    def loss(self, sample: Sample) -> Tensor:
        """Difference between clean crops and the reconstructions of noisy ones, a scalar."""
        _, clean = sample.augmented(sample.crops)
        assert clean is not None
        return self.difference(clean + self._noise(clean, sample.generator), clean)

    def _noise(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Drawn on the crops' device: on the CPU it would take longer than the network."""
        own = generator_from(generator, crops.device)
        return self.options.noise * torch.randn(crops.shape, generator=own, device=crops.device)
