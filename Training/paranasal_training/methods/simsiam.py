"""SimSiam (Chen & He 2021): predict one view's projection from the other's; no copy, no negatives.

Heads are the original's (2048-2048-2048, bottleneck 512, for 512 features), scaled with the encoder. So
is the recipe: SGD of 0.05 for 256 crops, whose rate does not fall for the predictor. `spread` of the
projections, logged for each epoch, falls to 0 where the representation collapses.

Deviations: batches of 128, 500 epochs (the comparison's). The paper (Bhattacharya 2024) trained all
methods with LARS, and its code has a file of this name that holds its BYOL.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.heads import mlp, spread
from paranasal_training.runs.config import OptimizerConfig, Recipe
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options:
    """There are none."""


class Task(Method):
    """Encoder, projector and predictor; gradients flow through the prediction only."""

    recipe = Recipe(
        OptimizerConfig("sgd", 0.025, weight_decay=1e-4, schedule="cosine", momentum=0.9),
        epochs=500,
        batch_size=128,
    )
    validates = False
    steady = ("predictor",)

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        width = config.widths[-1]
        wide = 4 * width
        self.projector = nn.Sequential(
            mlp(width, wide, wide, wide, last_bias=False), nn.BatchNorm1d(wide, affine=False)
        )
        self.predictor = mlp(wide, width, wide)

    def loss(self, sample: Sample) -> Tensor:
        """Negative cosine of each view's prediction and the other's projection."""
        one, two = (self.projector(self.encoder.pooled(sample.view())) for _ in range(2))
        self.figures["spread"] = spread(one)
        return (
            similarity_loss(self.predictor(one), two) + similarity_loss(self.predictor(two), one)
        ) / 2


def similarity_loss(predictions: Tensor, projections: Tensor) -> Tensor:
    """Mean -cos of (B, d) and (B, d), in float32; no gradient reaches the projections."""
    return -F.cosine_similarity(predictions.float(), projections.detach().float()).mean()
