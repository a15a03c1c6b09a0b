"""Whether an experiment can end well on crops that are there already, and how it uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paranasal_training.data.config import SplitConfig
from paranasal_training.data.splits import Partition, divided_patients
from paranasal_training.data.store import CropStore
from paranasal_training.workflow.own_crops import OwnCrops
from paranasal_training.workflow.plan import Plan
from ParanasalSSLLib.errors import BadStore

LEAST_HEALTHY = 2  # patients; `stages.healthy` asks for as many


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
    if not plan.unlabelled and plan.divided:
        lines.append(
            "With one division the autoencoder has learnt from the healthy ones among these, so that "
            "rows that pretrain on residuals know something of labels. Without the column split, "
            "residuals are those of an autoencoder that has not learnt from the crop."
        )
    sizes = plan.preset
    wanted = any(stage.get("jittered") for stage in (sizes.train, sizes.pretrain, sizes.finetune))
    if wanted and not OwnCrops.read(plan.crops).shifted:
        lines.append(
            "No crops of shifted boxes (`paranasal prepare --jitter 15` makes them): `jittered: true` "
            "of the preset changes nothing."
        )
    return lines
