"""How far the autoencoder alone gets: the mean residual of a crop as its score."""

from __future__ import annotations

from typing import Any

import numpy as np

from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import write_scores
from paranasal_training.runs.config import plain
from paranasal_training.stages.cae import load_cae
from paranasal_training.stages.config import EvaluateResidualsConfig
from paranasal_training.stages.residuals import CHUNK, residual_maker
from ParanasalSSLLib.files import write_json


def evaluate_residuals(config: EvaluateResidualsConfig) -> dict[str, Any]:
    """Score validation and test crops by their mean residual; returns the metrics.

    Raises:
        BadStore, BadCheckpoint: the input is missing or damaged, or a set lacks a class.
        BadConfig: the autoencoder has learnt from what it would be calibrated or measured on.
    """
    store = CropStore.open(config.store)
    network, run = load_cae(config.cae)
    run.require_division(store, config.splits, config.fold)
    partition = Partition.of(store, config.splits, config.fold)
    partition.require_both_classes()
    checks, test = partition.rows("validation"), partition.rows("test")
    maker = residual_maker(config, network, run, store)
    rows = np.concatenate([checks, test])
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    mean = np.concatenate([maker(chunk).mean(axis=(1, 2, 3)) for chunk in chunks])
    scores = standardised(mean, mean[: len(checks)])
    metrics = write_scores(partition, scores, config.output)[1]
    write_json(config.output / "config.json", plain(config))
    write_json(config.output / "metrics.json", metrics)
    return metrics


def standardised(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """In standard deviations from the mean of `among`: residuals are small, margins are not."""
    return (values - among.mean()) / max(float(among.std()), 1e-9)
