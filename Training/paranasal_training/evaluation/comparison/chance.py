"""The chance of training: whose labels, which pretraining run, which random start.

A table has a run for each row and fold, and the folds of a row start from its pretraining runs in
turn. A figure y of row r, fold k and pretraining run s is taken for

    y = mean of the row + fold k + pretraining s + rest,

the fold (whose labels) the same for all rows, the rest of its own for each fine-tuning. A row alone
has too few runs to tell these apart; all rows of one label fraction give the three variances together
(method of moments), as if they were the same for all rows: an assumption, and the price of few runs.

Rows that differ in their scoring only share everything, rows that start from the same pretraining share
its chance; so neither counts where such rows are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

RowRuns = Mapping[str, pd.DataFrame]
"""By row, a line a run: `fold`, `training` and `pretraining` (names, None: not known), figure `y`."""


@dataclass(frozen=True)
class Part:
    """One source of chance: its variance, and of how many degrees of freedom that is known."""

    variance: float = 0.0
    freedom: float = np.inf

    def draw(self, count: int, uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """float64 (count,) as normal with a variance that is itself uncertain: Student's t."""
        return np.sqrt(self.variance) * uncertainty * rng.standard_normal(count)

    def uncertainty(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """float64 (count,), factors of the standard deviation, the same for all draws of this part."""
        if not np.isfinite(self.freedom):
            return np.ones(count)
        return np.sqrt(self.freedom / rng.chisquare(self.freedom, count))


@dataclass(frozen=True)
class Chance:
    """The three parts.

    Attributes:
        pretraining: None where it cannot be told apart.
        in_rest: it cannot, because each run has a pretraining of its own: the rest holds it, too.
    """

    fold: Part
    pretraining: Part | None
    rest: Part
    in_rest: bool = False

    @property
    def covers_pretraining(self) -> bool:
        """Whether the chance of pretraining is in any part."""
        return self.pretraining is not None or self.in_rest


def estimate(rows: RowRuns) -> Chance | None:
    """The parts from all rows whose trainings are known, each training counted once; None: too few."""
    table = _distinct(rows)
    if table is None:
        return None
    y = table.pivot(index="row", columns="fold", values="y")
    count, folds = y.shape
    centred = y.sub(y.mean(axis=1), axis=0)
    effect = centred.mean(axis=0) if count > 1 else 0.0 * centred.mean(axis=0)
    left = centred - effect
    share = (count - 1) / count if count > 1 else 1.0  # what taking the folds' effects out leaves
    table = table.assign(
        z=[left.loc[r, f] for r, f in zip(table["row"], table["fold"], strict=True)]
    )
    between, weight, groups, within, inside = _sums(table, share)
    if inside:
        rest = Part(within / inside, inside * share)
    else:  # each run has a pretraining of its own
        rest = Part(between / groups if groups else 0.0, groups or np.inf)
    pretraining = None
    if inside and weight:
        pretraining = Part(max(0.0, (between - groups * rest.variance) / weight), groups)
    own = 0.0 if count > 1 else np.nan
    spread = float(effect.var(ddof=1)) if folds > 1 and count > 1 else own
    fold = Part(max(0.0, np.nan_to_num(spread - rest.variance / count)), max(1, folds - 1))
    return Chance(fold, pretraining, rest, in_rest=bool(groups and not inside))


def _distinct(rows: RowRuns) -> pd.DataFrame | None:
    """All runs with a known training, of complete rows, without those that are scored again."""
    known, seen = [], set()
    for row, runs in rows.items():
        names = tuple(runs["training"])
        if None in names or names in seen or len(runs) < 2:
            continue
        seen.add(names)
        known.append(runs.assign(row=row))
    return pd.concat(known, ignore_index=True) if known else None


def _sums(table: pd.DataFrame, share: float) -> tuple[float, float, int, float, float]:
    """Sums of squares between and within pretraining runs over all rows, of unit `rest`.

    Returns:
        Between, how often the pretraining's variance is in it, its degrees of freedom; within, its
        degrees of freedom. Rows with a pretraining for each run only count where all rows are so.
    """
    shared = [runs for _, runs in table.groupby("row") if runs["pretraining"].duplicated().any()]
    between, weight, groups, within, inside = 0.0, 0.0, 0, 0.0, 0.0
    for runs in shared or [runs for _, runs in table.groupby("row")]:
        parts = [part["z"].to_numpy() for _, part in runs.groupby("pretraining", dropna=False)]
        sizes = np.array([len(part) for part in parts])
        means = np.array([part.mean() for part in parts])
        total = sizes.sum()
        between += float((sizes * (means - (sizes * means).sum() / total) ** 2).sum()) / share
        weight += float(total - (sizes**2).sum() / total)
        groups += len(parts) - 1
        within += sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / share
        inside += total - len(parts)
    return between, weight, groups, within, float(inside)


@dataclass(frozen=True, eq=False)
class Draws:
    """Random deviations of rows' means, as the chance of training makes them.

    values: float64 (count,) by row.
    """

    values: Mapping[str, np.ndarray]

    @classmethod
    def draw(cls, rows: RowRuns, count: int, seed: Sequence[int]) -> Draws:
        """Draw `count` deviations of every row's mean; rows share what their runs share.

        A row of which nothing is known has the chance of its own runs' mean, fold and all; where that
        is so of all rows, each run is taken for a training of its own.
        """
        rng = np.random.default_rng(list(seed))
        if all(runs["training"].isna().all() for runs in rows.values()):
            rows = {row: _named(row, runs) for row, runs in rows.items()}
        chance = estimate(rows)
        if chance is None:
            return cls(
                {row: _alone(runs["y"].to_numpy(), count, rng) for row, runs in rows.items()}
            )
        sure = {
            name: part.uncertainty(count, rng)
            for name, part in (
                ("fold", chance.fold),
                ("rest", chance.rest),
                ("pretraining", chance.pretraining or Part()),
            )
        }
        folds = max(len(runs) for runs in rows.values())
        common = chance.fold.draw(count, sure["fold"], rng) / np.sqrt(folds)
        names = sorted({str(name) for runs in rows.values() for name in runs["training"].dropna()})
        rest = {name: chance.rest.draw(count, sure["rest"], rng) for name in names}
        starts = sorted({str(n) for runs in rows.values() for n in runs["pretraining"].dropna()})
        part = chance.pretraining or Part()
        pretraining = {name: part.draw(count, sure["pretraining"], rng) for name in starts}
        values = {}
        for row, runs in rows.items():
            if runs["training"].isna().any():
                values[row] = _alone(runs["y"].to_numpy(), count, rng)
                continue
            own = sum(rest[str(name)] for name in runs["training"]) / len(runs)
            begun = Counter(str(name) for name in runs["pretraining"].dropna())
            shared = sum(n * pretraining[name] for name, n in begun.items()) / len(runs)
            values[row] = common + own + shared
        return cls(values)


def _named(row: str, runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(training=[f"{row}/fold{fold}" for fold in runs["fold"]])


def _alone(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Student's t of the mean of a row's runs."""
    if len(y) < 2:
        return np.zeros(count)
    return y.std(ddof=1) / np.sqrt(len(y)) * rng.standard_t(len(y) - 1, count)
