"""A network with its loss, as Lightning trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from paranasal_training.data.batches import Batch
from paranasal_training.runs.config import RunConfig
from paranasal_training.runs.optimizers import make_optimizer
from ParanasalSSLLib.model.networks import channels_last


class TrainingStage(pl.LightningModule):
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

    def compile_parts(self) -> None:
        """Let torch.compile fuse what the loss calls."""
        for part in self.network.children():
            part.compile()

    def steady_weights(self) -> Sequence[Tensor]:
        """Weights whose learning rate does not fall."""
        return ()

    def figures(self) -> Mapping[str, Tensor]:
        """What is logged beside the loss, of the batch that `loss` has just seen."""
        return {}

    def complete(self) -> None:
        """Called with the kept weights in the network, before they are scored and written."""

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch, logged as a mean over the epoch."""
        loss = self.loss(batch, training=True)
        for name, value in {"loss": loss, **self.figures()}.items():
            self.log(
                f"train/{name}", value, on_epoch=True, on_step=False, batch_size=len(batch.crops)
            )
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the loss of one batch, without augmentation."""
        loss = self.loss(batch, training=False)
        shared, count = self.config.devices > 1, len(batch.crops)
        self.log("val/loss", loss, prog_bar=True, batch_size=count, sync_dist=shared)
        for name, value in self.figures().items():
            self.log(f"val/{name}", value, batch_size=count, sync_dist=shared)

    def configure_optimizers(self) -> Any:
        """Optimiser and learning-rate schedule of the stage's recipe."""
        # The whole run in batches, from which Lightning makes the loaders first.
        steps = int(self.trainer.estimated_stepping_batches)
        recipe = self.config.recipe
        weights = [w for w in self.network.parameters() if w.requires_grad]
        optimizer, schedule = make_optimizer(
            recipe.optimizer,
            weights,
            recipe.epochs,
            max(1, steps // recipe.epochs),
            self.steady_weights(),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
