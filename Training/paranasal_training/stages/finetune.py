"""Stage 4: the encoder with a small head learns to classify from few labels (2.3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.networks import Classifier, EncoderConfig

from ..augment import Augmentation, AugmentConfig
from ..data import Batch, as_floats, load_crops
from ..optimizers import OptimizerConfig
from ..runs import FinishedRun, RunConfig, Stage, begin, fit, load_network, read_run
from ..store import CropStore


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """`paranasal finetune`. Defaults: the paper (AdamW, 1e-4, 100 epochs, batches of 16)."""

    # Folder of a finished `pretrain` run, or of a `finetune` run to go on from; None: from scratch.
    pretrained: Path | None = None
    network: EncoderConfig = field(default_factory=EncoderConfig)
    label_share: float = 1.0  # of the training labels, stratified
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="adamw"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.label_share <= 1:
            raise BadConfig(f"label_share is above 0 and at most 1, not {self.label_share}.")


class FinetuneStage(Stage):
    """Two-class cross-entropy, classes weighted by how rare they are (the paper's code)."""

    config: FinetuneConfig

    def __init__(self, network: Classifier, config: FinetuneConfig, class_weights: Tensor) -> None:
        super().__init__(network, config)
        self.class_weights = torch.nn.Buffer(class_weights, persistent=False)
        self.augmentation = Augmentation(config.augment)

    def loss(self, batch: Batch, training: bool) -> Tensor:
        crops = as_floats(batch.crops)
        if training:
            generator = torch.Generator().manual_seed(batch.seed)
            crops, _ = self.augmentation(crops, generator)
        logits = self.network(crops).float()
        return F.cross_entropy(logits, batch.target, self.class_weights)


def finetune(config: FinetuneConfig) -> Path:
    """Train the classifier on the labelled crops; returns the run's folder.

    Raises:
        BadStore: the store is damaged, or a class is absent from a split.
        BadCheckpoint: the pretrained run is missing or of another architecture.
        BadConfig: the folder holds another run, or the loss is not finite.
    """
    if not begin(config):
        return config.output
    store = CropStore.open(config.store)
    network = Classifier(config.network)
    if config.pretrained is not None:
        transfer_encoder(network, read_run(config.pretrained, "PretrainStage", "FinetuneStage"))
    rows = choose_labels(store, config.label_share, config.seed)
    labels = store.labels(rows)
    train = load_crops(store, rows, labels)
    validation_rows = store.rows("validation")
    validation = load_crops(store, validation_rows, store.labels(validation_rows))
    return fit(FinetuneStage(network, config, class_weights(labels)), store, train, validation)


def choose_labels(store: CropStore, share: float, seed: int) -> np.ndarray:
    """A share of the training rows, the classes in the same ratio, ascending."""
    rows = store.rows("train")
    if share == 1:
        return rows
    chosen, _ = train_test_split(
        rows, train_size=share, stratify=store.labels(rows), random_state=seed
    )
    return np.sort(chosen)


def class_weights(labels: np.ndarray) -> Tensor:
    """n / (2 n_c) for both classes, float32 (2,). Raises `BadConfig` when one is absent."""
    counts = np.bincount(labels, minlength=2)
    if (counts == 0).any():
        raise BadConfig("The training labels are all of one class. Use a larger share or cohort.")
    return torch.tensor(len(labels) / (2 * counts), dtype=torch.float32)


def transfer_encoder(network: Classifier, run: FinishedRun) -> None:
    """Take over the encoder of a U-Net or classifier; every one of its weights has to fit."""
    encoder = {
        name.removeprefix("encoder."): weight
        for name, weight in run.weights.items()
        if name.startswith("encoder.")
    }
    try:
        network.encoder.load_state_dict(encoder)
    except RuntimeError as error:
        raise BadCheckpoint(
            f"{run.folder} was trained with another encoder "
            f"({run.record['network']}, not {network.config})."
        ) from error


def load_classifier(folder: Path) -> tuple[Classifier, FinishedRun]:
    """The trained classifier of a run, in evaluation mode. Raises `BadCheckpoint`."""
    return load_network(folder, FinetuneStage.__name__, Classifier, EncoderConfig)
