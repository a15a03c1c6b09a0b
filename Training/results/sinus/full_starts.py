"""Networks from an autoencoder's start beside the shipped ones.

`python full_starts.py WORK decisions.csv OUTPUT`, called by `full_start.sh`. Both are judged on the
same samples of the persons that they were trained without.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from paranasal_training.release.sinus_decisions import auroc
from paranasal_training.release.unseen_figures import (
    SIZES_ML,
    called_at,
    clear_or_diseased,
    drawn_persons,
    in_ranges,
    range_name,
)

RESAMPLES = 500
SPECIFICITY = 0.95
SAMPLE = ["store", "sample", "group", "side"]
SHIPPED, FROM_START = "evidence_shipped", "evidence"


def ahead(samples: pd.DataFrame) -> tuple[float, float, float]:
    """By how much the start is ahead in AUROC, and the 95 % interval over persons."""
    judged = samples[clear_or_diseased(samples)]
    draws = (judged.iloc[rows] for rows in drawn_persons(judged["group"], RESAMPLES, seed=0))
    found = [auroc(table, FROM_START) - auroc(table, SHIPPED) for table in draws]
    low, high = np.quantile(found, [0.025, 0.975])
    return auroc(judged, FROM_START) - auroc(judged, SHIPPED), float(low), float(high)


def figures(samples: pd.DataFrame, column: str) -> dict[str, float]:
    """AUROC, and the fraction found by volume at 95 % of the clear sides as they were scanned."""
    called = called_at(samples, column, SPECIFICITY)
    found = {
        range_name(*ends, "ml"): called[inside].mean()
        for ends, inside in zip(SIZES_ML, in_ranges(samples["opacity_ml"], SIZES_ML), strict=True)
    }
    return {"auroc": auroc(samples, column)} | found


def main(work: Path, shipped: Path, output: Path) -> None:
    """Write a line for each network and start, and one for all networks together."""
    known = pd.read_csv(shipped)[[*SAMPLE, "evidence"]]
    runs = sorted(work.glob("from_start*/decisions.csv"))
    tables = {
        path.parent.name[-1]: pd.read_csv(path).merge(known, on=SAMPLE, suffixes=("", "_shipped"))
        for path in runs
    }
    tables["all"] = pd.concat(tables.values())
    lines = []
    for name, samples in tables.items():
        about = {"network": name, "persons": samples["group"].nunique(), "samples": len(samples)}
        difference = dict(zip(("ahead", "low", "high"), ahead(samples), strict=True))
        lines.append(about | {"start": "random"} | figures(samples, SHIPPED))
        lines.append(about | {"start": "ae"} | figures(samples, FROM_START) | difference)
    table = pd.DataFrame(lines).round(4)
    table.to_csv(output, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:]))
