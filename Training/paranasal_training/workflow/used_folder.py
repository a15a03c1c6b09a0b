"""A working folder that was used with other settings, or whose crops have changed since.

Snakemake does again what is older than its input, where that has changed. It cannot tell that a run was
made from another one than now (of a seed that was dropped, say), from crops that older ones have
replaced, or from other residuals, whose list of finished rows is the same. The run's own records can.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paranasal_training.data.store import read_record
from paranasal_training.workflow.needed import Needed
from paranasal_training.workflow.plan import Plan
from ParanasalSSLLib.files import sha256

AGAIN = Path("settings/again/now.yaml")


def other_runs(folder: Path, plan: Plan, experiment: str) -> set[str]:
    """Folders, and the division, that were made from other runs, crops or another division than now.

    They are to be made again; to the Snakefile `AGAIN` is an input of theirs.
    """
    needed = Needed(plan, experiment)
    crops = _digests_of_crops(plan.crops or folder / "crops")
    now = crops | _digests_of_files(folder, plan)
    found = {
        name
        for name, of in needed.runs()
        if _differs(folder / name / "config.json", of)
        or _is_of_others(folder / name, now | _digest_of_residuals(folder, of))
    }
    for name in needed.residuals:
        if _folds_of(folder / "residuals" / name) not in (None, _wanted_folds(plan, name)):
            found.add(f"residuals/{name}")
    made = _read(folder / "splits.json")
    if made and crops and made.get("store") != crops["store"]:
        found.add("splits.csv")
    return found


def write_again(folder: Path) -> None:
    """Write `AGAIN` as it never was before: Snakemake takes a file of the same content for the same."""
    (folder / AGAIN).parent.mkdir(parents=True, exist_ok=True)
    (folder / AGAIN).write_text(f"{time.time_ns()}\n", encoding="utf-8")


def _differs(config: Path, wanted: Mapping[str, Any]) -> bool:
    found = _read(config)
    return found is not None and any(found.get(key) != value for key, value in wanted.items())


def _is_of_others(run: Path, digests: Mapping[str, str]) -> bool:
    """Whether a run's input is known to be another one; early runs do not name all of it."""
    found = _read(run / "inputs.json") or {}
    return any(found.get(key, digest) != digest for key, digest in digests.items())


def _digests_of_crops(store: Path) -> dict[str, str]:
    if not (store / "store.json").is_file():
        return {}
    digests = read_record(store)["sha256"]
    return {"store": digests["crops.npy"], "store's table": digests["table.csv"]}


def _digests_of_files(folder: Path, plan: Plan) -> dict[str, str]:
    files = {"splits": plan.splits or folder / "splits.csv", "file of weights": plan.medicalnet}
    return {name: sha256(path) for name, path in files.items() if path and path.is_file()}


def _digest_of_residuals(folder: Path, of: Mapping[str, Any]) -> dict[str, str]:
    record = folder / str(of.get("residuals")) / "residuals.json"
    return {"residuals": sha256(record)} if record.is_file() else {}


def _folds_of(residuals: Path) -> list[int] | None:
    """Folds of the autoencoders that gave residuals; None: there are none."""
    info = _read(residuals / "residuals.json")
    if info is None:
        return None
    return [record["config"]["fold"] for record in (info["cae"], *info.get("crossed", ()))]


def _wanted_folds(plan: Plan, residuals: str) -> list[int]:
    names = plan.autoencoders_of(residuals)
    return [plan.train_settings(name).get("fold", 1) for name in names]


def _read(path: Path) -> dict[str, Any] | None:
    """None: not there, or damaged, which the step that reads it tells."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
