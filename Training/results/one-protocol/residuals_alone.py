"""What the ablations change, the residual, judged alone: `python residuals_alone.py WORK`.

WORK is the working folder of the experiments. A crop's score is its mean residual, without
classifier and pretraining, in the first division. Writes `residuals_alone.csv` into `table3`, `labels`
and `postprocessing` beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

NORMALS = ("normals20", "normals40", "normals60", "normals80", "plain")
LABELS = ("labels10", "plain")
FILTERS = ("median0", "plain", "median5", "median7", "otsu", "percentile")
HERE = Path(__file__).parent


def judged(work: Path, row: str, autoencoder: str, kind: str) -> dict[str, object]:
    """A row's AUROC and AUPRC on the test crops, and how many crops its autoencoder learnt from."""
    settings = yaml.safe_load((work / "settings" / "residuals" / f"{row}.yaml").read_text())
    cae = work / "autoencoder" / autoencoder
    with tempfile.TemporaryDirectory() as scored:
        config = Path(scored) / "config.yaml"
        config.write_text(yaml.safe_dump({"kind": kind, "residual": settings["residual"]}))
        data = ["--store", work / "crops", "--splits", work / "splits.csv", "--cae", cae]
        command = ["paranasal", "evaluate-residuals", "--config", config, *data, "-o", scored]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        test = json.loads((Path(scored) / "metrics.json").read_text())["test"]
    crops = json.loads((cae / "run.json").read_text())["train_crops"]
    return {"row": row, "healthy_crops": crops, "auroc": test["auroc"], "auprc": test["auprc"]}


def main(work: Path) -> None:
    """Write all tables."""
    tables = {
        "table3": [judged(work, row, row, "calibrated") for row in NORMALS],
        "labels": [judged(work, row, row, "calibrated") for row in LABELS],
        "postprocessing": [judged(work, row, "plain", "published") for row in FILTERS],
    }
    for name, rows in tables.items():
        path = HERE / name / "residuals_alone.csv"
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)
        print(name, pd.DataFrame(rows).to_string(index=False), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
