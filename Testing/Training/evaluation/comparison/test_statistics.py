"""Intervals and comparisons against known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from paranasal_training.evaluation.comparison.collect import METRICS, Run, ScoredRuns
from paranasal_training.evaluation.comparison.statistics import (
    Resamples,
    Sampled,
    compare,
    holm,
    outcome,
    summarise,
    two_sided_p,
)
from paranasal_training.evaluation.metrics import classification_metrics
from sklearn.metrics import average_precision_score, roc_auc_score

PATIENTS = 60


@pytest.fixture(scope="module")
def test_set() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = (rng.random(2 * PATIENTS) < 0.4).astype(int)
    patients = [f"p{n}" for n in range(PATIENTS)]
    return pd.DataFrame({"patient": np.repeat(patients, 2), "label": label})


def scores(test: pd.DataFrame, quality: float, seed: int) -> np.ndarray:
    """Coarse scores, so that many crops are tied."""
    noise = np.random.default_rng(seed).normal(size=len(test))
    return np.round(4 * (noise + quality * test["label"].to_numpy())).astype(int)


def experiment(test: pd.DataFrame, methods: dict[str, Sequence[np.ndarray]]) -> ScoredRuns:
    """Runs at 10 % with these scores in their folds, which say the same each, as far as known."""
    metrics = dict.fromkeys(METRICS, 0.5)
    test = test.assign(probability=0.5)
    runs = {
        (name, 10): tuple(Run(n, metrics, 0.5, test, ranks) for n, ranks in enumerate(folds))
        for name, folds in methods.items()
    }
    return ScoredRuns(runs, {}, (0, 1))


def compared(
    test: pd.DataFrame, methods: dict[str, Sequence[np.ndarray]], seed: int = 0
) -> pd.DataFrame:
    """The paired comparison of these with `residual`."""
    return compare(Sampled.of(experiment(test, methods), 1000, seed), "residual")


@pytest.mark.parametrize(
    ("name", "reference"), [("auroc", roc_auc_score), ("auprc", average_precision_score)]
)
def test_resampled_metrics_are_sklearns(
    test_set: pd.DataFrame, name: str, reference: Callable[..., float]
) -> None:
    drawn = Resamples.draw(test_set, 20, seed=1)
    folds = [scores(test_set, 1.0, seed) for seed in (1, 2)]
    found = getattr(drawn, name)(folds)
    for line, counts in enumerate(drawn.counts.astype(int)):
        crops = np.repeat(np.arange(len(test_set)), counts[drawn.patients])
        label = drawn.labels[crops]
        assert found[line] == pytest.approx(
            np.mean([reference(label, ranks[crops]) for ranks in folds]), abs=1e-5
        )


def test_resampled_rates_are_those_of_the_resampled_crops(test_set: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    probability = np.clip(0.3 + 0.3 * test_set["label"] + rng.normal(0, 0.2, len(test_set)), 0, 1)
    drawn = Resamples.draw(test_set, 20, seed=1)
    found = drawn.rates(probability.to_numpy(), probability.to_numpy() >= 0.45)
    for line, counts in enumerate(drawn.counts.astype(int)):
        crops = np.repeat(np.arange(len(test_set)), counts[drawn.patients])
        wanted = classification_metrics(
            probability.to_numpy()[crops], test_set["label"].to_numpy()[crops], 0.45
        )
        for name, values in found.items():
            assert values[line] == pytest.approx(wanted[name], abs=1e-4)


def test_the_table_s_interval_covers_test_patients_and_training(test_set: pd.DataFrame) -> None:
    folds = [scores(test_set, 1.0, seed) for seed in range(2)]
    steady = experiment(test_set, {"residual": folds})
    moved = {
        cell: tuple(
            replace(run, metrics={**run.metrics, "auroc": value})
            for run, value in zip(runs, (0.4, 0.6), strict=True)
        )
        for cell, runs in steady.runs.items()
    }
    cell = ("residual", 10)
    narrow, wide = (
        summarise(one, Sampled.of(one, 1000, 0))[cell]["auroc"]
        for one in (steady, replace(steady, runs=moved))
    )
    alone = Resamples.draw(steady.test, 1000, 0).auroc(folds)[1:]
    assert narrow.half == pytest.approx(np.diff(np.quantile(alone, [0.025, 0.975]))[0] / 2)
    assert wide.mean == pytest.approx(0.5)
    assert (wide.low, wide.high) == (0, 1), "t of two runs: 12.7 standard errors of 0.1"


def test_auroc_counts_ties_as_half() -> None:
    test = pd.DataFrame({"patient": list("abcd"), "label": [0, 0, 1, 1]})
    found = Resamples.draw(test, 0, seed=0).auroc([np.array([1, 2, 2, 2])])
    assert found[0] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)


def test_both_sinuses_of_a_patient_are_drawn_together(test_set: pd.DataFrame) -> None:
    drawn = Resamples.draw(test_set, 50, seed=0)
    assert (drawn.counts.sum(axis=1) == PATIENTS).all()
    assert (drawn.counts[0] == 1).all()
    assert (drawn.patients[::2] == drawn.patients[1::2]).all()


def test_resamples_without_one_class_are_left_out() -> None:
    test = pd.DataFrame({"patient": list("abc"), "label": [0, 1, 1]})
    drawn = Resamples.draw(test, 200, seed=0)
    assert 1 < len(drawn.counts) < 201
    assert np.isfinite(drawn.auroc([np.arange(3)])).all()


def test_equal_predictions_do_not_differ(test_set: pd.DataFrame) -> None:
    same = [scores(test_set, 1.0, seed) for seed in (1, 2)]
    found = compared(test_set, {"none": same, "residual": same})
    assert list(found["metric"]) == ["auroc", "auprc"]
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found["p"] == 1).all()
    assert set(found["outcome"]) == {"ties"}


def test_better_wins_and_worse_loses(test_set: pd.DataFrame) -> None:
    methods = {
        name: [scores(test_set, quality, seed) for seed in (1, 2)]
        for name, quality in (("none", 0.2), ("residual", 1.2), ("oracle", 4.0))
    }
    found = compared(test_set, methods).set_index("baseline")
    assert set(found.loc["none", "outcome"]) == {"wins"}
    assert set(found.loc["oracle", "outcome"]) == {"loses"}
    assert (found["p_holm"] < 0.05).all()
    assert (found["low"] < found["difference"]).all()
    assert (found["difference"] < found["high"]).all()


def test_same_seed_same_answer(test_set: pd.DataFrame) -> None:
    methods = {name: [scores(test_set, 1.0, seed)] for name, seed in (("none", 1), ("residual", 2))}
    first, again = (compared(test_set, methods, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_p_is_twice_the_rarer_side() -> None:
    assert two_sided_p(np.array([-1.0, *[1.0] * 98])) == pytest.approx(2 * 2 / 100)
    assert two_sided_p(np.zeros(99)) == 1.0


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04: 4*.01, 3*.02, 2*.03, then not below the one before
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def test_outcome_needs_an_adjusted_p_below_the_level() -> None:
    assert [outcome(0.1, 0.04), outcome(-0.1, 0.04), outcome(0.1, 0.05)] == [
        "wins",
        "loses",
        "ties",
    ]
