"""Metrics against known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import compute_dice
from paranasal_training.evaluation.metrics import (
    classification_metrics,
    dice,
    expected_calibration_error,
    histogram,
    histogram_auroc,
    histogram_average_precision,
    histogram_dice,
    sensitivity_table,
    surface_distance_mm,
)
from sklearn.metrics import average_precision_score, roc_auc_score


def test_perfect_scores_are_perfect() -> None:
    labels = np.array([0, 0, 1, 1])
    metrics = classification_metrics(np.array([0.1, 0.2, 0.8, 0.9]), labels, threshold=0.5)
    assert metrics["auroc"] == metrics["auprc"] == metrics["f1"] == 1.0
    assert metrics["sensitivity"] == metrics["specificity"] == 1.0


def test_auroc_counts_pairs_in_the_right_order() -> None:
    metrics = classification_metrics(
        np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]), threshold=0.5
    )
    assert metrics["auroc"] == 0.75  # 3 of 4 pairs
    assert metrics["f1"] == 0.5
    assert metrics["sensitivity"] == metrics["specificity"] == 0.5


def test_calibration_error_of_constant_guesses() -> None:
    labels = np.array([0, 1, 1, 1])
    assert expected_calibration_error(np.full(4, 0.75), labels) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(4, 0.25), labels) == pytest.approx(0.5)


def test_sensitivity_is_told_by_kind_and_volume() -> None:
    test = pd.DataFrame(
        {
            "true_class": [0, 2, 2, 3],
            "lesion_ml": [0.0, 0.2, 3.0, 5.0],
            "probability": [0.9, 0.1, 0.9, 0.8],
        }
    )
    lines = {(r["kind"], r["from_ml"]): r["found"] for r in sensitivity_table(test, 0.5)}
    assert lines == {("polyp", 0.0): 0.0, ("polyp", 2.0): 1.0, ("cyst", 4.0): 1.0}


def test_dice_of_half_a_lesion_and_of_nothing() -> None:
    lesion = np.zeros((4, 4, 4), bool)
    lesion[:2] = True
    half = lesion.copy()
    half[1] = False
    assert dice(half, lesion) == pytest.approx(2 / 3)
    assert dice(~lesion, lesion) == dice(~lesion & lesion, lesion) == 0.0


def test_dice_and_surface_distance_are_monai_s() -> None:
    rng = np.random.default_rng(0)
    mask, lesion = rng.random((2, 12, 12, 12)) < 0.3
    one, other = (torch.from_numpy(volume)[None, None] for volume in (mask, lesion))
    assert dice(mask, lesion) == pytest.approx(float(compute_dice(one, other)), abs=1e-6)
    ball = np.zeros((16, 16, 16), bool)
    ball[4:9, 4:9, 4:9] = True
    assert surface_distance_mm(ball, np.roll(ball, 3, axis=0)) == pytest.approx(3.0)
    assert surface_distance_mm(ball, ball) == 0.0
    assert np.isnan(surface_distance_mm(ball & ~ball, ball))


def test_histograms_measure_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(50000) < 0.1
    values = np.abs(rng.normal(0.02 + 0.04 * truth, 0.04)).astype(np.float32)
    counts = histogram(values, truth)
    assert counts.sum() == 50000 and counts[1].sum() == truth.sum()
    assert histogram_auroc(counts) == pytest.approx(roc_auc_score(truth, values), abs=1e-3)
    wanted = average_precision_score(truth, values)
    assert histogram_average_precision(counts) == pytest.approx(wanted, abs=1e-3)


def test_the_dice_of_a_bin_is_that_of_the_mask_it_stands_for() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((20, 20, 20), dtype=np.float32)
    lesion = np.zeros(values.shape, bool)
    lesion[5:15, 5:15, 5:15] = True
    mask = values >= 512 / 2048
    wanted = 2 * (mask & lesion).sum() / (mask.sum() + lesion.sum() + 100)
    assert histogram_dice(histogram(values, lesion), missed=100)[512] == pytest.approx(wanted)
