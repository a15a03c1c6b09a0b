"""Patients are divided once, in proportion, and never stand in two sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.cohort.config import SimulateConfig
from paranasal_training.cohort.simulate import plan_cohort
from paranasal_training.data.config import SplitConfig
from paranasal_training.data.splits import Partition, divide, make_splits
from paranasal_training.data.store import CropStore, write_store

from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.sinuses import Side

NOWHERE = SplitConfig(store=Path(), output=Path())


@pytest.fixture(scope="module")
def paper() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The paper's 1067 labelled patients: their kinds (one column a side), and how they are split."""
    plans = [p for p in plan_cohort(SimulateConfig()) if p.split != "unlabelled"]
    kinds = pd.DataFrame(
        {side.value: [int(p.kinds[side]) for p in plans] for side in Side},
        index=[f"p{p.number:04d}" for p in plans],
    )
    stratum = kinds.apply(lambda row: "".join(map(str, sorted(row))), axis=1)
    strata = stratum.rename("stratum").rename_axis("patient").reset_index()
    return kinds, divide(strata, NOWHERE).set_index("patient")


def anomalous_share(kinds: pd.DataFrame) -> float:
    return float((kinds.to_numpy() > 0).mean())


def test_sets_have_the_paper_s_sizes_and_ratio(paper: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    kinds, table = paper
    test = kinds.loc[table.index[table["set"] == "test"]]
    # Table 1: 380 normal and 261 anomalous sinuses; whole patients allow an even number only.
    assert abs((test.to_numpy() == 0).sum() - 380) <= 3
    assert abs((test.to_numpy() > 0).sum() - 261) <= 3
    for fold in range(1, 6):
        validation = kinds.loc[table.index[(table["fold"] == fold).fillna(False)]]
        assert abs((validation.to_numpy() == 0).sum() - 176) <= 4
        assert abs((validation.to_numpy() > 0).sum() - 122) <= 4


def test_every_kind_gets_its_share_of_the_test_set(
    paper: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    kinds, table = paper
    test = kinds.loc[table.index[table["set"] == "test"]].to_numpy()
    for kind in range(5):
        assert (test == kind).sum() / (kinds.to_numpy() == kind).sum() == pytest.approx(
            0.3, abs=0.05
        )


SHARES = (0.1, 0.2, 0.4, 0.6, 0.8)


def chosen_of(table: pd.DataFrame, run: int, share: float) -> pd.Index:
    training = table[(table["set"] == "fold") & (table["fold"] != run)]
    return training.index[training[f"position_{run}"] < share]


def test_label_fractions_are_nested_and_keep_the_ratio(
    paper: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    kinds, table = paper
    smaller: set[str] = set()
    for share in SHARES:
        chosen = chosen_of(table, 2, share)
        assert len(chosen) == pytest.approx(share * len(chosen_of(table, 2, 1.0)), abs=1)
        assert anomalous_share(kinds.loc[chosen]) == pytest.approx(anomalous_share(kinds), abs=0.02)
        assert smaller < set(chosen)
        smaller = set(chosen)


def test_kinds_and_strata_keep_their_quota_and_runs_overlap_as_by_chance(
    paper: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    kinds, _ = paper
    strata = kinds.apply(lambda row: "".join(map(str, sorted(row))), axis=1)
    line = strata.rename("stratum").rename_axis("patient").reset_index()
    overlaps, fewest = [], []
    for seed in range(20):
        table = divide(line, replace(NOWHERE, seed=seed)).set_index("patient")
        for run in range(1, 6):
            whole = chosen_of(table, run, 1.0)
            for share in SHARES:
                part = chosen_of(table, run, share)
                got, due = sinuses_by_kind(kinds.loc[part]), sinuses_by_kind(kinds.loc[whole])
                assert np.abs(got - due * len(part) / len(whole)).max() < 1
                got, due = strata[part].value_counts(), strata[whole].value_counts()
                off = got.reindex(due.index, fill_value=0) - due * len(part) / len(whole)
                assert off.abs().max() < 3.5  # of 60 to 480 patients
                fewest += [off] if share == 0.1 else []
        few = [set(chosen_of(table, run, 0.1)) for run in range(1, 6)]
        overlaps += [len(one & two) for i, one in enumerate(few) for two in few[:i]]
    # 60 of 598 each; two runs have 448 patients in common.
    assert np.mean(overlaps) == pytest.approx(60 / 598 * 60 / 598 * 448, abs=0.3)
    # Nor are patients with one anomaly on both sides put off: in the mean, less than one is missing.
    off = pd.DataFrame(fewest).mean()
    assert off.abs().max() < 0.6
    assert abs(off[["11", "22", "33", "44"]].sum()) < 1


def sinuses_by_kind(kinds: pd.DataFrame) -> np.ndarray:
    return np.bincount(kinds.to_numpy().ravel(), minlength=5)


def test_no_patient_is_in_two_sets(toy_store: CropStore, tmp_path: Path) -> None:
    path = make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3))
    patients = toy_store.table["patient"].to_numpy()
    tests = []
    for fold in (1, 2, 3):
        partition = Partition.of(toy_store, path, fold)
        parts = ("train", "validation", "test", "unlabelled")
        members = [set(patients[partition.rows(part)]) for part in parts]  # type: ignore[arg-type]
        assert sum(map(len, members)) == len(set().union(*members)) == len(set(patients))
        tests.append(members[2])
    assert tests[0] == tests[1] == tests[2]


def test_both_sides_of_a_patient_stay_together(toy_store: CropStore, tmp_path: Path) -> None:
    path = make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3))
    rows = Partition.of(toy_store, path).rows("train", fraction=0.5)
    assert (toy_store.table.iloc[rows].groupby("patient")["side"].nunique() == 2).all()


