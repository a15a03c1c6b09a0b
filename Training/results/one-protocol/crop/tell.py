"""The trial of the crop in one table: `python tell.py WORK/crop FOLDER` writes FOLDER/crop.csv."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

FOLDS = range(1, 6)


def figures(runs: Path) -> dict[str, float]:
    """AUROC of five folds: mean and standard deviation, of the validation and the test part."""
    read = [json.loads((runs / f"fold{fold}/metrics.json").read_text()) for fold in FOLDS]
    values = {
        part: pd.Series([one[part]["auroc"] for one in read]) for part in ("validation", "test")
    }
    found: dict[str, float] = {}
    for part, auroc in values.items():
        found |= {f"{part} AUROC": round(auroc.mean(), 4), f"{part} sd": round(auroc.std(), 4)}
    return found


def main(work: Path, folder: Path) -> None:
    """One line a size of the crop, row and share of the labels."""
    lines = [
        {"crop_mm": size, "row": row, "percent": percent}
        | figures(work / f"{size}/finetune/{row}/{percent}")
        for row in ("none", "calibrated")
        for percent in (10, 20)
        for size in (64, 48)
    ]
    table = pd.DataFrame(lines)
    table.to_csv(folder / "crop.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
