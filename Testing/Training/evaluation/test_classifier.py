"""Calibration against known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import (
    evaluate,
    fit_operating,
    measure,
    probabilities,
    write_scores,
)
from paranasal_training.evaluation.config import EvaluateConfig
from paranasal_training.evaluation.metrics import expected_calibration_error
from paranasal_training.stages.config import FinetuneConfig
from paranasal_training.stages.finetune import finetune

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.config import EncoderConfig


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


def test_platt_scaling_does_not_depend_on_the_size_of_the_margins() -> None:
    """Those of a strongly regularised probe are a thousandth of a network's."""
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 2, 400)
    labels = (rng.random(400) < 1 / (1 + np.exp(-margin))).astype(int)
    usual, tiny = fit_operating(margin, labels), fit_operating(margin * 1e-4, labels)
    assert tiny.calibration.slope == pytest.approx(usual.calibration.slope * 1e4, rel=1e-3)
    assert tiny.threshold == pytest.approx(usual.threshold, rel=1e-3)


def test_platt_scaling_never_turns_the_order_around_either() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    fitted = fit_operating(np.array([-2.0, -1, 0, 0, 1, 2, 2, 3]), labels).calibration
    assert fitted.slope > 0
    assert fitted.probability(0.625) == pytest.approx(3 / 8), "the mean margin has the mean label"


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


def test_a_margin_of_zero_is_undecided() -> None:
    assert Calibration(1.0, 0.0).probability(0.0) == 0.5


def test_probabilities_of_1_do_not_make_equals_of_unequal_crops() -> None:
    """Where the validation part separates the classes, Platt scaling makes them as steep as it can."""
    checks = {"margin": [-0.2, -0.1, 0.0, 0.3, 0.4, 0.5], "label": [0, 0, 0, 1, 1, 1]}
    test = {"margin": [-2.0, 3.0, 5.0, 7.0], "label": [0, 0, 1, 1]}
    table = pd.concat([pd.DataFrame(checks), pd.DataFrame(test)], ignore_index=True)
    table["split"] = ["validation"] * 6 + ["test"] * 4
    scored, metrics = measure(table, "platt")
    assert (scored["probability"].iloc[-3:] == 1).all()
    assert metrics["test"]["auroc"] == metrics["test"]["auprc"] == 1


def test_tiny_margins_keep_their_order_in_the_file(toy_store: CropStore, tmp_path: Path) -> None:
    partition = Partition.of(toy_store, None)
    count = sum(len(partition.rows(part)) for part in ("validation", "test"))
    margins = np.random.default_rng(0).standard_normal(count) * 1e-7
    write_scores(partition, margins, tmp_path)
    written = pd.read_csv(tmp_path / "predictions.csv")["margin"]
    np.testing.assert_array_equal(np.argsort(written), np.argsort(margins))
    np.testing.assert_allclose(written, margins, rtol=1e-6)


def test_a_classifier_is_not_calibrated_on_what_it_has_learnt_from(
    toy_store: CropStore, tmp_path: Path
) -> None:
    network = EncoderConfig((4, 8, 16, 16), voxels=32)
    run = finetune(
        FinetuneConfig(store=toy_store.folder, output=tmp_path / "run", epochs=1, network=network)
    )
    config = EvaluateConfig(store=toy_store.folder, classifier=run, output=tmp_path / "again")
    first = pd.read_csv(run / "predictions.csv")
    evaluate(config)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again/predictions.csv"), first)
    with pytest.raises(BadConfig, match="was trained on fold 1"):
        evaluate(replace(config, fold=2))