def test_without_a_file_the_store_s_own_table_counts(toy_store: CropStore) -> None:
    partition = Partition.of(toy_store, None)
    for part in ("train", "validation", "test", "unlabelled"):
        assert np.array_equal(partition.rows(part), toy_store.rows(part))  # type: ignore[arg-type]
    few, more = partition.rows("train", fraction=0.25), partition.rows("train", fraction=0.5)
    assert set(few) < set(more) < set(partition.rows("train"))
    assert toy_store.labels(few).mean() == 0.5


def test_the_same_command_gives_the_same_file_and_another_seed_is_refused(
    toy_store: CropStore, tmp_path: Path
) -> None:
    config = SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3)
    first = make_splits(config).read_bytes()
    assert make_splits(config).read_bytes() == first
    with pytest.raises(BadConfig, match="there already and differs"):
        make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3, seed=1))


def test_wrong_files_are_refused_in_words(toy_store: CropStore, tmp_path: Path) -> None:
    path = make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3))
    with pytest.raises(BadStore, match="no fold 4"):
        Partition.of(toy_store, path, 4)
    text = path.read_text()
    path.write_text(text.replace("test,,", "fold,1,", 1))
    with pytest.raises(BadStore, match="changed after"):
        Partition.of(toy_store, path)
    with pytest.raises(BadStore, match="missing or damaged"):
        Partition.of(toy_store, tmp_path / "other.csv")


def test_a_class_that_is_absent_from_a_set_is_named(toy_store: CropStore) -> None:
    part = toy_store.table["split"].to_numpy(dtype=object, copy=True)
    part[toy_store.rows("validation", label=0)] = "train"
    with pytest.raises(BadStore, match="no normal sinus in the validation set"):
        Partition(toy_store, part, np.zeros(len(part))).require_both_classes()


def test_more_folds_than_patients_are_refused(toy_store: CropStore, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="32 patients"):
        make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=60))
    assert not (tmp_path / "s.csv").exists()


def test_a_division_that_lacks_a_class_somewhere_is_not_written(
    toy_store: CropStore, tmp_path: Path
) -> None:
    table = toy_store.table.copy()
    healthy = table["patient"] != "train-0"  # one anomalous sinus for five sets
    table.loc[healthy & table["label"].notna(), ["class", "label"]] = 0
    rows = np.flatnonzero(table["label"].notna())[:40]
    store = write_store(tmp_path / "s", toy_store.crops[rows], table.iloc[rows])
    with pytest.raises(BadStore, match="no anomalous sinus in the"):
        make_splits(SplitConfig(store=store.folder, output=tmp_path / "out.csv", folds=3))
    assert not list(tmp_path.glob("out.*"))


def test_a_labelled_patient_who_is_in_no_set_is_named(toy_store: CropStore, tmp_path: Path) -> None:
    path = make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv", folds=3))
    table = toy_store.table.copy()
    table.loc[table["patient"] == "unlabelled-3", ["class", "label"]] = 0  # read since then
    with pytest.raises(BadStore, match="do not stand in it: 1, first unlabelled-3"):
        Partition.of(replace(toy_store, table=table), path)
