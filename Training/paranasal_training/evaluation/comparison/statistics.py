"""How sure the figures are.

Figures are means over a row's runs. Two kinds of chance make them uncertain, and intervals and
comparisons cover both:

- which patients are in the test set: they are drawn anew with replacement, both sinuses of a patient
  together, the same draws for all rows;
- training: labels, pretraining run, random start: see `chance.py`. To each resample of the test
  patients a random deviation of each row is added, as large as the table's own runs show it to be.

The paper does not say how its 95 % intervals were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from paranasal_training.evaluation.comparison.chance import Draws, estimate
from paranasal_training.evaluation.comparison.collect import METRICS, MethodPercent, Run, ScoredRuns
from paranasal_training.evaluation.metrics import ECE_BINS

LEVEL = 0.05  # of the adjusted p below which a difference counts
COMPARED = ("auroc", "auprc")
_TINY = 1e-6  # differences smaller than this are rounding


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """Its lower end; no figure is below 0."""
        return float(np.clip(self.mean - self.half, 0, 1))

    @property
    def high(self) -> float:
        """Its upper end; no figure is above 1."""
        return float(np.clip(self.mean + self.half, 0, 1))


# ----------------------------------------------------------------------------- test patients


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

    def rates(self, probability: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
        """F1, sensitivity, specificity, Brier and ECE of each resample, float64 (B + 1,).

        Args:
            probability: (n,) of the crops.
            called: bool (n,), called anomalous.
        """
        label = self.labels.astype(float)
        columns = [called & self.labels, called & ~self.labels, self.labels, ~self.labels]
        columns += [(probability - label) ** 2]
        bins = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
        columns += [(bins == number) * (label - probability) for number in range(ECE_BINS)]
        of = self.patients
        sums = [np.bincount(of, column, self.counts.shape[1]) for column in columns]
        found, false, sick, well, squares, *gaps = (self.counts @ np.stack(sums, axis=1)).T
        return {
            "f1": 2 * found / (found + false + sick),
            "sensitivity": found / sick,
            "specificity": 1 - false / well,
            "brier": squares / (sick + well),
            "ece": np.abs(gaps).sum(axis=0) / (sick + well),
        }

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


# -------------------------------------------------------------------------- both kinds of chance


@dataclass(frozen=True, eq=False)
class Sampled:
    """Every cell's figures, and how they might have come out.

    Attributes:
        values: by cell and metric, float64 (B + 1,): the mean over its runs, then resamples.
        means: by cell and metric, the mean of what the runs' own records say.
        pretraining: whether the chance of pretraining is in it, at one label fraction at least.
    """

    values: Mapping[MethodPercent, Mapping[str, np.ndarray]]
    means: Mapping[MethodPercent, Mapping[str, float]]
    pretraining: bool

    @classmethod
    def of(cls, experiment: ScoredRuns, resamples: int, seed: int) -> Sampled:
        """Draw test patients and chances of training, the same for the same seed."""
        drawn = Resamples.draw(experiment.test, resamples, seed)
        plain = {cell: _figures(drawn, runs) for cell, runs in experiment.runs.items()}
        values: dict[MethodPercent, dict[str, np.ndarray]] = {cell: {} for cell in plain}
        known = False
        for percent in sorted({percent for _, percent in plain}):
            cells = {cell[0]: runs for cell, runs in experiment.runs.items() if cell[1] == percent}
            for number, metric in enumerate(METRICS):
                rows = {row: _row_runs(runs, metric) for row, runs in cells.items()}
                chances = estimate(rows)
                known |= chances is not None and chances.covers_pretraining
                count = len(drawn.counts) - 1
                draws = Draws.draw(rows, count, (seed, 0xC4, percent, number))
                for row in cells:
                    deviation = np.concatenate([[0.0], draws.values[row]])
                    figures = plain[row, percent][metric] + deviation
                    values[row, percent][metric] = figures.clip(0, 1)  # as every metric is
        means = {
            cell: {name: float(np.mean([run.metrics[name] for run in runs])) for name in METRICS}
            for cell, runs in experiment.runs.items()
        }
        return cls(values, means, known)

    def interval(self, cell: MethodPercent, metric: str) -> Interval:
        """Mean and 95 % interval of a cell."""
        low, high = np.quantile(self.values[cell][metric][1:], [0.025, 0.975])
        return Interval(self.means[cell][metric], float(high - low) / 2)


def _figures(drawn: Resamples, runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """All metrics, by name, float64 (B + 1,)."""
    ranks = [run.ranks for run in runs]
    rates = [drawn.rates(run.probability, run.probability >= run.threshold) for run in runs]
    found = {name: np.mean([rate[name] for rate in rates], axis=0) for name in rates[0]}
    return found | {"auroc": drawn.auroc(ranks), "auprc": drawn.auprc(ranks)}


def _row_runs(runs: Sequence[Run], metric: str) -> pd.DataFrame:
    """What `chance.py` needs to know of a row's runs."""
    lines = [
        {
            "fold": run.fold,
            "training": run.training.name if run.training else None,
            "pretraining": run.training.pretraining if run.training else None,
            "y": run.metrics[metric],
        }
        for run in runs
    ]
    return pd.DataFrame(lines)


def summarise(experiment: ScoredRuns, sampled: Sampled) -> dict[MethodPercent, dict[str, Interval]]:
    """Mean and interval of each metric, by method and percent."""
    return {
        cell: {name: sampled.interval(cell, name) for name in METRICS} for cell in experiment.runs
    }


def compare(sampled: Sampled, ours: str) -> pd.DataFrame:
    """Ours against every other method at every label fraction, AUROC and AUPRC.

    Returns:
        Columns percent, metric, ours, baseline, difference (ours minus baseline, mean over folds), low
        and high (95 % percentile interval), p (two-sided), p_holm (adjusted over the baselines of one
        share and metric), outcome (`wins`, `ties`: no difference shown, `loses`).
    """
    values = sampled.values
    lines: list[dict[str, object]] = []
    for percent in sorted({percent for method, percent in values if method == ours}):
        baselines = [cell for cell in values if cell[1] == percent and cell[0] != ours]
        for metric in COMPARED:
            lines += _compare_fraction(values, metric, (ours, percent), baselines)
    columns = ["percent", "metric", "ours", "baseline", "difference", "low", "high"]
    return pd.DataFrame(lines, columns=[*columns, "p", "p_holm", "outcome"])


def _compare_fraction(
    values: Mapping[MethodPercent, Mapping[str, np.ndarray]],
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
