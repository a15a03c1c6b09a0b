"""Stage 1: an autoencoder of healthy sinuses (Bhattacharya 2024, 2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.networks import CAE, CAEConfig

from ..corruption import CoarseNoiseConfig, add_coarse_noise
from ..data import Batch, as_floats, load_crops
from ..runs import FinishedRun, RunConfig, Stage, begin, fit, load_network
from ..store import CropStore


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """`paranasal train`. Defaults: the paper (L1 loss, Adam, no augmentation, plain input)."""

    network: CAEConfig = field(default_factory=CAEConfig)
    coarse_noise: CoarseNoiseConfig = field(default_factory=CoarseNoiseConfig)


class CAEStage(Stage):
    """Reproduces healthy crops; loss is the mean absolute difference (L1)."""

    config: TrainConfig

    def loss(self, batch: Batch, training: bool) -> Tensor:
        crops = as_floats(batch.crops)
        given = crops
        if training:
            generator = torch.Generator().manual_seed(batch.seed)
            given = add_coarse_noise(crops, self.config.coarse_noise, generator)
        rebuilt = self.network(given)
        return F.l1_loss(rebuilt.float(), crops)


def train_cae(config: TrainConfig) -> Path:
    """Train on the normal crops of the training split; returns the run's folder.

    Raises:
        BadStore: the store is damaged, or has no normal crops.
        BadConfig: the folder holds another run, or the loss is not finite.
    """
    if not begin(config):
        return config.output
    store = CropStore.open(config.store)
    train = load_crops(store, store.rows("train", label=0), None)
    validation = load_crops(store, store.rows("validation", label=0), None)
    return fit(CAEStage(CAE(config.network), config), store, train, validation)


def load_cae(folder: Path) -> tuple[CAE, FinishedRun]:
    """The trained autoencoder of a run, in evaluation mode. Raises `BadCheckpoint`."""
    return load_network(folder, CAEStage.__name__, CAE, CAEConfig)
