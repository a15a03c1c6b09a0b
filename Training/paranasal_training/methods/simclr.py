"""SimCLR (Chen et al. 2020): find a crop's other view among all views of the batch.

Projector and temperature are the paper's (Bhattacharya 2024: 512-512-512, 0.07).

Deviations from Chen: batch norm in the projector is an option (their code has it, the paper's has not);
temperature 0.07, not 0.1 to 0.5; LARS of 0.2 for 128 crops (the paper), not 0.3 for 256; 500 epochs of
batches of 128. With several GPUs the negatives are those of all of them, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods import CONTRASTIVE_RECIPE, Method, Sample
from paranasal_training.methods.parts.heads import check_between, mlp
from paranasal_training.runs.processes import gathered_with_gradient
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options:
    """What is SimCLR's own."""

    temperature: float = 0.07
    """Divisor of the similarities (-1..1), above 0; low values look at near misses only."""
    norm: bool = False
    """Batch norm after each layer of the projector."""

    def __post_init__(self) -> None:
        check_between("temperature", self.temperature, 0)
        if not isinstance(self.norm, bool):
            raise ValueError(f"norm is true or false, not {self.norm!r}")


class Task(Method):
    """Encoder and projector; both views go through them in one pass."""

    recipe = CONTRASTIVE_RECIPE

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        width = config.widths[-1]
        self.projector = mlp(width, width, width, norm=options.norm, last_bias=not options.norm)
        if options.norm:
            self.projector.append(nn.BatchNorm1d(width))

    def loss(self, sample: Sample) -> Tensor:
        """NT-Xent of two views of each crop."""
        views = torch.cat([sample.view(), sample.view()])
        one, two = self.projector(self.encoder.pooled(views)).chunk(2)
        if sample.training:  # validation's parts of a batch may differ in size
            one, two = gathered_with_gradient(one), gathered_with_gradient(two)
        return nt_xent(torch.cat([one, two]), self.options.temperature)


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy, in float32.

    Args:
        projections: (2B, d), where rows n and n + B are two views of one crop. All other rows are
            negatives.
        temperature: divides the cosine similarities.
    """
    count = len(projections)
    # Autocast would turn the product into bf16, whose steps of 0.004 are 0.06 at this temperature.
    with torch.autocast(projections.device.type, enabled=False):
        unit = F.normalize(projections.float())
        logits = unit @ unit.T / temperature
    itself = torch.eye(count, dtype=torch.bool, device=logits.device)
    partner = torch.arange(count, device=logits.device).roll(count // 2)
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)
