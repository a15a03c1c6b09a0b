"""Table 2 of the cohort `many` from the rows that are finished, and what these rows have left.

    python Training/results/many/so_far.py WORK HEADS

WORK: the working folder of `paranasal experiment table2 --preset cpu --cohort many --donors HEADS`.
Writes `table2` and `runs.tar.xz` (settings, records, predictions, the autoencoder) beside this file;
`continue.sh` goes on from there. Goes when the table is whole.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml
from paranasal_training.workflow.plan import Plan

HERE = Path(__file__).resolve().parent
TABLE = [
    *("by_kind.csv", "costs.csv", "paired.csv", "table.csv", "table.md", "page.html"),
    *("figure3.png", "paired.png", "reliability.png"),
]
PROBED = ["table.csv", "table.md"]
RECORDS = ("run.json", "metrics.json", "config.json", "inputs.json", "predictions.csv")
# That residuals were made; finished rows need no more of them.
RESIDUALS = ("done.npy", "residuals.json")


def main(work: Path, heads: Path) -> None:
    """Compare and pack the finished rows."""
    plan = Plan.read("cpu", cohort="many", donors=str(heads))
    rows = [row for row in plan.closed_rows("table2") if is_finished(work, plan, row)]
    for probe, names in ((None, TABLE), ("linear", PROBED), ("knn", PROBED)):
        settings = plan.compare_settings("table2", probe)
        open_rows = [row for row in settings["rows"] if row not in rows]
        settings["open_reasons"] = (
            dict.fromkeys(open_rows, "not run yet") | settings["open_reasons"]
        )
        compare(work, settings, names, HERE / "table2" / (probe or ""))
    with tarfile.open(HERE / "runs.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted(left_by(work, plan, rows)):
            archive.add(path, path.relative_to(work), filter=of_nobody)
    print(f"{len(rows)} rows: {', '.join(rows)}")


def is_finished(work: Path, plan: Plan, row: str) -> bool:
    """Whether all runs of a row, and the looks at its frozen encoders, are there."""
    kinds = ("finetune",) if plan.rows[row].score else ("finetune", "linear", "knn")
    folds = [
        f"{percent}/fold{fold}"
        for percent in plan.percents("table2")
        for fold in range(1, plan.folds + 1)
    ]
    return all(
        (work / kind / row / one / "metrics.json").is_file() for kind in kinds for one in folds
    )


def compare(work: Path, settings: object, names: list[str], output: Path) -> None:
    """Keep some of what `paranasal compare` writes."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "compare.yaml"), Path(folder, "made")
        given.write_text(yaml.safe_dump(settings, sort_keys=False))
        command = ["paranasal", "compare", "--config", str(given), "--output", str(made)]
        subprocess.run(command, cwd=work, check=True)
        for name in names:
            shutil.copy(made / name, output / name)


def left_by(work: Path, plan: Plan, rows: list[str]) -> list[Path]:
    """Files of the finished rows, and of what they have in common."""
    common = [work / name for name in ("crops_of.json", "splits.csv", "splits.json")]
    common += [path for name in RECORDS for path in (work / "autoencoder").glob(f"*/{name}")]
    common.append(work / "autoencoder/plain/model.safetensors")
    learnt = {plan.rows[row].learns_from for row in rows} - {None}
    common += [work / f"residuals/{one}/{name}" for one in learnt for name in RESIDUALS]
    kinds = (
        "train",
        "residuals",
        "split",
        "pretrain",
        "finetune",
        "evaluate-frozen",
        "evaluate-residuals",
    )
    settings = [path for kind in kinds for path in (work / "settings" / kind).glob("*.yaml")]
    runs = [
        path
        for kind in ("pretrain", "finetune", "linear", "knn")
        for row in rows
        for name in RECORDS
        for path in (work / kind / row).rglob(name)
        if not any(part.endswith(".old") for part in path.parts)
    ]
    return common + settings + runs


def of_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner, and old: settings are to be older than what was made by them."""
    entry.uid = entry.gid = 0
    entry.mtime = 946_684_800  # the first day of 2000
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
