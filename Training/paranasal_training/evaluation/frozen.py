"""What an encoder knows before any fine-tuning: a linear probe and nearest neighbours on its features.

The encoder stays as it is. Both probes learn from the labels that fine-tuning would learn from, and are
chosen, calibrated and given their threshold on the same validation crops.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from paranasal_training.data.batches import as_floats, load_crops
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import SCORED, write_scores
from paranasal_training.runs.config import plain
from paranasal_training.stages.config import EvaluateFrozenConfig, FinetuneConfig
from paranasal_training.stages.finetune import refuse_one_class, start_network
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.files import write_json
from ParanasalSSLLib.model.networks import Classifier, channels_last

NEIGHBOURS = 20
TEMPERATURE = 0.07  # of the neighbours' weights, as usual (Wu et al. 2018)
STRENGTHS = tuple(
    10.0**power for power in range(-5, 2)
)  # inverse regularisation of the linear probe
BATCH = 64


def evaluate_frozen(config: EvaluateFrozenConfig) -> dict[str, Any]:
    """Score validation and test crops by a probe; write predictions and metrics; return the metrics.

    Raises:
        BadStore: the store is damaged, or a set lacks a class.
        BadConfig: the labels that a probe learns from are all of one class.
        BadCheckpoint: the pretrained run is missing or damaged.
    """
    store = CropStore.open(config.store)
    partition = Partition.of(store, config.splits, config.fold)
    partition.require_both_classes()
    learn = partition.rows("train", fraction=config.label_fraction)
    labels = store.labels(learn)
    refuse_one_class(labels)
    made = _time_made(config.pretrained)
    encoder = _encoder(config.pretrained, made, store.folder, store.checksum, config.device)
    checks, test = (partition.rows(part) for part in SCORED)
    known, seen, unseen = (encoder.features(rows) for rows in (learn, checks, test))
    probe = linear_scores if config.probe == "linear" else neighbour_scores
    scores = probe(known, labels, np.concatenate([seen, unseen]), store.labels(checks))
    metrics = write_scores(partition, scores, config.output)[1]
    write_json(config.output / "config.json", plain(config))
    write_json(config.output / "metrics.json", metrics)
    return metrics


class FrozenEncoder:
    """An encoder that stays as it is, with what it says of a store's rows: each is computed once."""

    def __init__(self, network: Classifier, store: CropStore) -> None:
        self.network, self.store = network, store
        self._known: dict[int, np.ndarray] = {}

    def features(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, d), the encoder's pooled last feature map of each row."""
        new = np.array([row for row in rows if row not in self._known], dtype=np.int64)
        for start in range(0, len(new), BATCH):
            some = new[start : start + BATCH]
            self._known.update(zip(some.tolist(), self._pooled(some), strict=True))
        return np.stack([self._known[row] for row in rows])

    @torch.inference_mode()
    def _pooled(self, rows: np.ndarray) -> np.ndarray:
        device = next(self.network.parameters()).device
        crops = load_crops(self.store, rows, voxels=self.network.config.voxels).crops
        return self.network.encoder.pooled(as_floats(crops.to(device))).float().cpu().numpy()


@lru_cache(maxsize=1)  # probes of one encoder follow one another in a process
def _encoder(pretrained: Path, made: int, store: Path, checksum: str, device: str) -> FrozenEncoder:
    """made, checksum: of the run and the crops: others in their place are not taken for them."""
    start = FinetuneConfig(store=store, output=pretrained, pretrained=pretrained)
    network = start_network(start).eval().to(resolve_device(device))
    return FrozenEncoder(channels_last(network), CropStore.open(store))


def _time_made(pretrained: Path) -> int:
    record = pretrained / "run.json"
    return record.stat().st_mtime_ns if record.is_file() else 0


def linear_scores(
    known: np.ndarray, labels: np.ndarray, wanted: np.ndarray, checks: np.ndarray
) -> np.ndarray:
    """Margins (m,) by logistic regression, regularised as suits the validation crops best.

    Args:
        known: features (n, d) that the probe learns from, and their `labels` (n,).
        wanted: features (m, d) to score; the first of them are validation crops.
        checks: labels of these first ones.
    """
    mean, deviation = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
    known, wanted = (known - mean) / deviation, (wanted - mean) / deviation
    best, chosen = -1.0, np.zeros(len(wanted))
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores = regression.fit(known, labels).decision_function(wanted)
        reached = roc_auc_score(checks, scores[: len(checks)])
        if reached > best:
            best, chosen = reached, scores
    return np.asarray(chosen)


def neighbour_scores(
    known: np.ndarray, labels: np.ndarray, wanted: np.ndarray, checks: np.ndarray
) -> np.ndarray:
    """Margins (m,) by the `NEIGHBOURS` nearest in direction, weighted by exp(cosine / temperature).

    The features' mean is taken off first: what is the same in all crops is no likeness. Arguments as in
    `linear_scores`; `checks` decide nothing.
    """
    del checks
    mean = known.mean(axis=0)
    known, wanted = _directions(known - mean), _directions(wanted - mean)
    cosine = wanted @ known.T
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :NEIGHBOURS]
    weight = np.exp(np.take_along_axis(cosine, nearest, axis=1) / TEMPERATURE)
    weight *= (len(labels) / (2 * np.bincount(labels, minlength=2)))[labels[nearest]]
    share = (weight * labels[nearest]).sum(axis=1) / weight.sum(axis=1)
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))


def _directions(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
