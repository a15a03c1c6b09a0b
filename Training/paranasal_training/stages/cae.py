"""Stage 1: an autoencoder of healthy sinuses (Bhattacharya 2024, 2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.batches import Batch, as_floats, load_crops
from paranasal_training.data.corruption import CoarseNoiseConfig, add_coarse_noise
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.runs.config import OptimizerConfig, RunConfig
from paranasal_training.runs.fit import begin, fit
from paranasal_training.runs.record import FinishedRun, load_network
from paranasal_training.runs.stage import TrainingStage
from ParanasalSSLLib.model.networks import CAE, CAEConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """`paranasal train`. Defaults: the paper (L1 loss, Adam, no augmentation, plain input)."""

    epochs: int = 100
    """Passes over the training crops, 1 or more."""
    batch_size: int = 16
    """Crops in a batch, 2 or more."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser and learning rate."""
    normal_fraction: float = 1.0
    """Fraction of the healthy training patients to use, above 0 to 1; smaller fractions are nested
    in larger ones (the paper's Table 3).
    """
    jittered: bool = False
    """Train on crops of shifted boxes too, where the store has them."""
    network: CAEConfig = field(default_factory=CAEConfig)
    """Architecture of the autoencoder."""
    coarse_noise: CoarseNoiseConfig = field(default_factory=CoarseNoiseConfig)
    """Lesion-like noise on the input, which the autoencoder learns to remove."""


class CAEStage(TrainingStage):
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
    store = CropStore.open(config.store)
    if not begin(config, store):
        return config.output
    partition = Partition.of(store, config.splits, config.fold)
    rows = partition.rows("train", 0, config.normal_fraction, config.jittered)
    voxels = config.network.voxels
    train = load_crops(store, rows, voxels=voxels)
    validation = load_crops(store, partition.rows("validation", 0), voxels=voxels)
    return fit(CAEStage(CAE(config.network), config), store, train, validation)


def load_cae(folder: Path) -> tuple[CAE, FinishedRun]:
    """The trained autoencoder of a run, in evaluation mode. Raises `BadCheckpoint`."""
    return load_network(folder, CAEStage.__name__, CAE, CAEConfig)
