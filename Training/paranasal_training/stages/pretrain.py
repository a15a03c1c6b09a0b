"""Stage 3: the self-supervised task, a U-Net learns to predict the residual (2.3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.networks import EncoderConfig, ResidualUNet

from ..augment import Augmentation, AugmentConfig
from ..data import Batch, as_floats, load_crops
from ..optimizers import OptimizerConfig
from ..runs import RunConfig, Stage, begin, fit
from ..store import CropStore, ResidualStore

VALIDATION_SHARE = 0.1  # of the unlabelled patients


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
        logits = self.network(crops).float()
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
    if not begin(config):
        return config.output
    store = CropStore.open(config.store)
    residuals = ResidualStore.open(config.residuals, store)
    rows = store.rows("unlabelled")
    if not residuals.done[rows].all():
        raise BadStore(
            f"{config.residuals} lacks {int((~residuals.done[rows]).sum())} of the unlabelled crops. "
            "Run `paranasal residuals` again, it goes on where it stopped."
        )
    train, validation = (
        load_crops(store, part, residuals.residuals[part]) for part in split_patients(store, rows)
    )
    stage = PretrainStage(ResidualUNet(config.network), config, residuals.gain)
    return fit(stage, store, train, validation)


def split_patients(store: CropStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows of the last tenth of the patients (one at least) to validate on.

    Raises:
        BadStore: the rows belong to a single patient.
    """
    patients = store.table["patient"].to_numpy()[rows]
    names = list(dict.fromkeys(patients))
    if len(names) < 2:
        raise BadStore(f"{store.folder}: pretraining needs at least two unlabelled patients.")
    kept_back = np.isin(patients, names[-max(1, round(len(names) * VALIDATION_SHARE)) :])
    return rows[~kept_back], rows[kept_back]
