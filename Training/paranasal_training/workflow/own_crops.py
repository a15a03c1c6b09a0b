"""Crops that are there already: what they allow an experiment, and whether it can end well on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from paranasal_training.data.config import SplitConfig
from paranasal_training.data.splits import Partition, divided_patients, fold_count
from paranasal_training.data.store import CropStore, read_record
from ParanasalSSLLib.errors import BadConfig, BadStore

if TYPE_CHECKING:
    from paranasal_training.workflow.plan import Plan

DIVIDED = {"train", "validation", "test"}
LEAST_UNLABELLED = 2  # patients; `stages.pretrain` asks for as many
LEAST_HEALTHY = 2  # patients; `stages.healthy` asks for as many


@dataclass(frozen=True)
class OwnCrops:
    """A crop store by its record and table.

    simulated: whether it is simulated. masks: whether its lesions are known.
    divided: whether its own table names training, validation and test.
    unlabelled: whether there are patients to pretrain on beside those with labels.
    """

    folder: Path
    simulated: bool
    masks: bool
    divided: bool
    unlabelled: bool

    @classmethod
    def read(cls, folder: Path) -> OwnCrops:
        """Without a look at the crops themselves. Raises `BadStore`: no crop store, or damaged."""
        record = read_record(folder)
        simulated = bool(record["info"].get("simulated", False))
        table = _table(folder)
        named = set(table["split"][table["label"].notna()])
        without = set(table["patient"]) - set(table["patient"][table["label"].notna()])
        return cls(
            folder.resolve(),
            simulated,
            "lesions.npy" in record["sha256"],
            # A simulated table is divided too, into one partition; its folds are made from it all.
            not simulated and bool(named & DIVIDED) and _all_named(folder, named),
            len(without) >= LEAST_UNLABELLED,
        )


def _table(folder: Path) -> pd.DataFrame:
    path = folder / "table.csv"
    try:
        return pd.read_csv(path, usecols=["patient", "split", "label"], dtype={"patient": str})
    except (OSError, ValueError) as error:
        raise BadStore(f"{path} is damaged and cannot be read as CSV.") from error


def _all_named(folder: Path, named: set[str]) -> bool:
    if "labelled" in named:
        raise BadConfig(
            f"{folder / 'table.csv'}: the column split names the part of some patients with labels, "
            "not of all. Name train, validation or test for each in the table of scans, or for none, "
            "and prepare the crops again; or give a file of `paranasal split` with --splits."
        )
    return True


def count_folds(own: OwnCrops | None, splits: Path | None, wanted: int | None, usual: int) -> int:
    """How many folds an experiment has.

    Args:
        own: crops that are there already.
        splits: file that divides them.
        wanted: by the user.
        usual: of the preset.

    Raises:
        BadConfig: fewer than one fold, more than there are, or a file without its crops.
    """
    if splits is None and not (own and own.divided):
        if wanted is not None and wanted < 2:
            raise BadConfig(f"--folds {wanted}: a division has two folds or more.")
        return wanted or usual
    if own is None:
        raise BadConfig("--splits belongs to crops that are there: give them with --crops.")
    there = fold_count(splits) if splits else 1
    if wanted is not None and not 1 <= wanted <= there:
        source = splits or f"The column split of {own.folder / 'table.csv'}"
        raise BadConfig(f"--folds {wanted}: {source} has {there}.")
    return wanted or there


def require_usable(plan: Plan, name: str) -> None:
    """See before the first step that no step of an experiment will want for crops.

    Raises:
        BadStore, BadConfig: it would; says what there is too little of.
    """
    if plan.crops is None:
        return
    store = CropStore.open(plan.crops)
    calibrated = _calibrates(plan, name)
    for fold, partition in _partitions(plan, store):
        partition.require_both_classes()
        for percent in plan.percents(name):
            _require_labels(partition, fold, percent)
        if calibrated and _patients(partition, partition.rows("validation", 0)) < LEAST_HEALTHY:
            raise BadStore(
                f"{store.folder}: fewer than {LEAST_HEALTHY} patients with healthy sinuses in the "
                f"validation part of fold {fold}, too few to calibrate residuals. More patients, or "
                "fewer folds, are needed."
            )


def _partitions(plan: Plan, store: CropStore) -> list[tuple[int, Partition]]:
    folds = range(1, plan.folds + 1)
    if plan.splits or plan.divided:
        return [(fold, Partition.of(store, plan.splits, fold)) for fold in folds]
    config = SplitConfig(store=store.folder, output=Path("splits.csv"), **plan.split_settings())
    table = divided_patients(store, config)
    return [(fold, Partition.divided(store, table, fold)) for fold in folds]


def _require_labels(partition: Partition, fold: int, percent: int) -> None:
    for label, word in ((0, "normal"), (1, "anomalous")):
        if not len(partition.rows("train", label, percent / 100)):
            raise BadStore(
                f"{partition.store.folder}: no {word} sinus among {percent} % of the training patients "
                f"of fold {fold}. Use a preset with larger `percents`, or more labelled patients."
            )


def _patients(partition: Partition, rows: np.ndarray) -> int:
    return int(partition.store.table["patient"].iloc[rows].nunique())


def _calibrates(plan: Plan, name: str) -> bool:
    rows = [plan.rows[row] for row in plan.closed_rows(name)]
    used = {plan.rows[row.like].learns_from if row.like else row.learns_from for row in rows}
    used |= {row.score for row in rows}
    return any(of and plan.residuals[of].get("kind") == "calibrated" for of in used)


def division(plan: Plan) -> list[str]:
    """How crops that are there are used, for people; nothing to say of the simulated cohort."""
    if plan.crops is None:
        return []
    by = plan.splits or "the column split of its table" if plan.splits or plan.divided else "chance"
    lines = [f"{plan.crops} is divided by {by}; folds: {plan.folds}."]
    if not plan.unlabelled:
        lines.append(
            "No patients without labels: pretraining learns from each fold's training crops, without "
            "their labels."
        )
    return lines
