"""How sure the figures are.

Two kinds of chance make a figure uncertain, and each interval here covers one of them:

- `mean_interval` (Student's t over folds) covers the choice of training patients and the random start.
  All folds are tested on the same patients, so it does not cover the choice of test patients.
- `compare` (paired bootstrap of the test patients) covers the choice of test patients. The trained
  networks stay as they are.

The paper does not say how its 95 % intervals were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from paranasal_training.evaluation.comparison.collect import METRICS, MethodPercent, Run, ScoredRuns

LEVEL = 0.05  # of the adjusted p below which a difference counts
COMPARED = ("auroc", "auprc")
_TINY = 1e-6  # differences smaller than this are rounding


# ------------------------------------------------------------------------------- over folds


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval, NaN for a single value."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """Its lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Its upper end."""
        return self.mean + self.half


def mean_interval(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Interval(float(array.mean()), float("nan"))
    error = array.std(ddof=1) / np.sqrt(len(array))
    return Interval(float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * error))


def summarise(experiment: ScoredRuns) -> dict[MethodPercent, dict[str, Interval]]:
    """Mean and interval over folds of each metric, by method and percent."""
    return {
        cell: {name: mean_interval([run.metrics[name] for run in runs]) for name in METRICS}
        for cell, runs in experiment.runs.items()
    }


# -------------------------------------------------------------------------------- bootstrap


@dataclass(frozen=True, eq=False)
class Resamples:
    """The test set and B random ones of as many patients, drawn with replacement.

    Attributes:
        labels: bool (n,) of the crops.
        patients: int (n,) number of each crop's patient.
        counts: float64 (B + 1, patients), how often each is drawn; line 0 is the test set itself.
    """

    labels: np.ndarray
    patients: np.ndarray
    counts: np.ndarray

    @classmethod
    def draw(cls, test: pd.DataFrame, resamples: int, seed: int) -> Resamples:
        """Draw patients, with all their crops. Resamples without one of the classes are left out."""
        labels = test["label"].to_numpy() == 1
        patients = pd.factorize(test["patient"], sort=True)[0]
        number = int(patients.max()) + 1
        rng = np.random.default_rng([seed, 0xB0])
        drawn = rng.multinomial(number, np.full(number, 1 / number), size=resamples)
        counts = np.concatenate([np.ones((1, number)), drawn])
        both = [
            counts @ np.bincount(patients[of], minlength=number) > 0 for of in (labels, ~labels)
        ]
        return cls(labels, patients, counts[both[0] & both[1]])

    def auroc(self, runs: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (B + 1,) AUROC of each resample, the mean over runs given as (n,) scores.

        AUROC is the share of pairs of an anomalous and a normal crop that are in the right order. With
        W the pairs won of each two patients, a resample with counts c wins c W c of them.
        """
        number = self.counts.shape[1]
        anomalous = np.eye(number)[self.patients[self.labels]]  # (n1, patients)
        normal = np.eye(number)[self.patients[~self.labels]]
        won = np.zeros((len(anomalous), len(normal)))
        for scores in runs:
            above, below = scores[self.labels][:, None], scores[~self.labels][None]
            won += (above > below) + 0.5 * (above == below)
        wins = anomalous.T @ (won / len(runs)) @ normal
        pairs = (self.counts @ anomalous.sum(axis=0)) * (self.counts @ normal.sum(axis=0))
        return ((self.counts @ wins) * self.counts).sum(axis=1) / pairs

    def auprc(self, runs: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (B + 1,) average precision of each resample, the mean over runs as in `auroc`."""
        # Whole numbers far below 2^24: exact as float32, and twice as fast.
        weights = np.ascontiguousarray(self.counts.T[self.patients], dtype=np.float32)
        total = np.zeros(len(self.counts))
        for scores in runs:
            total += self._average_precision(scores, weights)
        return total / len(runs)

    def _average_precision(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(B + 1,) mean precision at the anomalous crops, given each crop's (n, B + 1) counts."""
        order = np.argsort(-scores, kind="stable")
        anomalous = order[self.labels[order]]
        own = weights[anomalous]
        # How many crops, of all and of the anomalous, score as high as each anomalous one or higher.
        reach = scores[anomalous]
        called = np.cumsum(weights[order], axis=0)[_reached(scores[order], reach)]
        found = np.cumsum(own, axis=0)
        total = found[-1]
        precision = found[_reached(reach, reach)] / np.maximum(called, 1)
        return np.einsum("ab,ab->b", own, precision) / total


def _reached(falling: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Position of the last of the falling values that is not below each score."""
    return np.searchsorted(-falling, -scores, side="right") - 1


def compare(experiment: ScoredRuns, ours: str, resamples: int, seed: int) -> pd.DataFrame:
    """Ours against every other method at every label fraction, AUROC and AUPRC.

    Returns:
        Columns percent, metric, ours, baseline, difference (ours minus baseline, mean over folds), low
        and high (95 % percentile interval), p (two-sided), p_holm (adjusted over the baselines of one
        share and metric), outcome (`wins`, `ties`: no difference shown, `loses`).
    """
    drawn = Resamples.draw(experiment.test, resamples, seed)
    values = {cell: _resampled(drawn, runs) for cell, runs in experiment.runs.items()}
    lines: list[dict[str, object]] = []
    for percent in sorted({percent for method, percent in values if method == ours}):
        baselines = [cell for cell in values if cell[1] == percent and cell[0] != ours]
        for metric in COMPARED:
            lines += _compare_fraction(values, metric, (ours, percent), baselines)
    columns = ["percent", "metric", "ours", "baseline", "difference", "low", "high"]
    return pd.DataFrame(lines, columns=[*columns, "p", "p_holm", "outcome"])


def _resampled(drawn: Resamples, runs: Sequence[Run]) -> dict[str, np.ndarray]:
    scores = [run.ranks for run in runs]
    return {"auroc": drawn.auroc(scores), "auprc": drawn.auprc(scores)}


def _compare_fraction(
    values: dict[MethodPercent, dict[str, np.ndarray]],
    metric: str,
    ours: MethodPercent,
    baselines: list[MethodPercent],
) -> list[dict[str, object]]:
    differences = [values[ours][metric] - values[cell][metric] for cell in baselines]
    p_values = np.array([two_sided_p(found[1:]) for found in differences])
    lines: list[dict[str, object]] = []
    for cell, found, p, adjusted in zip(
        baselines, differences, p_values, holm(p_values), strict=True
    ):
        low, high = np.quantile(found[1:], [0.025, 0.975])
        lines.append(
            {
                "percent": ours[1],
                "metric": metric,
                "ours": ours[0],
                "baseline": cell[0],
                "difference": found[0],
                "low": low,
                "high": high,
                "p": p,
                "p_holm": adjusted,
                "outcome": outcome(found[0], adjusted),
            }
        )
    return lines


def two_sided_p(differences: np.ndarray) -> float:
    """Twice the share of resamples on the rarer side of zero, zero itself on both; at most 1."""
    below = 1 + int((differences <= _TINY).sum())
    above = 1 + int((differences >= -_TINY).sum())
    return min(1.0, 2 * min(below, above) / (1 + len(differences)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjustment of p values of one family."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    steps = np.arange(len(p_values), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * steps), 1.0)
    return adjusted


def outcome(difference: float, adjusted_p: float) -> str:
    """What a comparison says about ours."""
    if adjusted_p >= LEVEL:
        return "ties"
    return "wins" if difference > 0 else "loses"
