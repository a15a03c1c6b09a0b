"""The starts of the sinus network in one table: `python starts.py WORK starts.csv`."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from paranasal_training.release.sinus_decisions import auroc_interval
from paranasal_training.release.unseen_figures import LESION_ML, called_at, in_ranges

RESAMPLES = 500
SPECIFICITY = 0.95
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


def main(work: Path, output: Path) -> None:
    """One line a run."""
    runs = sorted(path.parent for path in work.glob("*/decisions.csv"))
    table = pd.DataFrame(
        {"start": run.name[:-1], "seed": run.name[-1]} | figures(run) for run in runs
    )
    table.to_csv(output, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
