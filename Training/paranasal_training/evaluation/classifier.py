"""How good a classifier is: calibration and threshold from validation, figures on the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.special import logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    precision_recall_curve,
    roc_curve,
)
from torch import Tensor

from paranasal_training.data.augment import warp
from paranasal_training.data.batches import as_floats, load_crops
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.splits import Part, Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.config import CalibrationKind, EvaluateConfig
from paranasal_training.evaluation.metrics import (
    ECE_BINS,
    classification_metrics,
    labels_of,
    sensitivity_table,
)
from paranasal_training.runs.config import plain
from paranasal_training.runs.record import FinishedRun, load_network
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.networks import Classifier, channels_last
from ParanasalSSLLib.model.resolution import CROP_VOXELS

JITTER_MM = 1.3  # sd of a box's place along each axis (the paper's code: 1.1 to 1.4, one axis more)
HOTTEST = 100.0  # temperature
SCORED: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Operating:
    """How margins become decisions; both parts are fitted on validation sinuses."""

    calibration: Calibration
    threshold: float


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a classifier sees of a crop: voxels of which size, and whether the residual too.

    Attributes:
        voxels: edge of its input, 64 or 32.
        residuals: of all rows, or None for a classifier with one channel.
    """

    voxels: int
    residuals: ResidualStore | None = None

    @classmethod
    def open(cls, store: CropStore, network: EncoderConfig, residuals: Path | None) -> Inputs:
        """For a network and the residual store that it needs, if it has two channels.

        Raises:
            BadStore: the residuals are missing or of other crops.
            BadConfig: residuals are given without need, needed and not given, or scaled.
        """
        if (residuals is not None) != (network.channels == 2):
            raise BadConfig("--residuals are for classifiers with two channels, and only for them.")
        if residuals is None:
            return cls(network.voxels)
        found = ResidualStore.open(residuals, store)
        if found.gain != 1:
            raise BadConfig(
                f"{residuals} holds residuals times {found.gain}, cut off at 1. A classifier needs "
                "them as they are: make them with `paranasal residuals --gain 1`."
            )
        return cls(network.voxels, found)

    def second(self, rows: np.ndarray) -> np.ndarray | None:
        """uint8 (n, D, D, D) residuals of rows, or None. Raises `BadStore` when some are missing."""
        if self.residuals is None:
            return None
        if not self.residuals.done[rows].all():
            raise BadStore(
                f"{self.residuals.folder} lacks residuals of labelled crops. Make them with "
                "`paranasal residuals --split null`."
            )
        return self.residuals.residuals[rows]

    def as_floats(self, stored: Tensor) -> tuple[Tensor, Tensor | None]:
        """uint8 (B, C, D, D, D) -> float crops and residuals (B, 1, D, D, D), 0..1."""
        crops = as_floats(stored[:, :1])
        if self.residuals is None:
            return crops, None
        return crops, as_floats(stored[:, 1:], self.residuals.gain)


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score validation and test crops; write predictions, metrics and curves; return the metrics.

    Raises:
        BadStore: the store is damaged, or a set lacks a class.
        BadCheckpoint: the run is not finished or damaged.
        BadConfig: it has learnt from crops that it would be measured on.
    """
    store = CropStore.open(config.store)
    network, run = load_classifier(config.classifier)
    run.require_division(store, config.splits, config.fold)
    partition = Partition.of(store, config.splits, config.fold)
    inputs = Inputs.open(store, network.config, config.residuals)
    network = network.to(resolve_device(config.device))
    scored, metrics = score_network(
        partition, network, inputs, config.output, config.jitter, config.calibration
    )
    metrics["classifier"] = {k: run.record[k] for k in ("config", "val_loss", "best_epoch")}
    with write_whole(config.output / "curves.png") as temporary:
        draw_curves(scored[scored["split"] == "test"], metrics).savefig(temporary, dpi=90)
    write_json(config.output / "config.json", plain(config))
    write_json(config.output / "metrics.json", metrics)
    return metrics


def load_classifier(folder: Path) -> tuple[Classifier, FinishedRun]:
    """The trained classifier of a run, in evaluation mode. Raises `BadCheckpoint`."""
    return load_network(folder, "FinetuneStage", Classifier, EncoderConfig)


def score_network(
    partition: Partition,
    network: Classifier,
    inputs: Inputs,
    output: Path,
    jitter: int = 0,
    calibration: CalibrationKind = "platt",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score validation and test crops, and write `predictions.csv`; returns what `measure` does.

    Args:
        partition: the crops.
        network: in evaluation mode, on any device.
        inputs: what it sees.
        output: folder for the predictions.
        jitter, calibration: see `EvaluateConfig`.

    Raises:
        BadStore: a set lacks a class.
    """
    partition.require_both_classes()
    every = np.concatenate([partition.rows(part) for part in SCORED])
    scores = margins(network, partition.store, every, inputs, jitter)
    return write_scores(partition, scores, output, calibration)


