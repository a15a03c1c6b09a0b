"""Reads the finished runs of an experiment: `RUNS/<method>/<percent>/fold<k>/`.

A run that is not there stays open and says why. A run that is there must be whole, and all runs must
have scored the same test crops, otherwise nothing can be compared.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from paranasal_training.evaluation.comparison.provenance import Training, read_training
from ParanasalSSLLib.errors import BadStore

METRICS = ("auroc", "auprc", "f1", "ece", "brier", "sensitivity", "specificity")
NOT_RUN = "not run"
AGAIN = "Remove the run's folder and run it again."
# Predictions are rounded to five digits and probabilities may saturate, so AUROCs differ a little.
AUROC_TOLERANCE = 0.005
_COLUMNS = ("row", "patient", "side", "split", "label", "margin", "probability")

MethodPercent = tuple[str, int]  # method, percent of the training patients whose labels were used


@dataclass(frozen=True, eq=False)
class Run:
    """One fine-tuned network on the test set.

    Attributes:
        fold: 1, 2, ...
        metrics: of the test set, by the names in `METRICS`.
        threshold: on the probability, chosen on the fold's validation set.
        test: the test crops in the order of their rows, as in `predictions.csv`.
        ranks: (n,) order of the crops by score, 0 the most normal; equal scores share a rank.
        training: how the classifier came about, where that is known.
    """

    fold: int
    metrics: Mapping[str, float]
    threshold: float
    test: pd.DataFrame
    ranks: np.ndarray
    training: Training | None = None

    @property
    def probability(self) -> np.ndarray:
        """(n,) calibrated probabilities."""
        return self.test["probability"].to_numpy()


@dataclass(frozen=True, eq=False)
class ScoredRuns:
    """All runs that are there, and the reasons why others are not.

    Attributes:
        runs: by method and percent, in the order of folds.
        missing: reason, by method and percent.
        folds: that every cell with runs has.
    """

    runs: Mapping[MethodPercent, tuple[Run, ...]]
    missing: Mapping[MethodPercent, str]
    folds: tuple[int, ...]

    @property
    def test(self) -> pd.DataFrame:
        """The test crops (row, patient, side, label, ...) that all runs share."""
        return next(iter(self.runs.values()))[0].test

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,) labels of the test crops."""
        return self.test["label"].to_numpy(dtype=np.int64)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a run: method, percent, fold and the metrics."""
        lines = [
            {"method": method, "percent": percent, "fold": run.fold, **run.metrics}
            for (method, percent), runs in self.runs.items()
            for run in runs
        ]
        return pd.DataFrame(lines, columns=["method", "percent", "fold", *METRICS])


def collect(
    folder: Path,
    methods: Sequence[str],
    percents: Sequence[int],
    reasons: Mapping[str, str] | None = None,
    most: int | None = None,
) -> ScoredRuns:
    """Read the runs of methods at label fractions.

    Args:
        folder: holds `<method>/<percent>/fold<k>/`.
        methods, percents: which to look for.
        reasons: methods that stay open, and why; runs of theirs that are there are of other tables.
        most: folds to read, from the first; those beyond may be of an earlier division. Default: all.

    Raises:
        BadStore: a run is incomplete or damaged, runs differ in their test crops, or there are none.
    """
    cells = [(method, percent) for method in methods for percent in percents]
    reasons = reasons or {}
    runs = {
        (method, percent): ()
        if method in reasons
        else _read_cell(folder / method / str(percent), most)
        for method, percent in cells
    }
    folds = tuple(sorted({run.fold for found in runs.values() for run in found}))
    if not folds:
        raise BadStore(f"{folder} holds none of the runs. Expected: METHOD/PERCENT/foldK/ in it.")
    missing = {}
    for cell, found in runs.items():
        if not found:
            missing[cell] = reasons.get(cell[0], NOT_RUN)
        elif len(found) < len(folds):
            missing[cell] = f"only {_words(run.fold for run in found)} of {_words(folds)} has run"
    complete = {cell: found for cell, found in runs.items() if cell not in missing}
    if not complete:
        raise BadStore(f"{folder}: no method has all of {_words(folds)}. Finish the runs first.")
    _require_same_test(folder, complete)
    return ScoredRuns(complete, missing, folds)


def _words(folds: Iterable[int]) -> str:
    return "fold " + ", ".join(str(fold) for fold in folds)


def _read_cell(folder: Path, most: int | None) -> tuple[Run, ...]:
    matches = (re.fullmatch(r"fold(\d+)", path.name) for path in folder.glob("fold*"))
    there = sorted(int(match.group(1)) for match in matches if match)
    folds = [fold for fold in there if most is None or fold <= most]
    return tuple(read_run(folder / f"fold{fold}", fold) for fold in folds)


def read_run(folder: Path, fold: int) -> Run:
    """Read one run's `predictions.csv` and `metrics.json`.

    Raises:
        BadStore: a file is missing or damaged, or the two do not belong together.
    """
    record = _read_metrics(folder / "metrics.json")
    test = _read_predictions(folder / "predictions.csv")
    ranks = _ranks(test, record["calibration"]["slope"])
    metrics = {name: float(record["test"][name]) for name in METRICS}
    found = roc_auc_score(test["label"], ranks)
    if abs(found - metrics["auroc"]) > AUROC_TOLERANCE:
        raise BadStore(
            f"{folder}: predictions.csv gives a test AUROC of {found:.3f}, metrics.json says "
            f"{metrics['auroc']:.3f}. They are of different runs. {AGAIN}"
        )
    training = read_training(folder.absolute(), folder.absolute().parents[3])
    return Run(fold, metrics, float(record["threshold"]), test, ranks, training)


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = [record["test"][name] for name in METRICS]
        found += [record["threshold"], record["calibration"]["slope"]]
        if not all(math.isfinite(value) for value in found):
            raise ValueError("a figure is not finite")
    except OSError as error:
        raise BadStore(f"{path} cannot be read ({error.strerror}). {AGAIN}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadStore(f"{path} is damaged or lacks an entry ({error}). {AGAIN}") from error
    return record


def _read_predictions(path: Path) -> pd.DataFrame:
    """The test crops of `predictions.csv`, sorted by row."""
    try:
        table = pd.read_csv(path, dtype={"patient": str})
    except OSError as error:
        raise BadStore(f"{path} cannot be read ({error.strerror}). {AGAIN}") from error
    except ValueError as error:  # malformed, empty, not UTF-8
        raise BadStore(f"{path} is damaged ({error}). {AGAIN}") from error
    lacking = sorted(set(_COLUMNS) - set(table.columns))
    if lacking:
        raise BadStore(f"{path} lacks the columns {', '.join(lacking)}. {AGAIN}")
    test = table[table["split"] == "test"].sort_values("row").reset_index(drop=True)
    wrong = _first_problem(test)
    if wrong:
        raise BadStore(f"{path}: {wrong}. {AGAIN}")
    return test.assign(**_numbers(test))


def _numbers(test: pd.DataFrame) -> pd.DataFrame:
    """The columns that must be numbers, NaN where they are not."""
    columns = ["row", "label", "margin", "probability"]
    return test[columns].apply(pd.to_numeric, errors="coerce")


def _first_problem(test: pd.DataFrame) -> str | None:
    numbers = _numbers(test)
    bad = ~np.isfinite(numbers.to_numpy(dtype=float)).all(axis=1) | test["patient"].isna()
    bad |= ~numbers["label"].isin([0, 1]) | ~numbers["probability"].between(0, 1)
    if bad.any():
        return f"test row {test.loc[bad, 'row'].iloc[0]} has a missing or impossible value"
    if test["row"].duplicated().any():
        return f"test row {test.loc[test['row'].duplicated(), 'row'].iloc[0]} stands there twice"
    if set(numbers["label"]) != {0, 1}:
        return "the test set needs normal and anomalous crops"
    return None


def _ranks(test: pd.DataFrame, slope: float) -> np.ndarray:
    """int64 (n,) order by probability.

    The margin tells crops apart whose probabilities are rounded to the same, and the other way round;
    with a negative slope the greater margin is the more normal one.
    """
    keys = np.stack([np.sign(slope) * test["margin"], test["probability"]], axis=1)
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()


def _require_same_test(folder: Path, runs: Mapping[MethodPercent, tuple[Run, ...]]) -> None:
    known = {"row": int, "patient": str, "side": str, "label": int}
    known |= {"true_class": float, "lesion_ml": float}
    first: tuple[str, pd.DataFrame] | None = None
    for (method, percent), found in runs.items():
        for run in found:
            name, crops = f"{method}/{percent}/fold{run.fold}", run.test
            kinds = {column: kind for column, kind in known.items() if column in crops}
            crops = crops[[*kinds]].astype(kinds)
            first = first or (name, crops)
            if not crops.equals(first[1]):
                raise BadStore(
                    f"{folder}: {name} was tested on other crops than {first[0]}. All runs of a "
                    "comparison need the same crop store and the same splits.csv."
                )
