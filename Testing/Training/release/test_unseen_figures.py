"""Fractions found in persons left out: known counts, and intervals that go by persons."""

from __future__ import annotations

import pandas as pd
import pytest
from paranasal_training.release.unseen_figures import as_table, by_range, found, fraction


def samples(called: dict[str, list[bool]], **columns: object) -> pd.DataFrame:
    """Samples by person, called or not."""
    rows = [{"group": who, "called": one} for who, some in called.items() for one in some]
    return pd.DataFrame(rows).assign(**columns)


def test_the_fraction_counts_samples() -> None:
    row = fraction(samples({"a": [True, True, False], "b": [True]}))
    assert (row["samples"], row["persons"], row["fraction"]) == (4, 2, 0.75)


def test_many_samples_of_one_person_say_no_more_than_the_person() -> None:
    """Drawn by samples, 100 and 100 of two persons would give a narrow interval."""
    row = fraction(samples({"a": [True] * 100, "b": [False] * 100}))
    assert row["interval"] == [0.0, 1.0]


def test_nothing_there_is_said() -> None:
    row = fraction(samples({"a": [True]}).iloc[:0])
    assert row["fraction"] is None
    assert as_table("painted", {"from 5 ml": row}).endswith("| from 5 ml | 0 | 0 | none there |")


def test_a_range_ends_below_its_upper_end() -> None:
    table = samples({"a": [True, False, True]}).assign(opacity_ml=[0.9, 1.0, 7.0])
    rows = by_range(table, "opacity_ml", ((0.5, 1.0), (1.0, float("inf"))), "ml")
    assert {name: row["samples"] for name, row in rows.items()} == {
        "0.5 to 1 ml": 1,
        "from 1 ml": 2,
    }


def test_small_lesions_and_clear_sinuses_are_not_asked_for() -> None:
    table = samples({"a": [True] * 4}, kind="dome", modality="t1", slice_mm=3.0)
    rows = found(table.assign(opacity_ml=[0.0, 0.3, 0.5, 8.0], signal=[0, 0.1, 0.1, 0.1]))
    assert rows["kind"]["dome"]["samples"] == 2
    assert rows["dark fluid"]["from 5 ml"]["samples"] == 1
    assert rows["slices"]["2.5 to 4.5 mm"]["fraction"] == pytest.approx(1.0)
    assert rows["slices"]["up to 2.5 mm"]["fraction"] is None
