"""Settings that every training run has. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimiser, and how its learning rate changes over the run."""

    name: Literal["adam", "adamw", "sgd", "lars"] = "adam"
    """Optimiser."""
    lr: float = 1e-4
    """Highest learning rate, above 0."""
    weight_decay: float = 0.0
    """Weight decay, 0 (none) or more."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or a cosine that ends in 0."""
    warmup_epochs: float = 0.0
    """Epochs of linear rise of the learning rate from 0, 0 or more."""
    momentum: float | None = None
    """Momentum of SGD and LARS, 0 to below 1 (unset: 0.9 for SGD, 0 for LARS, as the paper's code)."""
    plain_vectors: bool = False
    """LARS moves biases and norms' parameters plainly, without decay or adaptation (BYOL, SimCLR)."""
    clip_norm: float | None = None
    """Largest norm of all gradients together, above 0; larger ones are scaled to it (unset: never)."""

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0:
            raise BadConfig(
                "optimizer: lr is above 0; weight_decay and warmup_epochs are 0 or more."
            )
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise BadConfig(f"optimizer: momentum is 0 or more and below 1, not {self.momentum}.")
        if self.momentum is not None and self.name not in ("sgd", "lars"):
            raise BadConfig(f"optimizer: momentum is for sgd and lars; {self.name} has its own.")
        if self.plain_vectors and self.name != "lars":
            raise BadConfig(f"optimizer: plain_vectors is for lars, not for {self.name}.")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise BadConfig(f"optimizer: clip_norm is above 0, not {self.clip_norm}.")


@dataclass(frozen=True)
class Recipe:
    """How long and in which steps something is trained."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser and learning rate."""
    epochs: int = 100
    """Passes over the training crops."""
    batch_size: int = 16
    """Crops in a batch."""


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
    """Epochs between two validations, each with a checkpoint; 1 or more, a divisor of `epochs`."""
    seed: int = 0
    """Seed of initial weights, order of crops and augmentation; a whole number of 0 or more."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What computes: the GPU where there is one (auto), the CPU, an NVIDIA or an Apple GPU."""
    devices: int = 1
    """GPUs, or processes on the CPU, that share every batch (Lightning's DDP); 1 or more."""
    precision: Literal["32", "bf16"] = "32"
    """Floating-point numbers in the network: 32 bit, or bfloat16 by autocast (faster)."""
    compile: bool = False
    """Let torch.compile fuse the network's operations; pays on GPUs and in long runs. SparK's sparse
    encoder is not reached.
    """
    optimizer: OptimizerConfig | None = None
    """Optimiser and learning rate, as a whole: where one of them is given, the others are as shown
    (unset: the method's own recipe).
    """

    def __post_init__(self) -> None:
        recipe = self.recipe
        if recipe.epochs < 1 or recipe.batch_size < 2:
            raise BadConfig("epochs is 1 or more, batch_size 2 or more (batch norm needs company).")
        if min(self.accumulate, self.validate_every, self.devices, self.fold) < 1:
            raise BadConfig("accumulate, validate_every, devices and fold are 1 or more.")
        if self.validate_every > recipe.epochs:
            raise BadConfig("validate_every is at most epochs, otherwise nothing is ever saved.")
        if left := recipe.epochs % self.validate_every:
            raise BadConfig(
                f"validate_every {self.validate_every} does not divide epochs {recipe.epochs}: what "
                f"the last {left} would learn is never saved. Choose {recipe.epochs - left} epochs."
            )

    def inputs(self) -> dict[str, Path | None]:
        """The files that say what comes out, beside the store, by setting."""
        return {"splits": self.splits}

    @property
    def accelerator(self) -> str:
        """The device as Lightning calls it."""
        return "gpu" if self.device == "cuda" else self.device

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


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON values."""
    return json.loads(json.dumps(asdict(config), default=str))
