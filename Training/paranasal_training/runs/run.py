"""One training run: a folder with configuration, checkpoints, logs and, at the end, the weights.

- `config.json`: the stage's configuration, usable again with `--config`.
- `inputs.json`: SHA-256 of what the run was made from, wherever it lay.
- `checkpoints/last.ckpt`, `checkpoints/best.ckpt`: Lightning's; a killed run goes on from the last.
- `metrics.json`: what the run reached.
- `logs/csv/version_N/metrics.csv`, `logs/tensorboard/version_N`: one version for each (re)start.
- `model.safetensors` + `run.json`: the best weights, and what they are. They are written last; a
  folder that has `run.json` is complete.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paranasal_training.data.batches import Batch, BatchLoader, CropData
from paranasal_training.data.store import CropStore
from paranasal_training.runs.optimizers import OptimizerConfig, Recipe, make_optimizer
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.files import sha256, tupled, write_json, write_whole
from ParanasalSSLLib.model.networks import Network, channels_last

logger = logging.getLogger(__name__)

RUN_VERSION = 1
# Where a run is done does not change what comes out, so these may differ when it goes on.
_FREE_TO_CHANGE = ("store", "output", "splits", "device", "devices", "compile")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training stage needs to know.

    None for epochs, batch_size and optimizer stands for the values of the method's own recipe.
    """

    store: Path
    """Crop store to train on, a folder of `paranasal simulate` or `prepare`."""
    output: Path
    """Folder of the run; a stopped run in it is resumed, a finished one is left as it is."""
    splits: Path | None = None
    """CSV file of `paranasal split` (unset: the parts that the store's own table names)."""
    fold: int = 1
    """Fold of `splits` that validates, 1 or more; the other folds train."""
    epochs: int | None = None
    """Passes over the training crops, 1 or more (unset: the method's own recipe)."""
    batch_size: int | None = None
    """Crops in a batch, 2 or more (unset: the method's own recipe)."""
    accumulate: int = 1
    """Batches whose gradients make one step of the optimiser, 1 or more."""
    validate_every: int = 1
    """Epochs between two validations, each with a checkpoint; 1 to `epochs`."""
    seed: int = 0
    """Seed of initial weights, order of crops and augmentation; a whole number of 0 or more."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What computes: a GPU where there is one (auto), the CPU, or a GPU."""
    devices: int = 1
    """GPUs, or processes on the CPU, that share every batch (Lightning's DDP); 1 or more."""
    precision: Literal["32", "bf16"] = "32"
    """Floating-point numbers in the network: 32 bit, or bfloat16 by autocast (faster)."""
    compile: bool = False
    """Let torch.compile fuse the network's operations; pays on GPUs and in long runs."""
    optimizer: OptimizerConfig | None = None
    """Optimiser and learning rate (unset: the method's own recipe)."""

    def __post_init__(self) -> None:
        recipe = self.recipe
        if recipe.epochs < 1 or recipe.batch_size < 2:
            raise BadConfig("epochs is 1 or more, batch_size 2 or more (batch norm needs company).")
        if min(self.accumulate, self.validate_every, self.devices, self.fold) < 1:
            raise BadConfig("accumulate, validate_every, devices and fold are 1 or more.")
        if self.validate_every > recipe.epochs:
            raise BadConfig("validate_every is at most epochs, otherwise nothing is ever saved.")

    def inputs(self) -> dict[str, Path | None]:
        """The files that say what comes out, beside the store, by setting."""
        return {"splits": self.splits}

    @property
    def own_recipe(self) -> Recipe:
        """What stands in for values of None."""
        return Recipe()

    @property
    def recipe(self) -> Recipe:
        """Optimiser, epochs and batch size of this run."""
        own = self.own_recipe
        return Recipe(
            self.optimizer or own.optimizer,
            own.epochs if self.epochs is None else self.epochs,
            own.batch_size if self.batch_size is None else self.batch_size,
        )


