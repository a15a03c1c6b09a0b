"""The starts of the sinus network in two tables: `python starts.py WORK starts.csv`.

`starts.csv` has a line for each run, `starts_paired.csv` one for each start, beside random weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from paranasal_training.release.sinus_decisions import auroc, auroc_interval
from paranasal_training.release.unseen_figures import (
    LESION_ML,
    called_at,
    drawn_persons,
    in_ranges,
)

RESAMPLES = 500
SPECIFICITY = 0.95
RANDOM = "random"
SMALL_AND_LARGER_ML = ((LESION_ML, 2.0), (2.0, float("inf")))


def figures(run: Path) -> dict[str, float]:
    """AUROC with its interval over persons, and what is found at 95 % of clear sides."""
    scores, log = pd.read_csv(run / "decisions.csv"), pd.read_csv(run / "log.csv")
    low, auroc, high = auroc_interval(scores, "evidence", RESAMPLES, seed=0)
    found = called_at(scores, "evidence", SPECIFICITY)
    small, larger = in_ranges(scores["opacity_ml"], SMALL_AND_LARGER_ML)
    return {
        "steps": int(log["step"].iloc[-1]),
        "last_loss": log["loss"].iloc[-1],
        "auroc": round(auroc, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "found_small": round(found[small].mean(), 3),
        "found_larger": round(found[larger].mean(), 3),
    }


def paired(runs: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Mean AUROC of each start's runs, how far it is ahead of random weights, 95 % interval.

    All runs are judged on the same samples. Persons are drawn with replacement; the chance of
    another seed is not in the interval.
    """
    groups = runs[RANDOM][0]["group"]
    draws = list(drawn_persons(groups, RESAMPLES, seed=0))
    everybody = np.arange(len(groups))
    rows = []
    for start in sorted(runs, key=lambda name: -mean_auroc(runs[name], everybody)):
        auroc, base = (mean_auroc(runs[name], everybody) for name in (start, RANDOM))
        ahead = [mean_auroc(runs[start], d) - mean_auroc(runs[RANDOM], d) for d in draws]
        low, high = np.quantile(ahead, [0.025, 0.975])
        rows.append(
            {"start": start, "auroc": auroc, "ahead": auroc - base, "low": low, "high": high}
        )
    return pd.DataFrame(rows).round(4)


def mean_auroc(runs: list[pd.DataFrame], chosen: np.ndarray) -> float:
    """Mean over the runs, on these samples; those that count for neither class are left out."""
    return float(np.mean([auroc(run.iloc[chosen], "evidence") for run in runs]))


def main(work: Path, output: Path) -> None:
    """Write both tables."""
    runs = sorted(path.parent for path in work.glob("*/decisions.csv"))
    table = pd.DataFrame(
        {"start": run.name[:-1], "seed": run.name[-1]} | figures(run) for run in runs
    )
    table.to_csv(output, index=False)
    by_start: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        by_start.setdefault(run.name[:-1], []).append(pd.read_csv(run / "decisions.csv"))
    beside = paired(by_start)
    beside.to_csv(output.with_stem(f"{output.stem}_paired"), index=False)
    print(table.to_string(index=False), beside.to_string(index=False), sep="\n\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
