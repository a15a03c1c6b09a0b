"""Predictions as if networks of known quality had made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.evaluation.metrics import classification_metrics

WriteRun = Callable[..., Path]


def crops(patients: int, split: str, seed: int) -> pd.DataFrame:
    """Two crops a patient with labels and lesions; the same for the same seed."""
    rng = np.random.default_rng(seed)
    label = (rng.random(2 * patients) < 0.41).astype(int)
    label[:2] = (0, 1)
    kind = label * rng.integers(1, 5, len(label))
    return pd.DataFrame(
        {
            "row": np.arange(2 * patients) + (0 if split == "test" else 10_000),
            "patient": np.repeat([f"{split}-{n}" for n in range(patients)], 2),
            "side": ["left", "right"] * patients,
            "split": split,
            "class": kind,
            "label": label,
            "true_class": kind,
            "lesion_ml": (label * rng.gamma(2, 0.8, len(label))).round(3),
        }
    )


def write_run(folder: Path, quality: float, seed: int, patients: int = 40, cohort: int = 0) -> Path:
    """A run's files. `quality`: distance of the classes' margins in standard deviations.

    Crops are as difficult for one seed as for another, in part, as they are for real networks.
    """
    parts = [
        crops(max(8, patients // 3), "validation", cohort + 1),
        crops(patients, "test", cohort),
    ]
    table = pd.concat(parts, ignore_index=True)
    hard = np.random.default_rng(cohort).normal(size=len(table))
    own = np.random.default_rng(seed + 100).normal(size=len(table))
    margin = quality * (table["label"] - 0.5) + 0.8 * hard + 0.6 * own
    table["margin"] = margin
    table["probability"] = 1 / (1 + np.exp(-(quality * margin - 0.3)))
    test = table[table["split"] == "test"]
    folder.mkdir(parents=True, exist_ok=True)
    table.round(5).to_csv(folder / "predictions.csv", index=False)
    threshold = 0.45
    metrics = {
        "validation": {},
        "test": classification_metrics(
            test["probability"].to_numpy(), test["label"].to_numpy(), threshold
        ),
        "threshold": threshold,
        "calibration": {"slope": quality, "intercept": -0.3},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`none` and `residual` (much better) at 10 and 100 %, four folds each; `transfer` has not run."""
    folder = tmp_path_factory.mktemp("finetune")
    for method, quality in (("none", 0.6), ("residual", 2.5)):
        for percent in (10, 100):
            for fold in (1, 2, 3, 4):
                better = quality + percent / 200
                write_run(folder / method / str(percent) / f"fold{fold}", better, fold)
    return folder
