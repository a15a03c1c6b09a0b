"""Own crops: what they allow is known before an experiment starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.config import SplitConfig
from paranasal_training.data.splits import Partition, make_splits
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.stages.pretrain import pretraining_rows
from paranasal_training.stages.residuals import unseen_by
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.experiment import read_plan, run_experiment
from paranasal_training.workflow.needed import Needed
from paranasal_training.workflow.plan import Plan
from paranasal_training.workflow.usable_crops import division, require_usable

from ParanasalSSLLib.errors import BadConfig, BadStore

ANY = {"source": "toy", "quality": "ok"}


def store_of(
    folder: Path,
    patients: int,
    split: str | list[str] = "labelled",
    unlabelled: int = 0,
    alike: bool = False,
) -> CropStore:
    """Patients with a normal left and an anomalous right sinus; the last ones without labels.

    alike: both sides are normal, or both anomalous, patient by patient.
    """
    rows = []
    for number in range(patients + unlabelled):
        known = number < patients
        of = split if isinstance(split, str) else split[number % len(split)]
        for of_side, side in enumerate(("left", "right")):
            label = number % 2 if alike else of_side
            row = {"patient": f"p{number:02}", "side": side, "class": None, **ANY}
            part = of if known else "unlabelled"
            rows.append(row | {"label": label if known else None, "split": part})
    crops = np.zeros((len(rows), 64, 64, 64), np.uint8)
    return write_store(folder / "crops", crops, pd.DataFrame(rows), info={"simulated": False})


def test_crops_that_are_all_labelled_are_fit_for_it_and_pretraining_is_said_in_words(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, 20)
    plan = Plan.read("smoke", store.folder)
    require_usable(plan, "loss")
    assert "No patients without labels" in " ".join(division(plan))
    assert [plan.seed_of("l1", fold) for fold in (1, 2)] == [1, 2], "from its own training crops"
    with_more = Plan.read("smoke", store_of(tmp_path / "more", 20, unlabelled=2).folder)
    assert with_more.unlabelled and "without labels" not in " ".join(division(with_more))


def test_a_preset_that_would_use_shifted_boxes_says_that_there_are_none(tmp_path: Path) -> None:
    store = store_of(tmp_path, 20)
    assert "--jitter" in " ".join(division(Plan.read("cpu", store.folder)))
    assert "--jitter" not in " ".join(division(Plan.read("smoke", store.folder)))
    table = store.table.assign(jitter=[0, 1] * 20)
    shifted = write_store(tmp_path / "shifted", store.crops, table, info={"simulated": False})
    assert "--jitter" not in " ".join(division(Plan.read("cpu", shifted.folder)))


def test_pretraining_learns_from_training_crops_where_nothing_is_unlabelled(
    tmp_path: Path,
) -> None:
    for unlabelled, part in ((0, "train"), (1, "train"), (2, "unlabelled")):
        store = store_of(tmp_path / str(unlabelled), 20, unlabelled=unlabelled)
        splits = tmp_path / str(unlabelled) / "splits.csv"
        make_splits(SplitConfig(store=store.folder, output=splits))
        partition = Partition.of(store, splits, 2)
        rows = pretraining_rows(partition)
        assert set(partition.part[rows]) == {part}


def test_too_few_labels_are_said_before_anything_starts(tmp_path: Path) -> None:
    few = store_of(tmp_path, 4)
    with pytest.raises((BadStore, BadConfig), match=r"needed|cannot be divided"):
        run_experiment(
            ExperimentConfig(name="loss", crops=few.folder, output=tmp_path / "work", preset="cpu")
        )
    assert not (tmp_path / "work").exists()


def test_a_share_without_an_anomalous_sinus_is_said_before_anything_starts(tmp_path: Path) -> None:
    store = store_of(tmp_path, 20, alike=True)
    with pytest.raises(BadStore, match="10 % of the training patients"):
        require_usable(Plan.read("cpu", store.folder), "loss")


def test_a_split_of_the_table_is_honoured(tmp_path: Path) -> None:
    parts = ["train", "train", "validation", "test"]
    plan = Plan.read("smoke", store_of(tmp_path, 16, parts).folder)
    assert plan.divided and plan.folds == 1
    require_usable(plan, "loss")
    with pytest.raises(BadConfig, match="--folds 3"):
        Plan.read("smoke", plan.crops, folds=3)
    with pytest.raises(BadConfig, match="not of all"):
        Plan.read("smoke", store_of(tmp_path / "some", 8, ["test", "labelled"]).folder)


def test_a_patient_in_two_parts_is_said_before_anything_starts(tmp_path: Path) -> None:
    store = store_of(tmp_path, 16, ["train", "train", "validation", "test"])
    table = store.table.copy()
    table.loc[table.index[1], "split"] = "test"
    changed = write_store(tmp_path / "changed", store.crops, table, info={"simulated": False})
    with pytest.raises(BadStore, match="p00 is in train and in test"):
        require_usable(Plan.read("smoke", changed.folder), "loss")


def test_a_division_that_no_command_made_is_told_how_it_is_given(tmp_path: Path) -> None:
    store = store_of(tmp_path, 8)
    own = tmp_path / "own.csv"
    with pytest.raises(BadStore, match=r"own\.csv does not exist"):
        Plan.read("smoke", store.folder, splits=own)
    own.write_text("patient,set\np00,test\n")
    with pytest.raises(BadStore, match=r"own\.json beside it is missing.*the column split"):
        Plan.read("smoke", store.folder, splits=own)


def test_folds_are_those_that_are_asked_for(tmp_path: Path) -> None:
    store = store_of(tmp_path, 24)
    config = ExperimentConfig(name="loss", preset="smoke", crops=store.folder, folds=3)
    plan = read_plan(config)
    assert plan.folds == plan.split_settings()["folds"] == 3
    assert plan.compare_settings("loss")["folds"] == 3, "a folder may hold runs of more"
    assert "folds" in Plan.read("smoke").split_settings()
    assert Plan.read("cpu").split_settings() == {}, "what was made by the preset stays"
    splits = make_splits(SplitConfig(store=store.folder, output=tmp_path / "s.csv", folds=4))
    assert Plan.read("smoke", store.folder, splits=splits).folds == 4
    assert Plan.read("smoke", store.folder, splits=splits, folds=2).folds == 2
    for folds, file in ((5, splits), (1, None)):
        with pytest.raises(BadConfig, match=f"--folds {folds}"):
            Plan.read("smoke", store.folder, splits=file, folds=folds)
    with pytest.raises(BadConfig, match="--crops"):
        Plan.read("smoke", splits=splits)


def test_every_fold_of_a_division_has_its_autoencoder_though_fewer_are_run(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, 24, unlabelled=4)
    splits = make_splits(SplitConfig(store=store.folder, output=tmp_path / "s.csv", folds=4))
    plan = Plan.read("smoke", store.folder, splits=splits, folds=2)
    names = plan.autoencoders_of("crossed")
    folds = [plan.train_settings(name).get("fold", 1) for name in names]
    assert folds == [1, 2, 3, 4] and set(names) <= set(Needed(plan, "beyond").autoencoders)
    unseen_by(store, splits, folds)  # raises where a patient is known to all of them


def test_residuals_that_are_learnt_do_not_tell_labels_where_all_crops_are_labelled(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, 20)
    plan = Plan.read("smoke", store.folder, folds=3)
    needed = Needed(plan, "table2")
    assert needed.residuals and set(needed.autoencoders) == {"plain", "plain.fold2", "plain.fold3"}
    for name in needed.residuals:
        assert plan.autoencoders_of(name) == needed.autoencoders
    with_more = Plan.read("smoke", store_of(tmp_path / "more", 20, unlabelled=2).folder, folds=3)
    assert with_more.autoencoders_of("calibrated") == ["plain"], (
        "none has learnt from the unlabelled"
    )
    divided = Plan.read(
        "smoke", store_of(tmp_path / "one", 9, ["train", "validation", "test"]).folder
    )
    assert divided.autoencoders_of("calibrated") == ["plain"]
    assert "know something of labels" in " ".join(division(divided))


def test_the_other_side_of_a_labelled_patient_is_nothing_to_pretrain_on(tmp_path: Path) -> None:
    store = store_of(tmp_path, 3, ["train", "validation", "test"], unlabelled=2)
    table = store.table.copy()
    test_side = table.index[(table["patient"] == "p02") & (table["side"] == "right")]
    table.loc[test_side, ["label", "split"]] = [pd.NA, "unlabelled"]
    changed = write_store(tmp_path / "changed", store.crops, table)
    part = Partition.of(changed, None).part
    assert part[test_side[0]] == "" and (part == "unlabelled").sum() == 4
