"""Ways to call a sinus diseased, compared: known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.release.config import SinusDecisionsConfig
from paranasal_training.release.sinus_decisions import as_markdown, auroc_interval, with_both

CONFIG = SinusDecisionsConfig(
    bundle=Path(), weights=[], store=[], clear=[], output=Path(), resamples=20
)


def scores() -> pd.DataFrame:
    """Of five persons 20 real clear crops, 20 made harder and 20 painted each: the evidence tells
    them apart, the classifier guesses, volume does not see what is smaller than 2 ml."""
    rng = np.random.default_rng(0)
    kinds = np.tile(np.repeat([0, 1, 2], 20), 5)
    ill = kinds == 2
    ml = np.where(ill, np.tile([0.7, 1.5, 3.0, 8.0], 75), 0.0)
    return pd.DataFrame(
        {
            "group": np.repeat(list("abcde"), 60),
            "as_it_is": kinds == 0,
            "opacity_ml": ml,
            "signal": np.where(ml > 5, 0.1, 0.5),
            "classifier": rng.normal(0, 1, 300),
            "evidence": np.where(ill, 2.0, -2.0) + rng.normal(0, 0.5, 300),
            "alone": rng.normal(0, 1, 300),
            "seen_ml": np.where(ml > 2, ml, 0.0),
        }
    )


def test_both_is_as_good_as_the_better_of_two() -> None:
    table = with_both(scores())
    low, value, high = auroc_interval(table, "both", 20, 0)
    assert low <= value <= high
    assert value == pytest.approx(1.0, abs=0.01)
    assert 0.4 < auroc_interval(table, "classifier", 20, 0)[1] < 0.6


def test_the_table_gives_what_is_found_by_volume_at_one_specificity() -> None:
    lines = as_markdown(with_both(scores()), CONFIG).splitlines()
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ")[2:] for line in lines}
    assert cells["| opacification alone"] == ["100 %"] * 5
    assert cells["| volume of opacification above 0.5"] == ["0 %", "0 %", "100 %", "100 %", "100 %"]
