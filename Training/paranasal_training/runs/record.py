"""What a run's folder says of it: settings and input at its start, weights and record at its end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from paranasal_training.data.store import CropStore
from paranasal_training.runs.config import RunConfig, plain
from paranasal_training.runs.machine import machine_of
from paranasal_training.runs.stage import TrainingStage
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.files import sha256, tupled, write_json
from ParanasalSSLLib.model.networks import Network
from ParanasalSSLLib.model.torch_networks import write_tensors

RUN_VERSION = 1


def read_settings(path: Path) -> dict[str, Any] | None:
    """None: there is no such file. Raises `BadConfig` when it is damaged."""
    if not path.is_file():
        return None
    try:
        return dict(renamed(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError) as error:
        raise BadConfig(f"{path} is damaged. Remove {path.parent} and start again.") from error


def renamed(settings: Any) -> Any:
    """Settings of an earlier version by today's names: `label_share` is `label_fraction`, and so on."""
    if not isinstance(settings, dict):
        return settings
    return {
        "level" if key == "share" else re.sub(r"_share$", "_fraction", key): renamed(value)
        for key, value in settings.items()
    }


def write_settings(config: RunConfig, store: CropStore) -> None:
    """Write what the run is made from: `inputs.json`, then `config.json`."""
    # In this order: a folder with config.json alone is taken for one of an early version.
    write_json(config.output / "inputs.json", input_digests(config, store))
    write_json(config.output / "config.json", plain(config))


def input_digests(config: RunConfig, store: CropStore) -> dict[str, str]:
    """SHA-256 of everything that the run is made from, by setting; the store's table has labels."""
    files = {"store's table": store.folder / "table.csv", **config.inputs()}
    for name, path in files.items():
        if path and not path.is_file():
            raise BadConfig(f"{path} is missing. It is needed for {name}.")
    return {"store": store.checksum, **{k: sha256(path) for k, path in files.items() if path}}


def write_result(
    stage: TrainingStage,
    store: CropStore,
    facts: Mapping[str, Any],
    after: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Write the weights, what comes after them, then the record that makes the run complete."""
    output = stage.config.output
    device = next(stage.network.parameters()).device
    weights = {k: v.contiguous().cpu() for k, v in stage.network.state_dict().items()}
    write_tensors(weights, output / "model.safetensors")
    stage.network.eval()
    write_json(output / "metrics.json", {"validation_loss": facts["val_loss"], **after()})
    settings = plain(stage.config)
    record = {
        "format_version": RUN_VERSION,
        "stage": type(stage).__name__,
        "network": asdict(stage.architecture),
        "store": store.checksum,
        "simulated": bool(store.info.get("simulated", False)),
        "config": {k: v for k, v in settings.items() if k not in ("store", "output", "splits")},
        "torch": torch.__version__,
        "machine": machine_of(device),
        **facts,
    }
    write_json(output / "run.json", record)


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: its record and its weights (state dict of the stage's network)."""

    folder: Path
    record: dict[str, Any]
    weights: dict[str, Tensor]

    @property
    def fold(self) -> int:
        """Fold that it was validated on."""
        return int(self.record["config"]["fold"])

    def require_division(self, store: CropStore, splits: Path | None, fold: int) -> None:
        """Raise `BadConfig` where it has learnt from what another division of the crops holds out.

        Args:
            store: crops that it is to be measured on; it has not learnt from others than its own.
            splits, fold: how they are divided.
        """
        if self.record["store"] != store.checksum:
            return
        if self.fold != fold:
            raise BadConfig(
                f"{self.folder} was trained on fold {self.fold}, so it has learnt from the validation "
                f"part of fold {fold}. Give a run of that fold, or --fold {self.fold}."
            )
        made_from = read_settings(self.folder / "inputs.json")  # early versions kept none
        given = sha256(splits) if splits and splits.is_file() else None
        if made_from and made_from.get("splits") != given:
            raise BadConfig(
                f"{self.folder} was trained by another division than {splits or 'that of the table'}, "
                "so it may have learnt from its test set. Give the --splits that it was trained with."
            )


def read_run(folder: Path, *stages: str) -> FinishedRun:
    """Open the result of one of the stages ("CAEStage", "PretrainStage", "FinetuneStage").

    Raises:
        BadCheckpoint: not there, not finished, damaged, of another version or another stage.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise BadCheckpoint(f"{folder} holds no finished run ({path.name} is missing).")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        weights = load_file(Path(folder) / "model.safetensors")
    except (ValueError, OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder} holds a damaged run. Train it again.") from error
    if record.get("format_version") != RUN_VERSION or record.get("stage") not in stages:
        raise BadCheckpoint(
            f"{folder} holds a {record.get('stage')} of format {record.get('format_version')}; a "
            f"{' or '.join(stages)} of format {RUN_VERSION} is needed."
        )
    return FinishedRun(Path(folder), record, weights)


def load_network(
    folder: Path, stage: str, network: Callable[[Any], Network], config: type
) -> tuple[Network, FinishedRun]:
    """The trained network of a stage's run, in evaluation mode.

    Args:
        folder: of the run.
        stage: whose run it has to be.
        network, config: of the architecture; the run's record has the values.

    Raises:
        BadCheckpoint: see `read_run`, or the weights do not fit.
    """
    run = read_run(folder, stage)
    built = network(config(**tupled(run.record["network"])))
    try:
        built.load_state_dict(run.weights)
    except RuntimeError as error:
        raise BadCheckpoint(f"{run.folder}: the weights do not fit the network.") from error
    return built.eval(), run