class Stage(pl.LightningModule):
    """A network with its loss. Subclasses say `loss`.

    keeps_last: the result is the last weights, not those of the lowest validation loss.
    """

    keeps_last = False

    def __init__(self, network: nn.Module, config: RunConfig) -> None:
        super().__init__()
        self.network = channels_last(network)
        self.architecture: Any = network.config
        self.config = config

    def loss(self, batch: Batch, training: bool) -> Tensor:
        """The batch's mean loss; augmentation only when training."""
        raise NotImplementedError

    def complete(self) -> None:
        """Called with the kept weights in the network, before they are scored and written."""

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = self.loss(batch, training=True)
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=len(batch.crops))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        loss = self.loss(batch, training=False)
        shared = self.config.devices > 1
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch.crops), sync_dist=shared)

    def configure_optimizers(self) -> Any:
        # The whole run in batches, from which Lightning makes the loaders first.
        steps = int(self.trainer.estimated_stepping_batches)
        recipe = self.config.recipe
        weights = [w for w in self.network.parameters() if w.requires_grad]
        optimizer, schedule = make_optimizer(
            recipe.optimizer, weights, recipe.epochs, max(1, steps // recipe.epochs)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _WatchLoss(pl.Callback):
    """Ends a run whose loss is no number, before a checkpoint of it is written.

    val_loss: of the last validation; checkpoints keep it, so that a run killed after its last epoch
        still knows it.
    """

    def __init__(self) -> None:
        self.val_loss = math.nan

    def state_dict(self) -> dict[str, Any]:
        return {"val_loss": self.val_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.val_loss = float(state_dict["val_loss"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        _require_finite("loss", float(outputs["loss"]), trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.val_loss = float(trainer.callback_metrics["val/loss"])
        _require_finite("validation loss", self.val_loss, trainer.current_epoch)


def _require_finite(name: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise BadConfig(
            f"The {name} became {loss} in epoch {epoch}. Try a smaller learning rate. Checkpoints of "
            "earlier epochs are kept."
        )


def begin(config: RunConfig, store: CropStore) -> bool:
    """Seed everything and say whether there is anything to do.

    Returns:
        False when the folder already holds the finished run of this very configuration and input.

    Raises:
        BadConfig: it holds a run (finished or not) with other settings or of other input.
    """
    pl.seed_everything(config.seed, verbose=False)
    found = _read_settings(config.output / "config.json")
    if found is None:
        return True
    made_from = _read_settings(config.output / "inputs.json")
    # Where the content is known, the place does not matter. Early versions kept no such record.
    free = (*_FREE_TO_CHANGE, *(config.inputs() if made_from else ()))
    wanted = plain(config)
    different = [k for k in wanted if k not in free and found.get(k) != wanted[k]]
    if made_from:
        given = _input_digests(config, store)
        different += [k for k in {**made_from, **given} if made_from.get(k) != given.get(k)]
    if different:
        raise BadConfig(
            f"{config.output} holds a run with another {', '.join(different)}. Choose another "
            "output folder, or remove it."
        )
    if (config.output / "run.json").is_file():
        logger.info("%s is complete already.", config.output)
        return False
    return True


def _read_settings(path: Path) -> dict[str, Any] | None:
    """None: there is no such file. Raises `BadConfig` when it is damaged."""
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BadConfig(f"{path} is damaged. Remove {path.parent} and start again.") from error


def _write_settings(config: RunConfig, store: CropStore) -> None:
    # In this order: a folder with config.json alone is taken for one of an early version.
    write_json(config.output / "inputs.json", _input_digests(config, store))
    write_json(config.output / "config.json", plain(config))


def _input_digests(config: RunConfig, store: CropStore) -> dict[str, str]:
    """SHA-256 of everything that the run is made from, by setting; the store's table has labels."""
    files = {"store's table": store.folder / "table.csv", **config.inputs()}
    for name, path in files.items():
        if path and not path.is_file():
            raise BadConfig(f"{path} is missing. It is needed for {name}.")
    return {"store": store.checksum, **{k: sha256(path) for k, path in files.items() if path}}


def fit(
    stage: Stage,
    store: CropStore,
    train: CropData,
    validation: CropData,
    after: Callable[[], Mapping[str, Any]] = dict,
) -> Path:
    """Train (or go on training) and write the best weights; returns the run's folder.

    Args:
        stage: network and loss.
        store: where the crops come from.
        train, validation: the crops.
        after: called with the best weights in the stage's network; what it returns goes into
            `metrics.json`, what it writes belongs to the run.

    Raises:
        BadConfig: the loss is not finite, the folder holds another run, or the disk is full.
        BadCheckpoint: the run goes on, but a checkpoint of it is missing or damaged.
    """
    config = stage.config
    started = time.monotonic()
    _write_settings(config, store)
    watch, best, last = (
        _WatchLoss(),
        _Checkpoint(config, "best", "val/loss"),
        _Checkpoint(config, "last"),
    )
    chosen = _file(config, "last" if stage.keeps_last else "best")
    if _file(config, "last").is_file():
        for path in {_file(config, "last"), chosen}:
            _read_checkpoint(path)
    # Lightning's `save_last` writes only when the best was written too. The order matters: the last
    # checkpoint holds what the best one's callback knows by then.
    trainer = _make_trainer(config, [watch, best, last])
    _train(trainer, stage, *_loaders(trainer, config, train, validation))
    result = _read_checkpoint(chosen)
    stage.load_state_dict(result["state_dict"])
    stage.complete()
    facts = {
        "best_epoch": result["epoch"],
        "val_loss": watch.val_loss if stage.keeps_last else _best_loss(best),
        "seconds": round(time.monotonic() - started, 1),
        "train_crops": len(train),
        "validation_crops": len(validation),
    }
    _finish(stage, store, facts, after)
    return config.output


def _train(trainer: pl.Trainer, stage: Stage, batches: BatchLoader, checks: BatchLoader) -> None:
    """Start, or go on from the last checkpoint. Only the first of several processes returns."""
    config, last = stage.config, _file(stage.config, "last")
    if config.compile:
        for part in stage.network.children():
            part.compile()
    try:
        trainer.fit(
            stage, batches, checks, ckpt_path=last if last.is_file() else None, weights_only=True
        )
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):
            raise BadConfig(
                f"{config.output} cannot be written to ({error}). Is the disk full? Checkpoints of "
                "earlier epochs are kept; the same command goes on."
            ) from error
        if not last.is_file() or trainer.global_step:
            raise
        raise _unusable(last) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        sys.exit(0)  # the first process writes the result


def _file(config: RunConfig, name: str) -> Path:
    return config.output / "checkpoints" / f"{name}.ckpt"


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """What Lightning saved. Raises `BadCheckpoint`: it is missing or damaged."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        return {"state_dict": content["state_dict"], "epoch": int(content["epoch"])}
    except Exception as error:  # a damaged pickle can raise anything
        raise _unusable(path) from error


def _unusable(path: Path) -> BadCheckpoint:
    return BadCheckpoint(
        f"{path} cannot be read. Remove the folder {path.parent} to start this run again."
    )


def _best_loss(checkpoint: ModelCheckpoint) -> float:
    score = checkpoint.best_model_score
    return math.nan if score is None else float(score)


def finish_untrained(stage: Stage, store: CropStore) -> Path:
    """Write a run that consists of given weights; returns its folder."""
    _write_settings(stage.config, store)
    facts = {"best_epoch": 0, "val_loss": None, "seconds": 0.0, "train_crops": 0}
    _finish(stage, store, facts)
    return stage.config.output


def _loaders(
    trainer: pl.Trainer, config: RunConfig, train: CropData, validation: CropData
) -> tuple[BatchLoader, BatchLoader]:
    """Both parts, whole, on the device of this process."""
    device, size = trainer.strategy.root_device, config.recipe.batch_size
    rank, world = trainer.global_rank, trainer.world_size
    return (
        BatchLoader(train.to(device), size, config.seed, True, rank, world),
        BatchLoader(validation.to(device), size, config.seed, False, rank, world),
    )


class _WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the final name, so that a kill leaves the old checkpoint or the new one.

    Lightning's own goes through the system's temporary folder, which may be on another disk: what it
    then does is copying.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with write_whole(path) as temporary:
            torch.save(checkpoint, temporary)


class _Checkpoint(ModelCheckpoint):
    """Keeps `name`.ckpt: of the lowest `monitor`, or of the last validated epoch."""

    def __init__(self, config: RunConfig, name: str, monitor: str | None = None) -> None:
        folder = _file(config, name).parent
        super().__init__(folder, name, monitor, enable_version_counter=False)

    @property
    def state_key(self) -> str:
        """Lightning's own, so that runs begun before this class was there go on."""
        return super().state_key.replace(type(self).__name__, ModelCheckpoint.__name__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Where the folder was moved, Lightning would forget the best loss and keep the old paths."""
        path, scores = self.format_checkpoint_name({}), state_dict["best_k_models"].values()
        here = {
            "dirpath": self.dirpath,
            "best_model_path": path,
            "kth_best_model_path": path,
            "best_k_models": dict(zip([path], scores, strict=False)),  # of "last": empty
        }
        super().load_state_dict({**state_dict, **here})


def _make_trainer(config: RunConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    logs = config.output / "logs"
    return pl.Trainer(
        accelerator=config.device,
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_epochs=config.recipe.epochs,
        accumulate_grad_batches=config.accumulate,
        check_val_every_n_epoch=config.validate_every,
        callbacks=[*callbacks, LearningRateMonitor("epoch")],
        plugins=[_WholeCheckpoints()],
        logger=[CSVLogger(logs, name="csv"), TensorBoardLogger(logs, name="tensorboard")],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )


def _finish(
    stage: Stage,
    store: CropStore,
    facts: Mapping[str, Any],
    after: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Write the weights, what comes after them, then the record that makes the run complete."""
    output = stage.config.output
    weights = {k: v.contiguous().cpu() for k, v in stage.network.state_dict().items()}
    with write_whole(output / "model.safetensors") as temporary:
        save_file(weights, temporary)
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
        **facts,
    }
    write_json(output / "run.json", record)


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: its record and its weights (state dict of the stage's network)."""

    folder: Path
    record: dict[str, Any]
    weights: dict[str, Tensor]


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


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON values."""
    return json.loads(json.dumps(asdict(config), default=str))
