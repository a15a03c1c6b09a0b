"""Measures: of classification, of calibration, of overlap with lesions, of voxels from histograms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    roc_auc_score,
)

from ParanasalSSLLib.sinuses import KIND_NAMES

ECE_BINS = 10
VOLUME_EDGES_ML = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
# Values 0..2 (evidence counts double); 2048 bins a unit, so that edges are exact in float32.
BINS, BINS_PER_UNIT = 4096, 2048


def classification_metrics(
    probability: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    order: np.ndarray | None = None,
) -> dict[str, float]:
    """The paper's AUROC, AUPRC and F1, and calibration errors.

    Args:
        probability, labels: (n,) of the crops.
        threshold: on the probability.
        order: (n,) scores that tell crops apart whose probabilities are both 0 or both 1 (None: the
            probabilities).
    """
    order = probability if order is None else order
    called = probability >= threshold
    return {
        "auroc": round(float(roc_auc_score(labels, order)), 4),
        "auprc": round(float(average_precision_score(labels, order)), 4),
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


def surface_distance_mm(mask: np.ndarray, lesion: np.ndarray) -> float:
    """95th percentile of the distances between both surfaces, mm, by MONAI (NaN: one is empty).

    Args:
        mask, lesion: bool (n, n, n) with voxels of 1 mm.
    """
    if not (mask.any() and lesion.any()):
        return float("nan")
    import torch
    from monai.metrics import compute_hausdorff_distance  # slow to import, seldom needed

    one, other = (torch.from_numpy(volume)[None, None] for volume in (mask, lesion))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        found = compute_hausdorff_distance(one, other, include_background=True, percentile=95)
    return float(found)


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


def labels_of(table: pd.DataFrame) -> np.ndarray:
    """int64 labels of a table of labelled crops."""
    return table["label"].to_numpy(dtype=np.int64)


def histogram(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int64 (2, BINS): counts of values 0..2 where `truth` is False and where it is True."""
    bins = np.clip(values * BINS_PER_UNIT, 0, BINS - 1).astype(np.int64)
    return np.stack([np.bincount(bins[truth == side], minlength=BINS) for side in (False, True)])


def histogram_auroc(counts: np.ndarray) -> float:
    """Area under the ROC curve of values in bins (NaN when one side is empty); ties count half."""
    negative, positive = counts
    pairs = float(negative.sum()) * float(positive.sum())
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else float("nan")


def histogram_average_precision(counts: np.ndarray) -> float:
    """Mean precision over the steps of recall, as scikit-learn has it (NaN without positives)."""
    negative, positive = counts[:, ::-1]
    if not positive.sum():
        return float("nan")
    true = np.cumsum(positive)
    precision = true / np.maximum(true + np.cumsum(negative), 1)
    return float((precision * positive).sum() / positive.sum())


def histogram_dice(counts: np.ndarray, missed: int = 0) -> np.ndarray:
    """float64 (BINS,): Dice when all values of bin k and above are marked.

    Args:
        counts: see `histogram`.
        missed: voxels of the lesion that were not counted and can never be marked.
    """
    false, true = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    marked_and_lesion = true + false + counts[1].sum() + missed
    return np.asarray(2 * true / np.maximum(marked_and_lesion, 1), float)
