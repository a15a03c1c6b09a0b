"""Checkpoints of a run: written whole, kept by validation loss, readable after the run has moved."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from paranasal_training.runs.config import RunConfig
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.files import write_whole


def checkpoint_file(config: RunConfig, name: str) -> Path:
    """Where a run's checkpoint "last" or "best" lies."""
    return config.output / "checkpoints" / f"{name}.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What Lightning saved. Raises `BadCheckpoint`: it is missing or damaged."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        return {"state_dict": content["state_dict"], "epoch": int(content["epoch"])}
    except Exception as error:  # a damaged pickle can raise anything
        raise unusable(path) from error


def unusable(path: Path) -> BadCheckpoint:
    """The error that says what to do about a checkpoint."""
    return BadCheckpoint(
        f"{path} cannot be read. Remove the folder {path.parent} to start this run again."
    )


def best_loss(checkpoint: ModelCheckpoint) -> float:
    """The lowest validation loss that a checkpoint callback has seen (NaN: none)."""
    score = checkpoint.best_model_score
    return math.nan if score is None else float(score)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the final name, so that a kill leaves the old checkpoint or the new one.

    Lightning's own goes through the system's temporary folder, which may be on another disk: what it
    then does is copying.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the file whole or not at all."""
        with write_whole(path) as temporary:
            torch.save(checkpoint, temporary)


class RunCheckpoint(ModelCheckpoint):
    """Keeps `name`.ckpt: weights of the lowest `monitor`, or all of the last validated epoch."""

    def __init__(self, config: RunConfig, name: str, monitor: str | None = None) -> None:
        folder = checkpoint_file(config, name).parent
        super().__init__(
            folder,
            name,
            monitor,
            save_weights_only=monitor is not None,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """Lightning's own, so that runs begun before this class was there are resumed."""
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


class WatchLoss(pl.Callback):
    """Ends a run whose loss is no number, before a checkpoint of it is written.

    val_loss: of the last validation; checkpoints keep it, so that a run killed after its last epoch
        still knows it.
    total: sum of the losses since it was last looked at, on their device: looking at each would keep
        a GPU waiting.
    """

    def __init__(self) -> None:
        self.val_loss = math.nan
        self.total: Tensor | float = 0.0

    @property
    def state_key(self) -> str:
        """As earlier versions named it in checkpoints, so that their runs are resumed."""
        return "_WatchLoss"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the last validation loss."""
        return {"val_loss": self.val_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.val_loss = float(state_dict["val_loss"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Add the loss up."""
        self.total = self.total + outputs["loss"].detach()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop the run where a loss was no number."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        total, self.total = float(self.total), 0.0
        _require_finite("loss", total, trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep the validation loss; stop the run where it, or a loss before it, is no number."""
        self._look(trainer)
        self.val_loss = float(trainer.callback_metrics["val/loss"])
        _require_finite("validation loss", self.val_loss, trainer.current_epoch)


class Clock(pl.Callback):
    """How long a run has trained; after a restart, with what led to the checkpoint."""

    def __init__(self) -> None:
        self.started, self.before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Until now."""
        return self.before + time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.before = float(state_dict["seconds"])


def _require_finite(name: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise BadConfig(
            f"The {name} became {loss} in epoch {epoch}. Try a smaller learning rate. Checkpoints of "
            "earlier epochs are kept."
        )
