"""What the runs of a comparison were made from: which training, which pretraining, at what cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import BadStore


@dataclass(frozen=True)
class Cost:
    """What a training took.

    crops: seen, with repetitions.
    seconds: what it took, before it was resumed too.
    machine: what it ended on, with torch's version; None where the record does not tell.
    """

    crops: int
    steps: int
    seconds: float
    machine: str | None = None


@dataclass(frozen=True)
class Training:
    """How a classifier came about.

    name: of the fine-tuning run; of another one, where its classifier was only scored again.
    pretraining: name of the pretraining run that it started from; None where it started from none.
    """

    name: str
    cost: Cost
    pretraining: str | None = None
    pretraining_cost: Cost | None = None


def read_training(folder: Path, work: Path) -> Training | None:
    """The training of a scored run; None where there was none, or where nothing is written of it.

    Args:
        folder: of the scored run.
        work: that its paths are relative to.

    Raises:
        BadStore: a record is damaged.
    """
    settings = _read(folder / "config.json")
    again = settings.get("classifier")
    trained = work / again if again else folder
    record = _read(trained / "run.json")
    start = record["config"].get("pretrained") if record else settings.get("pretrained")
    if not record and not start:
        return None
    before = _read(work / start / "run.json") if start else {}
    return Training(
        _name(trained, work),
        _cost(record) if record else Cost(0, 0, 0.0),
        str(start) if start else None,
        _cost(before) if before else None,
    )


def _name(folder: Path, work: Path) -> str:
    return str(folder.relative_to(work)) if folder.is_relative_to(work) else str(folder)


def _cost(record: Mapping[str, Any]) -> Cost:
    """Of a run's record; early ones did not count crops, and earlier ones no steps."""
    config = record["config"]
    size = (config.get("batch_size") or 1) * config.get("accumulate", 1)
    usual = (config.get("epochs") or 0) * (record["train_crops"] // size)
    steps = int(record.get("steps", usual))
    return Cost(
        int(record.get("crops_seen", steps * size)),
        steps,
        float(record["seconds"]),
        f"{record['machine']} (torch {record['torch']})" if "machine" in record else None,
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadStore(f"{path} is damaged. Remove the run's folder and run it again.") from error
