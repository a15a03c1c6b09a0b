"""Metrics and calibration against known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from paranasal_training.evaluation.classifier import (
    expected_calibration_error,
    fit_operating,
    probabilities,
    score,
    sensitivity_table,
)

from ParanasalSSLLib.model.calibration import Calibration


def test_perfect_scores_are_perfect() -> None:
    labels = np.array([0, 0, 1, 1])
    metrics = score(np.array([0.1, 0.2, 0.8, 0.9]), labels, threshold=0.5)
    assert metrics["auroc"] == metrics["auprc"] == metrics["f1"] == 1.0
    assert metrics["sensitivity"] == metrics["specificity"] == 1.0


def test_auroc_counts_pairs_in_the_right_order() -> None:
    metrics = score(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]), threshold=0.5)
    assert metrics["auroc"] == 0.75  # 3 of 4 pairs
    assert metrics["f1"] == 0.5
    assert metrics["sensitivity"] == metrics["specificity"] == 0.5


def test_platt_scaling_finds_the_probabilities_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 2, 20000)
    truth = 1 / (1 + np.exp(-(0.7 * margin - 0.4)))
    labels = (rng.random(20000) < truth).astype(int)
    operating = fit_operating(margin, labels)
    assert operating.calibration.slope == pytest.approx(0.7, abs=0.03)
    assert operating.calibration.intercept == pytest.approx(-0.4, abs=0.05)
    assert expected_calibration_error(probabilities(operating.calibration, margin), labels) < 0.02
    assert 0 < operating.threshold < 1


def test_a_temperature_never_turns_the_order_around() -> None:
    """Margins that are all far below 0, as those of a classifier that has hardly learnt."""
    margin = np.array([-3.0, -2.9, -2.8, -2.7])
    labels = np.array([0, 1, 0, 1])
    fitted = fit_operating(margin, labels, "temperature").calibration
    assert fitted.slope > 0 and fitted.intercept == 0
    ordered = [fitted.probability(m) for m in margin]
    assert ordered == sorted(ordered) and len(set(ordered)) == 4
    mixed = fit_operating(np.array([-3.0, 1.0, 2.0, -1.0]), labels, "temperature").calibration
    assert mixed.slope > 0


def test_calibration_error_of_constant_guesses() -> None:
    labels = np.array([0, 1, 1, 1])
    assert expected_calibration_error(np.full(4, 0.75), labels) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(4, 0.25), labels) == pytest.approx(0.5)
    assert Calibration(1.0, 0.0).probability(0.0) == 0.5


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
