"""Stage 1: an autoencoder of healthy sinuses (Bhattacharya 2024, 2.3.1)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.batches import Batch, as_floats, load_crops
from paranasal_training.data.corruption import add_coarse_noise
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.runs.fit import begin, fit
from paranasal_training.runs.record import FinishedRun, load_network
from paranasal_training.runs.stage import TrainingStage
from paranasal_training.stages.config import TrainConfig
from ParanasalSSLLib.model.config import CAEConfig
from ParanasalSSLLib.model.networks import CAE


class CAEStage(TrainingStage):
    """Reproduces healthy crops; loss is the mean absolute difference (L1)."""

    config: TrainConfig

    def loss(self, batch: Batch, training: bool) -> Tensor:
        """L1 between crops and their reconstructions, from crops with noise in training."""
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
