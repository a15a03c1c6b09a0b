"""Stage 3: the self-supervised task, a U-Net learns to predict the residual (2.3.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.networks import EncoderConfig, ResidualUNet

from ..augment import Augmentation, AugmentConfig
from ..data import Batch, as_floats, load_crops
from ..optimizers import OptimizerConfig
from ..runs import RunConfig, Stage, fit, is_complete
from ..store import CropStore, ResidualStore

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1  # of the unlabelled crops


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """`paranasal pretrain`. Defaults: the paper (LARS, 500 epochs, 20 of warm-up, cosine, BCE)."""

    residuals: Path  # residual store of the unlabelled crops
    network: EncoderConfig = field(default_factory=EncoderConfig)
    objective: Literal["bce", "l1", "l2"] = "bce"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    epochs: int = 500
    batch_size: int = 128
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            name="lars", lr=0.2, weight_decay=1e-6, schedule="cosine", warmup_epochs=20
        )
    )


class PretrainStage(Stage):
    """Predicts the residual (0..1) of a crop from the crop alone."""

    config: PretrainConfig

    def __init__(self, network: ResidualUNet, config: PretrainConfig, gain: float) -> None:
        super().__init__(network, config)
        self.gain = gain
        self.augmentation = Augmentation(config.augment)

    def loss(self, batch: Batch, training: bool) -> Tensor:
        crops = as_floats(batch.crops)
        residual: Tensor | None = as_floats(batch.target, self.gain)
        if training:
            generator = torch.Generator().manual_seed(batch.seed)
            crops, residual = self.augmentation(crops, generator, residual)
        assert residual is not None
        logits = self.network(crops.contiguous(memory_format=torch.channels_last_3d)).float()
        if self.config.objective == "bce":
            return F.binary_cross_entropy_with_logits(logits, residual)
        if self.config.objective == "l1":
            return F.l1_loss(logits.sigmoid(), residual)
        return F.mse_loss(logits.sigmoid(), residual)


def pretrain(config: PretrainConfig) -> Path:
    """Learn from the unlabelled crops and their residuals; returns the run's folder.

    Raises:
        BadStore: crops or residuals are missing, damaged, or do not belong together.
        BadConfig: the folder holds another run, or the loss is not finite.
    """
    if is_complete(config):
        logger.info("%s is complete already.", config.output)
        return config.output
    store = CropStore.open(config.store)
    residuals = ResidualStore.open(config.residuals, store)
    rows = store.rows("unlabelled")
    if not residuals.done[rows].all():
        raise BadStore(
            f"{config.residuals} lacks {int((~residuals.done[rows]).sum())} of the unlabelled crops. "
            "Run `paranasal residuals` again, it goes on where it stopped."
        )
    # Rows of a patient follow one another, so only the patient at the cut can be on both sides.
    cut = round(len(rows) * (1 - VALIDATION_SHARE))
    patients = store.table["patient"].to_numpy()[rows]
    while 0 < cut < len(rows) and patients[cut] == patients[cut - 1]:
        cut += 1
    train, validation = (
        load_crops(store, part, residuals.residuals[part]) for part in (rows[:cut], rows[cut:])
    )
    stage = PretrainStage(ResidualUNet(config.network), config, residuals.gain)
    return fit(stage, store, train, validation)
