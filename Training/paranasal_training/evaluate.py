"""How good a classifier is: calibration and threshold from validation, figures on the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from ParanasalSSLLib.calibration import Calibration
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.networks import Classifier, channels_last
from ParanasalSSLLib.predict import resolve_device

from .runs import FinishedRun
from .stages.finetune import load_classifier
from .store import CropStore

ECE_BINS = 10
VOLUME_EDGES_ML = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
KIND_NAMES = {0: "normal", 1: "thickening", 2: "polyp", 3: "cyst", 4: "full"}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """`paranasal evaluate`."""

    store: Path  # crop store
    classifier: Path  # folder of a finished `finetune` run
    output: Path  # folder for `predictions.csv`, `metrics.json`, `curves.png`
    device: str = "auto"


@dataclass(frozen=True)
class Operating:
    """How margins become decisions; both parts are fitted on validation sinuses."""

    calibration: Calibration
    threshold: float


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score validation and test crops; write predictions, metrics and curves; return the metrics.

    Raises:
        BadStore: the store is damaged, or a split lacks a class.
        BadCheckpoint: the run is not finished or damaged.
    """
    store = CropStore.open(config.store)
    network, run = load_classifier(config.classifier)
    return evaluate_run(store, network, run, config.output, resolve_device(config.device))


def evaluate_run(
    store: CropStore, network: Classifier, run: FinishedRun, output: Path, device: str = "cpu"
) -> dict[str, Any]:
    """`evaluate` for a store and a classifier that are open already."""
    rows = np.concatenate([store.rows("validation"), store.rows("test")])
    _require_both_classes(store)
    table = store.table.iloc[rows].copy()
    table["margin"] = margins(network, store.crops[rows], device)
    validation = table[table["split"] == "validation"]
    operating = fit_operating(validation["margin"].to_numpy(), _labels(validation))
    table["probability"] = probabilities(operating.calibration, table["margin"].to_numpy())
    test = table[table["split"] == "test"]
    metrics: dict[str, Any] = {
        **score(test["probability"].to_numpy(), _labels(test), operating.threshold),
        "threshold": operating.threshold,
        "calibration": asdict(operating.calibration),
        "test_crops": len(test),
        "classifier": {k: run.record[k] for k in ("config", "val_loss", "best_epoch")},
    }
    if {"true_class", "lesion_ml"} <= set(table.columns):
        metrics["sensitivity_by_kind_and_ml"] = sensitivity_table(test, operating.threshold)
    _write(output, table, test, metrics)
    return metrics


def margins(network: Classifier, crops: np.ndarray, device: str = "cpu") -> np.ndarray:
    """float64 (n,) logit of anomalous minus logit of normal, of uint8 crops (n, 64, 64, 64)."""
    network = channels_last(network.to(device))
    found = []
    with torch.inference_mode():
        for start in range(0, len(crops), 64):
            chunk = (
                torch.from_numpy(crops[start : start + 64]).unsqueeze(1).to(device).float() / 255
            )
            logits = network(chunk)
            found.append((logits[:, 1] - logits[:, 0]).double().cpu().numpy())
    return np.concatenate(found)


def fit_operating(margin: np.ndarray, labels: np.ndarray) -> Operating:
    """Platt scaling, and the threshold of the highest F1 (the paper's code), on validation."""
    regression = LogisticRegression(C=np.inf).fit(margin[:, None], labels)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    calibration = Calibration(round(slope, 6), round(intercept, 6))
    precision, recall, levels = precision_recall_curve(labels, probabilities(calibration, margin))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    threshold = float(np.clip(levels[int(f1[:-1].argmax())], 0.01, 0.99))
    return Operating(calibration, round(threshold, 4))


def probabilities(calibration: Calibration, margin: np.ndarray) -> np.ndarray:
    """Calibrated probabilities of many margins."""
    return np.array([calibration.probability(float(m)) for m in margin])


def score(probability: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """The paper's AUROC, AUPRC and F1, and calibration errors."""
    called = probability >= threshold
    return {
        "auroc": round(float(roc_auc_score(labels, probability)), 4),
        "auprc": round(float(average_precision_score(labels, probability)), 4),
        "f1": round(float(f1_score(labels, called)), 4),
        "sensitivity": round(float(called[labels == 1].mean()), 4),
        "specificity": round(float(1 - called[labels == 0].mean()), 4),
        "brier": round(float(brier_score_loss(labels, probability)), 4),
        "ece": round(expected_calibration_error(probability, labels), 4),
    }


def expected_calibration_error(probability: np.ndarray, labels: np.ndarray) -> float:
    """Mean |observed share - mean probability| over ten equal bins, weighted by their size."""
    bins = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
    total = 0.0
    for number in np.unique(bins):
        members = bins == number
        total += members.mean() * abs(labels[members].mean() - probability[members].mean())
    return float(total)


def dice(mask: np.ndarray, lesion: np.ndarray) -> float:
    """Dice overlap of two bool masks, 0..1 (0 when both are empty)."""
    return 2 * float((mask & lesion).sum()) / max(float(mask.sum() + lesion.sum()), 1.0)


def sensitivity_table(test: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """Share of anomalous test crops that are called so, by kind and volume of the simulated lesion."""
    lesions = test[test["true_class"] > 0]
    called = (lesions["probability"] >= threshold).rename("found")
    kind = lesions["true_class"].map(KIND_NAMES).rename("kind")
    low = pd.cut(lesions["lesion_ml"], VOLUME_EDGES_ML, right=False, labels=VOLUME_EDGES_ML[:-1])
    groups = called.groupby([kind, low.rename("from_ml")], observed=True)
    found = groups.agg(["size", "mean"]).round(3).reset_index()
    found.columns = ["kind", "from_ml", "lesions", "found"]
    found["from_ml"] = found["from_ml"].astype(float)
    return [{str(k): v for k, v in line.items()} for line in found.to_dict("records")]


def _labels(table: pd.DataFrame) -> np.ndarray:
    return table["label"].to_numpy(dtype=np.int64)


def _require_both_classes(store: CropStore) -> None:
    for split in ("validation", "test"):
        if set(store.labels(store.rows(split))) != {0, 1}:
            raise BadStore(f"{store.folder}: the {split} split needs normal and anomalous crops.")


def _write(output: Path, table: pd.DataFrame, test: pd.DataFrame, metrics: dict[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with write_whole(output / "predictions.csv") as temporary:
        columns = ["row", "patient", "side", "split", "class", "label", "margin", "probability"]
        table[columns].round(5).to_csv(temporary, index=False)
    with write_whole(output / "curves.png") as temporary:
        _draw(test["probability"].to_numpy(), _labels(test), metrics).savefig(temporary, dpi=90)
    write_json(output / "metrics.json", metrics)


def _draw(probability: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> Figure:
    """ROC, precision-recall and reliability of the test split."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, recall, reliability = figure.subplots(1, 3)
    false, true, _ = roc_curve(labels, probability)
    roc.plot(false, true)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", title=f"AUROC {metrics['auroc']:.3f}")
    precision, found, _ = precision_recall_curve(labels, probability)
    recall.plot(found, precision)
    recall.set(xlabel="recall", ylabel="precision", title=f"AUPRC {metrics['auprc']:.3f}")
    observed, mean = calibration_curve(labels, probability, n_bins=ECE_BINS)
    reliability.plot(mean, observed, marker="o")
    reliability.plot([0, 1], [0, 1], color="grey", linestyle=":")
    title = f"expected calibration error {metrics['ece']:.3f}"
    reliability.set(xlabel="probability", ylabel="share anomalous", title=title)
    for axes in (roc, recall, reliability):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure
