"""SimSiam (Chen & He 2021): predict one view's projection from the other's; no copy, no negatives.

Heads are the original's (2048-2048-2048, bottleneck 512, for 512 features), scaled with the encoder.
The paper's code has a file of this name that holds its BYOL.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.heads import mlp
from ParanasalSSLLib.model.config import EncoderConfig


@dataclass(frozen=True)
class Options:
    """There are none."""


class Task(Method):
    """Encoder, projector and predictor; gradients flow through the prediction only."""

    validates = False

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
        return (
            similarity_loss(self.predictor(one), two) + similarity_loss(self.predictor(two), one)
        ) / 2


def similarity_loss(predictions: Tensor, projections: Tensor) -> Tensor:
    """Mean -cos of (B, d) and (B, d), in float32; no gradient reaches the projections."""
    return -F.cosine_similarity(predictions.float(), projections.detach().float()).mean()
