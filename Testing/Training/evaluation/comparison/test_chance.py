"""The chance of training, from runs whose chances are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from paranasal_training.evaluation.comparison.chance import Draws, estimate

FOLD, PRETRAINING, REST = 0.03, 0.02, 0.01
FOLDS, SEEDS = 6, 3


def table(rows: int, seed: int) -> dict[str, pd.DataFrame]:
    """Runs of rows with these standard deviations; folds start from pretraining runs in turn."""
    rng = np.random.default_rng(seed)
    folds = FOLD * rng.standard_normal(FOLDS)
    found = {}
    for number in range(rows):
        begun = PRETRAINING * rng.standard_normal(SEEDS)
        y = 0.7 + 0.02 * number + folds + REST * rng.standard_normal(FOLDS)
        found[f"row{number}"] = pd.DataFrame(
            {
                "fold": range(1, FOLDS + 1),
                "training": [f"row{number}/{k}" for k in range(FOLDS)],
                "pretraining": [f"row{number}/seed{k % SEEDS}" for k in range(FOLDS)],
                "y": y + begun[np.arange(FOLDS) % SEEDS],
            }
        )
    return found


def test_the_three_variances_are_found() -> None:
    parts = [estimate(table(12, seed)) for seed in range(120)]
    found = [
        [part.fold.variance, part.pretraining.variance, part.rest.variance]
        for part in parts
        if part and part.pretraining
    ]
    assert len(found) == 120
    wanted = np.array([FOLD, PRETRAINING, REST]) ** 2
    assert np.mean(found, axis=0) == pytest.approx(wanted, rel=0.15)


def test_without_two_pretraining_runs_their_chance_is_not_known() -> None:
    rows = {name: runs.assign(pretraining=name) for name, runs in table(4, 0).items()}
    chance = estimate(rows)
    assert chance is not None and chance.pretraining is None
    assert not chance.covers_pretraining
    assert estimate({"row": table(1, 0)["row0"].assign(training=None)}) is None


def test_where_each_run_has_its_own_pretraining_the_rest_holds_its_chance() -> None:
    found = []
    for seed in range(60):
        rows = table(8, seed)
        rng = np.random.default_rng([seed, 1])
        rows = {
            name: runs.assign(
                pretraining=runs["training"],
                y=runs["y"] + 3 * PRETRAINING * rng.standard_normal(FOLDS),
            )
            for name, runs in rows.items()
        }
        chance = estimate(rows)
        assert chance is not None and chance.pretraining is None and chance.covers_pretraining
        found.append(chance.rest.variance)
    wanted = 9 * PRETRAINING**2 + PRETRAINING**2 * 0.8 + REST**2  # runs in turn: 4 of 5 degrees
    assert np.mean(found) == pytest.approx(wanted, rel=0.1)


def test_means_of_rows_scatter_as_they_do_in_truth() -> None:
    """By the middle of their absolute deviations, where an uncertain variance makes no long tails."""
    drawn = [Draws.draw(table(8, seed), 400, (seed,)).values for seed in range(40)]
    each = np.mean([np.median(np.abs(values["row1"])) for values in drawn])
    between = np.mean([np.median(np.abs(values["row1"] - values["row2"])) for values in drawn])
    own = PRETRAINING**2 / SEEDS + REST**2 / FOLDS
    middle = 0.6745  # of a normal distribution
    assert each == pytest.approx(middle * np.sqrt(FOLD**2 / FOLDS + own), rel=0.15)
    assert between == pytest.approx(middle * np.sqrt(2 * own), rel=0.15)


def test_rows_that_do_not_differ_are_seldom_said_to() -> None:
    wrong = 0
    for seed in range(120):
        rows = table(8, seed)
        values = Draws.draw(rows, 400, (seed,)).values
        truth = 0.02  # that row 2 is better than row 1
        found = rows["row2"]["y"].mean() - rows["row1"]["y"].mean() - truth
        wrong += int(abs(found) > np.quantile(np.abs(values["row2"] - values["row1"]), 0.95))
    assert wrong / 120 < 0.12


def test_rows_share_what_their_runs_share() -> None:
    rows = table(5, 1)
    rows["scored again"] = rows["row0"].assign(y=rows["row0"]["y"] + 0.01)
    rows["tuned again"] = rows["row0"].assign(training=[f"other/{k}" for k in range(FOLDS)])
    values = Draws.draw(rows, 400, (0,)).values
    assert np.array_equal(values["scored again"], values["row0"]), "the same classifiers"
    tuned = (values["tuned again"] - values["row0"]).std()
    other = (values["row1"] - values["row0"]).std()
    assert 0 < tuned < other, "the same pretraining counts once"
    without = {name: runs for name, runs in rows.items() if name != "scored again"}
    assert estimate(rows) == estimate(without), "each classifier counts once"


def test_a_row_of_which_nothing_is_known_has_the_chance_of_its_own_runs() -> None:
    y = [0.5, 0.6, 0.7]
    row = pd.DataFrame({"fold": [1, 2, 3], "training": None, "pretraining": None, "y": y})
    values = Draws.draw({"score": row}, 20_000, (0,)).values["score"]
    # t of two degrees of freedom: 4.3027 standard errors of 0.1 / sqrt(3)
    assert np.quantile(values, 0.975) == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=0.06)
    single = row.iloc[:1]
    assert not Draws.draw({"score": single}, 10, (0,)).values["score"].any()