def write_scores(
    partition: Partition,
    scores: np.ndarray,
    output: Path,
    calibration: CalibrationKind = "platt",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write `predictions.csv`; returns what `measure` does.

    Args:
        partition: the crops.
        scores: (n,) margins of the validation rows, then of the test rows.
        output: folder for the predictions.
        calibration: see `EvaluateConfig`.
    """
    rows = {part: partition.rows(part) for part in SCORED}
    table = partition.store.table.iloc[np.concatenate(list(rows.values()))].copy()
    table["split"] = [part for part, members in rows.items() for _ in members]
    table["margin"] = scores
    scored, metrics = measure(table, calibration)
    columns = ["row", "patient", "side", "split", "class", "label", "margin", "probability"]
    columns += [name for name in ("true_class", "lesion_ml") if name in scored]
    # Margins of a strongly regularised probe are all tiny: decimals would make ties of them.
    rounded = (
        scored[columns]
        .round(5)
        .assign(
            margin=scored["margin"].map("{:.7g}".format), probability=scored["probability"].round(9)
        )
    )
    output.mkdir(parents=True, exist_ok=True)
    with write_whole(output / "predictions.csv") as temporary:
        rounded.to_csv(temporary, index=False)
    return scored, metrics


def measure(scored: pd.DataFrame, kind: CalibrationKind) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Calibrate margins; returns the table with probabilities, and what they reach.

    Args:
        scored: a line per validation or test sinus, with "split", "label" and "margin".
        kind: fitted, like the threshold, on the validation sinuses.
    """
    validation = scored[scored["split"] == "validation"]
    operating = fit_operating(validation["margin"].to_numpy(), labels_of(validation), kind)
    probability = probabilities(operating.calibration, scored["margin"].to_numpy())
    scored = scored.assign(probability=probability)
    parts = {part: scored[scored["split"] == part] for part in ("validation", "test")}
    metrics: dict[str, Any] = {
        part: classification_metrics(
            rows["probability"].to_numpy(),
            labels_of(rows),
            operating.threshold,
            rows["margin"].to_numpy(),
        )
        for part, rows in parts.items()
    }
    metrics |= {
        "threshold": operating.threshold,
        "calibration": asdict(operating.calibration),
        "test_crops": len(parts["test"]),
    }
    if {"true_class", "lesion_ml"} <= set(scored.columns):
        metrics["sensitivity_by_kind_and_ml"] = sensitivity_table(
            parts["test"], operating.threshold
        )
    return scored, metrics


def margins(
    network: Classifier, store: CropStore, rows: np.ndarray, inputs: Inputs, jitter: int = 0
) -> np.ndarray:
    """float64 (n,) logit of anomalous minus logit of normal, a mean over shifted copies if asked."""
    network = channels_last(network)
    device = next(network.parameters()).device
    shifts = jitter_shifts(jitter) * (inputs.voxels / CROP_VOXELS)
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            chunk = rows[start : start + 64]
            stored = load_crops(store, chunk, None, inputs.voxels, inputs.second(chunk)).crops
            given = torch.cat([m for m in inputs.as_floats(stored.to(device)) if m is not None], 1)
            logits = torch.stack([network(_shifted(given, shift)).float() for shift in shifts])
            found.append((logits[..., 1] - logits[..., 0]).mean(dim=0).double().cpu().numpy())
    return np.concatenate(found)


def jitter_shifts(count: int) -> Tensor:
    """float32 (1 + count, 3) mm: none, then `count` random ones, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([torch.zeros(1, 3), JITTER_MM * torch.randn(count, 3, generator=generator)])


def _shifted(maps: Tensor, shift: Tensor) -> Tensor:
    if not shift.any():
        return maps
    matrix = torch.cat([torch.eye(3), shift[:, None]], dim=1).to(maps.device)
    return warp(maps, matrix.expand(len(maps), 3, 4))


def fit_operating(
    margin: np.ndarray, labels: np.ndarray, kind: CalibrationKind = "platt"
) -> Operating:
    """Platt or temperature scaling, and the threshold of the highest F1 (the paper's code)."""
    spread = max(float(margin.std()), 1e-12)  # the solver's tolerance is one of margins of about 1
    regression = LogisticRegression(C=np.inf, fit_intercept=kind == "platt")
    regression.fit(margin[:, None] / spread, labels)
    slope, intercept = float(regression.coef_[0, 0]), float(np.ravel(regression.intercept_)[0])
    if slope < 1 / HOTTEST:  # calibration never turns the order of the scores around
        slope = 1 / HOTTEST
        centre = float(margin.mean()) / spread
        intercept = float(logit(labels.mean())) - slope * centre if kind == "platt" else 0.0
    calibration = Calibration(slope / spread, intercept)
    precision, recall, levels = precision_recall_curve(labels, probabilities(calibration, margin))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    threshold = float(np.clip(levels[int(f1[:-1].argmax())], 0.01, 0.99))
    return Operating(calibration, threshold)


def probabilities(calibration: Calibration, margin: np.ndarray) -> np.ndarray:
    """Calibrated probabilities of many margins."""
    return np.array([calibration.probability(float(m)) for m in margin])


def draw_curves(test: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """ROC, precision-recall and reliability of the test set."""
    probability, labels, reached = test["probability"].to_numpy(), labels_of(test), metrics["test"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, recall, reliability = figure.subplots(1, 3)
    false, true, _ = roc_curve(labels, probability)
    roc.plot(false, true)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", title=f"AUROC {reached['auroc']:.3f}")
    precision, found, _ = precision_recall_curve(labels, probability)
    recall.plot(found, precision)
    recall.set(xlabel="recall", ylabel="precision", title=f"AUPRC {reached['auprc']:.3f}")
    observed, mean = calibration_curve(labels, probability, n_bins=ECE_BINS)
    reliability.plot(mean, observed, marker="o")
    reliability.plot([0, 1], [0, 1], color="grey", linestyle=":")
    title = f"expected calibration error {reached['ece']:.3f}"
    reliability.set(xlabel="probability", ylabel="share anomalous", title=title)
    for axes in (roc, recall, reliability):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure
