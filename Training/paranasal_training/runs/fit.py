"""One training run: a folder with configuration, checkpoints, logs and, at the end, the weights.

- `config.json`: the stage's configuration, usable again with `--config`.
- `inputs.json`: SHA-256 of what the run was made from, wherever it lay.
- `checkpoints/last.ckpt`: Lightning's, from which a killed run is resumed; `checkpoints/best.ckpt`: the
  weights of the lowest validation loss, where it decides (not for methods whose last weights are kept).
- `metrics.json`: what the run reached.
- `logs/csv/version_N/metrics.csv`, `logs/tensorboard/version_N`: one version for each (re)start.
- `model.safetensors` + `run.json`: the best weights, and what they are. They are written last; a
  folder that has `run.json` is complete.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from paranasal_training.data.batches import BatchLoader, CropData
from paranasal_training.data.store import CropStore
from paranasal_training.runs.checkpoints import (
    Clock,
    RunCheckpoint,
    WatchLoss,
    WholeCheckpoints,
    best_loss,
    checkpoint_file,
    read_checkpoint,
    unusable,
)
from paranasal_training.runs.config import RunConfig, plain
from paranasal_training.runs.memory import keep_memory
from paranasal_training.runs.processes import synchronised
from paranasal_training.runs.quiet import quiet_lightning
from paranasal_training.runs.record import (
    input_digests,
    read_settings,
    write_result,
    write_settings,
)
from paranasal_training.runs.stage import TrainingStage
from ParanasalSSLLib.errors import BadConfig

logger = logging.getLogger(__name__)

# Where a run is done does not change what comes out, so these may differ when it is resumed.
_FREE_TO_CHANGE = ("store", "output", "splits", "device", "devices", "compile")


def begin(config: RunConfig, store: CropStore) -> bool:
    """Seed everything and say whether there is anything to do.

    Returns:
        False when the folder already holds the finished run of this very configuration and input.

    Raises:
        BadConfig: it holds a run (finished or not) with other settings or of other input.
    """
    pl.seed_everything(config.seed, verbose=False)
    found = read_settings(config.output / "config.json")
    if found is None:
        return True
    made_from = read_settings(config.output / "inputs.json")
    # Where the content is known, the place does not matter. Early versions kept no such record.
    free = (*_FREE_TO_CHANGE, *(config.inputs() if made_from else ()))
    wanted = plain(config)
    different = [k for k in wanted if k not in free and found.get(k) != wanted[k]]
    if made_from:
        given = input_digests(config, store)
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


def fit(
    stage: TrainingStage,
    store: CropStore,
    train: CropData,
    validation: CropData,
    after: Callable[[], Mapping[str, Any]] = dict,
) -> Path:
    """Train, or resume training, and write the best weights; returns the run's folder.

    Args:
        stage: network and loss.
        store: where the crops come from.
        train, validation: the crops.
        after: called with the best weights in the stage's network, on the device that trained it;
            what it returns goes into `metrics.json`, what it writes belongs to the run.

    Raises:
        BadConfig: the loss is not finite, the folder holds another run, the disk is full, or there
            are no such devices.
        BadCheckpoint: the run is resumed, but a checkpoint of it is missing or damaged.
    """
    config = stage.config
    clock = Clock()
    _tell_slow_start(config)
    keep_memory()
    write_settings(config, store)
    watch, last = WatchLoss(), RunCheckpoint(config, "last")
    best = None if stage.keeps_last else RunCheckpoint(config, "best", "val/loss")
    chosen = checkpoint_file(config, "best" if best else "last")
    if checkpoint_file(config, "last").is_file():
        for path in {checkpoint_file(config, "last"), chosen}:
            read_checkpoint(path)
    # Lightning's `save_last` writes only when the best was written too. The order matters: the last
    # checkpoint holds what the best one's callback knows by then.
    with quiet_lightning():
        trainer = _make_trainer(config, [watch, clock, *([best] if best else []), last])
        batches, checks = _loaders(trainer, config, train, validation)
        _train(trainer, stage, batches, checks)
    result = read_checkpoint(chosen)
    stage.load_state_dict(result["state_dict"])
    stage.complete()
    # Lightning leaves the network on the CPU.
    stage.to(trainer.strategy.root_device)
    facts = {
        "best_epoch": result["epoch"],
        "val_loss": best_loss(best) if best else watch.val_loss,
        "seconds": round(clock.seconds, 1),
        "steps": trainer.global_step,
        "crops_seen": config.recipe.epochs * batches.crops,
        "train_crops": len(train),
        "validation_crops": len(validation),
    }
    write_result(stage, store, facts, after)
    return config.output


def _tell_slow_start(config: RunConfig) -> None:
    warmup, epochs = config.recipe.optimizer.warmup_epochs, config.recipe.epochs
    if warmup >= epochs:
        logger.warning(
            "The learning rate rises for %g epochs and the run has %d: it ends before much is learnt. "
            "Train longer, or set the optimizer with fewer warmup_epochs.",
            warmup,
            epochs,
        )


def _train(
    trainer: pl.Trainer, stage: TrainingStage, batches: BatchLoader, checks: BatchLoader
) -> None:
    """Start, or resume from the last checkpoint. Only the first of several processes returns."""
    config, last = stage.config, checkpoint_file(stage.config, "last")
    if config.devices > 1:
        stage.network = synchronised(stage.network, trainer.strategy.root_device)
    if config.compile:
        stage.compile_parts()
    try:
        trainer.fit(
            stage,
            batches,
            checks,
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):
            raise BadConfig(
                f"{config.output} cannot be written to ({error}). Is the disk full? Checkpoints of "
                "earlier epochs are kept; the same command resumes."
            ) from error
        if not last.is_file() or trainer.global_step:
            raise
        raise unusable(last) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        sys.exit(0)  # the first process writes the result


def finish_untrained(
    stage: TrainingStage, store: CropStore, facts: Mapping[str, Any] = MappingProxyType({})
) -> Path:
    """Write a run that consists of given weights, with facts for its record; returns its folder."""
    write_settings(stage.config, store)
    none = {"best_epoch": 0, "val_loss": None, "seconds": 0.0, "steps": 0, "train_crops": 0}
    write_result(stage, store, {**none, **facts})
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


def _make_trainer(config: RunConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    try:
        trainer = _trainer(config, callbacks)
    except MisconfigurationException as error:
        raise BadConfig(
            f"device {config.device}, devices {config.devices}: this machine has no such device, or "
            f"not as many ({str(error).strip().splitlines()[0].rstrip('.!')})."
        ) from error
    if trainer.world_size != config.devices:  # inside a job of Slurm
        logger.warning(
            "%d devices are asked for, but the scheduler started %d processes: ask it for a task "
            "for each device.",
            config.devices,
            trainer.world_size,
        )
    return trainer


def _trainer(config: RunConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    logs = config.output / "logs"
    return pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        # Buffers (statistics, queues) are the same everywhere: nothing is to be sent before each step.
        strategy=DDPStrategy(broadcast_buffers=False) if config.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_epochs=config.recipe.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.recipe.optimizer.clip_norm,
        check_val_every_n_epoch=config.validate_every,
        callbacks=[*callbacks, LearningRateMonitor("epoch")],
        plugins=[WholeCheckpoints()],
        logger=[CSVLogger(logs, name="csv"), TensorBoardLogger(logs, name="tensorboard")],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )
