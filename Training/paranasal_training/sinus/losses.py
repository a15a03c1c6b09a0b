"""What the sinus network is trained on: the cavity, what fills it, and the two together."""

from __future__ import annotations

from monai.losses import MaskedDiceLoss
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.sinus.batches import SinusBatch
from ParanasalSSLLib.model.sinus_network import CAVITY, FILL, probabilities

SMOOTH_VOXELS = (
    200.0  # a Dice loss of a clear sinus grows with what is marked in it, by this measure
)
_dice = MaskedDiceLoss(smooth_nr=SMOOTH_VOXELS, smooth_dr=SMOOTH_VOXELS)


def sinus_losses(logits: Tensor, batch: SinusBatch) -> dict[str, Tensor]:
    """Means over the batch, without voxels beyond the image's edge.

    cavity: cross-entropy and Dice. fill: cross-entropy inside the true cavity, each sinus counting
    alike, clear ones too. opacity: cross-entropy and Dice of cavity times fill, everywhere.

    Args:
        logits: (N, 2, D, D, D).
        batch: the truth.
    """
    logits = logits.float()
    cavity, opacity = probabilities(logits)
    valid = batch.valid
    share = (batch.opacity / batch.cavity.clamp(min=1 / 255)).clamp(max=1)
    inside = valid * batch.cavity
    of_fill = F.binary_cross_entropy_with_logits(logits[:, FILL], share, reduction="none")
    of_cavity = F.binary_cross_entropy_with_logits(
        logits[:, CAVITY], batch.cavity, reduction="none"
    )
    product = opacity.clamp(1e-5, 1 - 1e-5)
    of_opacity = F.binary_cross_entropy(product, batch.opacity, reduction="none")
    return {
        "cavity": _mean(of_cavity, valid),
        "cavity_dice": masked_dice(cavity, batch.cavity, valid),
        "fill": _mean(of_fill, inside),
        "opacity": _mean(of_opacity, valid),
        "opacity_dice": masked_dice(opacity, batch.opacity, valid),
    }


WEIGHTS = {"cavity": 5.0, "cavity_dice": 0.5, "fill": 1.0, "opacity": 10.0, "opacity_dice": 0.7}


def total(losses: dict[str, Tensor]) -> Tensor:
    """The weighted sum; cross-entropies over the whole crop are small, most of it being neither."""
    return sum((WEIGHTS[name] * loss for name, loss in losses.items()), start=Tensor([0.0]).sum())


def masked_dice(probability: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """1 - soft Dice, (N, D, D, D) each, mean over the samples."""
    return _dice(probability[:, None], truth[:, None], valid[:, None])


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    sums = (values * weights).flatten(1).sum(1)
    return (sums / weights.flatten(1).sum(1).clamp(min=1)).mean()
