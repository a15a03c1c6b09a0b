"""Stage 3: self-supervised pretraining by any of the methods (Bhattacharya 2024, 2.3.3 and 2.6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paranasal_training.data.augment import Augmentation
from paranasal_training.data.batches import (
    Batch,
    CropData,
    as_floats,
    load_crops,
    mixed_seed,
)
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.collapse import effective_rank, feature_deviation
from paranasal_training.methods import Method, Sample, make_method
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.runs.fit import begin, finish_untrained, fit
from paranasal_training.runs.stage import TrainingStage
from paranasal_training.stages.config import PretrainConfig
from ParanasalSSLLib.errors import BadConfig, BadStore

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1  # of the patients
COLLAPSED = 0.1  # spread below which vectors tell hardly anything apart
WATCHED = 1024  # crops, more than features have dimensions
PATIENTS = 2  # at least: one to train on, one to validate on


class PretrainStage(TrainingStage):
    """Hands batches to a method."""

    config: PretrainConfig
    network: Method

    def __init__(self, method: Method, config: PretrainConfig, gain: float = 1.0) -> None:
        super().__init__(method, config)
        self.gain = gain  # of the stored residuals
        self.keeps_last = not method.validates
        self.augmentation = Augmentation(config.augment)
        self.features: list[Tensor] = []  # of the validation at hand

    def loss(self, batch: Batch, training: bool) -> Tensor:
        """The method's own loss of one batch."""
        needed = self.network.needs_residuals
        sample = Sample(
            crops=as_floats(batch.crops),
            residuals=as_floats(batch.target, self.gain) if needed else None,
            augmentation=self.augmentation,
            generator=torch.Generator().manual_seed(batch.seed),
            shared=torch.Generator().manual_seed(mixed_seed(batch.shared_seed)),
            numbers=batch.numbers,
            training=training,
        )
        return self.network.loss(sample)

    def compile_parts(self) -> None:
        """As the method says."""
        self.network.compile_parts()

    def steady_weights(self) -> list[Tensor]:
        """Those of the method's parts that keep their learning rate."""
        parts = (self.network.get_submodule(name) for name in self.network.steady)
        return [weight for part in parts for weight in part.parameters()]

    def figures(self) -> Mapping[str, Tensor]:
        """The method's own."""
        return self.network.figures

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the loss; keep the encoder's features of the first crops."""
        super().validation_step(batch, index)
        if sum(map(len, self.features)) < WATCHED:
            with torch.no_grad():
                self.features.append(self.network.encoder.pooled(as_floats(batch.crops)).float())

    def on_validation_epoch_end(self) -> None:
        """Log how well the features tell crops apart; say it when the method's have collapsed."""
        features = torch.cat(self.features)[:WATCHED].cpu()
        self.features.clear()
        shared = self.config.devices > 1
        self.log("val/feature_sd", feature_deviation(features), sync_dist=shared)
        self.log("val/rankme", effective_rank(features), sync_dist=shared)
        spread = self.trainer.callback_metrics.get("val/spread")
        if spread is not None and float(spread) < COLLAPSED:
            logger.warning(
                "Epoch %d: the method's vectors all point one way (spread %.3f; 1: everywhere). "
                "Nothing is learnt from here; try a smaller learning rate.",
                self.current_epoch,
                float(spread),
            )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, and what the method does after it."""
        super().optimizer_step(*args, **kwargs)
        self.network.after_step(self.trainer.global_step / self.trainer.estimated_stepping_batches)


def pretrain(config: PretrainConfig) -> Path:
    """Learn from the unlabelled crops; returns the run's folder.

    Where fewer than two patients are unlabelled, the fold's training crops take their place.

    Raises:
        BadStore: crops or residuals are missing, damaged, or do not belong together.
        BadConfig: an unknown method or option, a folder that holds another run, a loss that is no
            number.
        BadCheckpoint: a file of weights that does not fit (methods `transfer` and `weights`).
    """
    store = CropStore.open(config.store)
    if not begin(config, store):
        return config.output
    method = make_method(config.method, config.network, config.options)
    if not method.learns:
        return finish_untrained(PretrainStage(method, config), store, method.facts)
    _tell_other_optimizer(config)
    rows = pretraining_rows(Partition.of(store, config.splits, config.fold))
    residuals = _open_residuals(config, store, rows) if method.needs_residuals else None
    train, validation = (
        _load(store, part, residuals, config) for part in split_patients(store, rows)
    )
    method.fit_to(len(train))
    gain = residuals.gain if residuals else 1.0
    return fit(PretrainStage(method, config, gain), store, train, validation)


def _tell_other_optimizer(config: PretrainConfig) -> None:
    """Who gives a learning rate alone may expect the rest of the recipe, but it is given as a whole."""
    given, own = config.recipe.optimizer, config.own_recipe.optimizer
    if _of_optimizer(given) != _of_optimizer(own):
        logger.warning(
            "%s learns by %s here, in place of its recipe's %s.",
            *(config.method, _of_optimizer(given), _of_optimizer(own)),
        )


def _of_optimizer(config: OptimizerConfig) -> str:
    return f"{config.name}, {config.schedule}, warm-up of {config.warmup_epochs:g} epochs"


def _load(
    store: CropStore, rows: np.ndarray, residuals: ResidualStore | None, config: PretrainConfig
) -> CropData:
    target = residuals.residuals[rows] if residuals else None
    return load_crops(store, rows, target, config.network.voxels)


def _open_residuals(config: PretrainConfig, store: CropStore, rows: np.ndarray) -> ResidualStore:
    if config.residuals is None:
        raise BadConfig(
            f"The method {config.method} learns from residuals: give them with --residuals (they are "
            "made by `paranasal residuals`)."
        )
    residuals = ResidualStore.open(config.residuals, store)
    missing = int((~residuals.done[rows]).sum())
    if missing:
        raise BadStore(
            f"{config.residuals} lacks {missing} of the crops to learn from. Run `paranasal residuals` "
            "again, it resumes where it stopped."
        )
    return residuals


def pretraining_rows(partition: Partition) -> np.ndarray:
    """The unlabelled rows, or, where they are of fewer than two patients, the training rows."""
    rows = partition.rows("unlabelled")
    if partition.store.table["patient"].iloc[rows].nunique() >= PATIENTS:
        return rows
    logger.warning("Nothing is unlabelled: pretraining learns from the training crops, unlabelled.")
    return partition.rows("train")


def split_patients(store: CropStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows of the last tenth of the patients (one at least) to validate on.

    Raises:
        BadStore: the rows belong to fewer than two patients.
    """
    patients = store.table["patient"].to_numpy()[rows]
    names = list(dict.fromkeys(patients))
    if len(names) < PATIENTS:
        raise BadStore(f"{store.folder}: pretraining needs the crops of at least two patients.")
    kept_back = np.isin(patients, names[-max(1, round(len(names) * VALIDATION_SHARE)) :])
    return rows[~kept_back], rows[kept_back]
