"""Thresholds of a residual map from validation crops, and how it finds the lesions of test crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from paranasal_training.evaluation.metrics import (
    BINS,
    BINS_PER_UNIT,
    VOLUME_EDGES_ML,
    dice,
    histogram,
    histogram_auroc,
    histogram_average_precision,
    histogram_dice,
)

HEALTHY_ML, HEALTHY_SHARE = 0.5, 0.95  # what a healthy sinus may show, and in how many
COVERED_SHARE = 0.1  # of a lesion; when the mask covers it, the lesion is found
SCORE_QUANTILE = 0.95


@dataclass(frozen=True)
class Thresholds:
    """dice: values from here on are marked, for the best Dice.

    healthy: values above are marked; `HEALTHY_SHARE` of healthy sinuses then show no more than
    `HEALTHY_ML`.
    """

    dice: float
    healthy: float


class ThresholdFit:
    """Chooses the thresholds of one map from validation crops, given one at a time.

    Args:
        region: bool (64, 64, 64), where voxels are judged.
    """

    def __init__(self, region: np.ndarray) -> None:
        self.region = region
        self._dice = np.zeros(BINS)
        self._levels: list[float] = []

    def add(self, values: np.ndarray, lesion: np.ndarray) -> None:
        """Take in one crop's map, and its lesion (bool, empty for a healthy sinus)."""
        inside, truth = values[self.region], lesion[self.region]
        if lesion.any():
            missed = int(lesion.sum() - truth.sum())
            self._dice += histogram_dice(histogram(inside, truth), missed)
        else:
            allowed = min(round(HEALTHY_ML * 1000), inside.size - 1)
            # Above this crop's (allowed + 1)-th largest value lie at most `allowed` voxels.
            self._levels.append(float(np.partition(inside, -allowed - 1)[-allowed - 1]))

    def thresholds(self) -> Thresholds:
        """Of the crops so far."""
        best = 1 + int(self._dice[1:].argmax())  # bin 0 and above would mark everything
        healthy = np.quantile(self._levels, HEALTHY_SHARE, method="higher")
        return Thresholds(best / BINS_PER_UNIT, float(healthy))


class LesionScores:
    """Figures of one map on test crops, given one at a time.

    Args:
        region: bool (64, 64, 64), where voxels are judged.
        thresholds: from validation crops.
    """

    def __init__(self, region: np.ndarray, thresholds: Thresholds) -> None:
        self.region = region
        self.thresholds = thresholds
        self._counts = np.zeros((2, BINS), np.int64)
        self._missed = 0  # lesion voxels outside the region
        self._lines: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, lesion: np.ndarray, kind: str) -> None:
        """Take in one crop's map, its lesion (bool) and the name of the lesion's kind."""
        inside, truth = values[self.region], lesion[self.region]
        counts = histogram(inside, truth)
        self._counts += counts
        self._missed += int(lesion.sum() - truth.sum())
        shown = self.region & (values > self.thresholds.healthy)
        line: dict[str, Any] = {
            "anomalous": bool(lesion.any()),
            "kind": kind,
            "shown_ml": shown.sum() / 1000,
            "mean_of_crop": float(values.mean()),
            "mean_in_region": float(inside.mean()),
            "quantile_in_region": float(np.quantile(inside, SCORE_QUANTILE)),
        }
        if line["anomalous"]:
            covered = float(shown[lesion].mean())
            line |= {
                "lesion_ml": lesion.sum() / 1000,
                "in_region": float(truth.sum() / lesion.sum()),
                "covered": covered,
                "found": covered >= COVERED_SHARE,
                "auroc": histogram_auroc(counts),
                "average_precision": histogram_average_precision(counts),
                "dice": dice(self.region & (values >= self.thresholds.dice), lesion),
            }
        self._lines.append(line)

    @property
    def lines(self) -> pd.DataFrame:
        """One line a crop."""
        return pd.DataFrame(self._lines)

    def metrics(self) -> dict[str, Any]:
        """Plain JSON values; see the module's description."""
        lines = self.lines
        lesions, healthy = lines[lines["anomalous"]], lines[~lines["anomalous"]]
        best = round(self.thresholds.dice * BINS_PER_UNIT)
        return {
            "voxel": {
                "auroc": _rounded(histogram_auroc(self._counts)),
                "average_precision": _rounded(histogram_average_precision(self._counts)),
                "lesion_share": _rounded(self._counts[1].sum() / self._counts.sum()),
                "auroc_mean_of_lesions": _rounded(lesions["auroc"].mean()),
                "average_precision_mean_of_lesions": _rounded(lesions["average_precision"].mean()),
            },
            "dice": {
                "threshold": _rounded(self.thresholds.dice),
                "mean_of_lesions": _rounded(lesions["dice"].mean()),
                "pooled_with_healthy": _rounded(histogram_dice(self._counts, self._missed)[best]),
            },
            "lesions": {
                "threshold": _rounded(self.thresholds.healthy),
                "healthy_within_limit": _rounded((healthy["shown_ml"] <= HEALTHY_ML).mean()),
                "lesions": len(lesions),
                "sensitivity": _rounded(lesions["found"].mean()),
                "mean_covered": _rounded(lesions["covered"].mean()),
                "mean_in_region": _rounded(lesions["in_region"].mean()),
            },
            "crop_score": {
                name: {
                    "auroc": _rounded(roc_auc_score(lines["anomalous"], lines[name])),
                    "auprc": _rounded(average_precision_score(lines["anomalous"], lines[name])),
                }
                for name in ("mean_of_crop", "mean_in_region", "quantile_in_region")
            },
        }

    def by_kind(self) -> pd.DataFrame:
        """Lesions of each kind and volume (`from_ml`): how many, share found, means of the rest."""
        lesions = self.lines.query("anomalous")
        low = pd.cut(
            lesions["lesion_ml"], VOLUME_EDGES_ML, right=False, labels=VOLUME_EDGES_ML[:-1]
        )
        groups = lesions.astype({"found": float}).groupby(
            ["kind", low.rename("from_ml")], observed=True
        )
        figures = ["found", "covered", "dice", "auroc", "average_precision", "in_region"]
        table = groups[figures].mean().round(3)
        table.insert(0, "lesions", groups.size())
        return table.reset_index()


def _rounded(value: Any) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else round(float(value), 4)
