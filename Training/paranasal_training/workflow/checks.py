"""What an experiment's steps would stumble over in hours, seen before the first one starts."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import jsonargparse

from paranasal_training.cohort.config import SimulateConfig
from paranasal_training.data.config import SplitConfig
from paranasal_training.stages.config import (
    FinetuneConfig,
    PretrainConfig,
    ResidualsConfig,
    TrainConfig,
)
from paranasal_training.workflow.needed import Needed
from paranasal_training.workflow.own_crops import refuse_real_crops
from paranasal_training.workflow.plan import Plan
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.files import refuse_no_folder, sha256, write_json

CROPS_OF = "crops_of.json"  # in the working folder
MADE = ("settings", "autoencoder", "residuals", "pretrain", "finetune", "maps", "linear", "knn")

KINDS: dict[str, type] = {
    "simulate": SimulateConfig,
    "split": SplitConfig,
    "train": TrainConfig,
    "residuals": ResidualsConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
}


def require_settings(plan: Plan, name: str) -> None:
    """See that every command takes what an experiment will give it. Raises `BadConfig`: it does not."""
    parsers: dict[str, jsonargparse.ArgumentParser] = {}
    for command, _, settings in Needed(plan, name).settings():
        if command not in KINDS:
            continue
        if command not in parsers:
            parsers[command] = jsonargparse.ArgumentParser(exit_on_error=False)
            parsers[command].add_class_arguments(KINDS[command])
        paths = {f.name: "path" for f in fields(KINDS[command]) if _needed(f)}
        try:
            values = vars(parsers[command].parse_object(paths | settings))
            made = parsers[command].instantiate_classes(jsonargparse.Namespace(**values))
            KINDS[command](**vars(made))
        except (jsonargparse.ArgumentError, ValueError, TypeError, ParanasalError) as error:
            raise BadConfig(
                f"The preset {plan.name} does not fit `paranasal {command}`: "
                f"{' '.join(str(error).split())}"
            ) from error


def _needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def require_own_folder(folder: Path, plan: Plan, name: str) -> None:
    """See that a working folder holds nothing of a user's that steps would replace.

    Raises:
        BadConfig: it does: no experiment has been run there, or its cohort lies among other files.
        UnsafeOutput: it is no folder.
    """
    refuse_no_folder(folder)
    if plan.crops is None:
        refuse_real_crops(folder / "crops")
    if any((folder / mark).exists() for mark in (CROPS_OF, ".snakemake")):
        return
    made = MADE if plan.splits or plan.divided else (*MADE, "splits.csv", "splits.json")
    there = [what for what in (*made, f"results/{name}") if (folder / what).exists()]
    if there:
        raise BadConfig(
            f"{folder} holds {', '.join(there)}, which an experiment would write, but no experiment "
            "has been run there. Give a new working folder with --output."
        )


def keep_to_its_crops(folder: Path, plan: Plan, note: bool = True) -> None:
    """Note which crops and which division a working folder's runs are of.

    Others would have everything made again, in a folder that is meant for these. The same ones may have
    moved, or have been made anew in their place. note: False only looks.

    Raises:
        BadConfig: its runs are of others.
    """
    record = plan.crops and plan.crops / "store.json"
    now = {"crops": _identity(record), "splits": _identity(plan.splits)}
    path = folder / CROPS_OF
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
    for what, (place, digest) in now.items():
        known_place, known_digest = before[what]
        if place != known_place and digest != known_digest:
            raise BadConfig(
                f"The runs in {folder} are of other {what} ({known_place or 'its own'}). "
                "Give another working folder with --output."
            )
    if note:
        write_json(path, now)


def _identity(file: Path | None) -> tuple[str | None, str | None]:
    return (str(file), sha256(file)) if file else (None, None)
