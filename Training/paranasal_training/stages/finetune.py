"""Stage 4: the encoder with a small head learns to classify from few labels (2.3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.augment import Augmentation
from paranasal_training.data.batches import Batch, load_crops
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import Inputs, score_network
from paranasal_training.runs.fit import begin, fit
from paranasal_training.runs.record import FinishedRun, read_run
from paranasal_training.runs.stage import TrainingStage
from paranasal_training.stages.config import FinetuneConfig
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.networks import Classifier


class FinetuneStage(TrainingStage):
    """Two-class cross-entropy, classes weighted by how rare they are (the paper's code).

    start: weights of the pretrained classifier, where `keep_pretrained` asks for them.
    """

    config: FinetuneConfig
    network: Classifier

    def __init__(
        self,
        network: Classifier,
        config: FinetuneConfig,
        class_weights: Tensor,
        inputs: Inputs,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(network, config)
        self.class_weights = torch.nn.Buffer(class_weights, persistent=False)
        self.augmentation = Augmentation(config.augment)
        self.inputs = inputs
        self.start = start

    def complete(self) -> None:
        """Move the weights part of the way back to the pretrained ones (WiSE-FT), if asked to."""
        if self.start is None:
            return
        for name, weight in self.network.state_dict().items():
            if weight.is_floating_point():  # all but counters
                weight.lerp_(self.start[name].to(weight), self.config.keep_pretrained)

    def loss(self, batch: Batch, training: bool) -> Tensor:
        """Cross-entropy with class weights, of crops that are augmented in training."""
        crops, residuals = self.inputs.as_floats(batch.crops)
        if training:
            generator = torch.Generator().manual_seed(batch.seed)
            crops, residuals = self.augmentation(crops, generator, residuals)
        if residuals is not None:
            crops = torch.cat([crops, residuals], dim=1)
        logits = self.network(crops).float()
        return F.cross_entropy(logits, batch.target, self.class_weights)


def finetune(config: FinetuneConfig) -> Path:
    """Train the classifier on the labelled crops, then score it; returns the run's folder.

    The folder ends up with `predictions.csv` and `metrics.json` of validation and test set.

    Raises:
        BadStore: the store is damaged, or a class is absent from a set.
        BadCheckpoint: the pretrained run is missing or of another architecture.
        BadConfig: the folder holds another run, or the loss is not finite.
    """
    store = CropStore.open(config.store)
    if not begin(config, store):
        return config.output
    partition = Partition.of(store, config.splits, config.fold)
    partition.require_both_classes()
    network = start_network(config)
    inputs = Inputs.open(store, network.config, config.residuals)
    rows = partition.rows("train", fraction=config.label_fraction, jittered=config.jittered)
    labels = store.labels(rows)
    weights = class_weights(labels)
    checks = partition.rows("validation")
    voxels = network.config.voxels
    train = load_crops(store, rows, labels, voxels, inputs.second(rows))
    validation = load_crops(store, checks, store.labels(checks), voxels, inputs.second(checks))
    stage = FinetuneStage(network, config, weights, inputs, kept_weights(config, network))

    def scores() -> dict[str, Any]:
        return score_network(partition, network, inputs, config.output)[1]

    return fit(stage, store, train, validation, after=scores)


def start_network(config: FinetuneConfig) -> Classifier:
    """The classifier with what the pretrained run has of it, or with random weights.

    That is the encoder of a `pretrain` run, and all of a `finetune` run.

    Raises:
        BadCheckpoint: the run is missing, or of another architecture than `network` asks for.
    """
    if config.pretrained is None:
        return Classifier(_with_channels(config, config.network or EncoderConfig()))
    run = read_run(config.pretrained, "PretrainStage", "FinetuneStage")
    found = EncoderConfig(**tupled(run.record["network"]))
    if config.network not in (None, found):
        raise BadCheckpoint(
            f"{run.folder} was trained with another encoder ({found}, not {config.network})."
        )
    network = Classifier(_with_channels(config, found))
    transfer_encoder(network, run)
    if run.record["stage"] == FinetuneStage.__name__:
        network.mlp.load_state_dict(_part(run, "mlp."))
    return network


def kept_weights(config: FinetuneConfig, network: Classifier) -> Mapping[str, Tensor] | None:
    """Weights of the pretrained classifier, where the result keeps a share of them.

    Raises:
        BadCheckpoint: the run is no `finetune` run, or of another architecture.
    """
    if config.pretrained is None or not config.keep_pretrained:
        return None
    run = read_run(config.pretrained, "FinetuneStage")
    shapes = {name: weight.shape for name, weight in network.state_dict().items()}
    if any(name not in run.weights or run.weights[name].shape != s for name, s in shapes.items()):
        raise BadCheckpoint(f"{run.folder} has another architecture, none of it can be kept.")
    return run.weights


def _with_channels(config: FinetuneConfig, network: EncoderConfig) -> EncoderConfig:
    return replace(network, channels=1 if config.residuals is None else 2)


def class_weights(labels: np.ndarray) -> Tensor:
    """n / (2 n_c) for both classes, float32 (2,). Raises `BadConfig` when one is absent."""
    refuse_one_class(labels)
    return torch.tensor(len(labels) / (2 * np.bincount(labels, minlength=2)), dtype=torch.float32)


def refuse_one_class(labels: np.ndarray) -> None:
    """Raise `BadConfig` for training labels from which no two classes can be learnt."""
    if len(np.unique(labels)) < 2:
        raise BadConfig("The training labels are all of one class. Use a larger share or cohort.")


def transfer_encoder(network: Classifier, run: FinishedRun) -> None:
    """Take over the encoder of a run; every one of its weights has to fit.

    Where the classifier has a second channel that the run did not have, its first convolution starts
    with zeros for it: the network begins as the pretrained one.

    Raises:
        BadCheckpoint: weights are missing or of other shapes.
    """
    encoder = _part(run, "encoder.")
    first = encoder.get("conv1.weight")
    if first is not None and first.shape[1] == 1 and network.config.channels == 2:
        encoder["conv1.weight"] = torch.cat([first, torch.zeros_like(first)], dim=1)
    try:
        network.encoder.load_state_dict(encoder)
    except RuntimeError as error:
        raise BadCheckpoint(
            f"{run.folder} was trained with another encoder "
            f"({run.record['network']}, not {network.config})."
        ) from error


def _part(run: FinishedRun, prefix: str) -> dict[str, Tensor]:
    """The weights of a run whose names begin so, by the rest of their names."""
    weights = run.weights.items()
    return {name.removeprefix(prefix): one for name, one in weights if name.startswith(prefix)}
