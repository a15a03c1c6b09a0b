"""Self-supervised methods, one file each; adding one means adding a file.

A file `xyz.py` holds a frozen dataclass `Options` (what is the method's own, with the values of its
paper) and a class `Task(Method)`: its heads, its loss, what it does after a step. Encoder, data,
augmentation, optimiser and loop are shared, so that reading two files side by side shows how the
methods differ.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from paranasal_training.data.augment import Augmentation
from paranasal_training.runs.config import OptimizerConfig, Recipe
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import make_encoder

# Pretraining in Bhattacharya 2024, 2.6.
PAPER_RECIPE = Recipe(
    OptimizerConfig(name="lars", lr=0.2, weight_decay=1e-6, schedule="cosine", warmup_epochs=20),
    epochs=500,
    batch_size=128,
)
# The same with LARS as BYOL and SimCLR describe it: momentum, and no adaptation of biases and norms.
# Without momentum (the paper's code) the path of the whole schedule is a tenth as long.
CONTRASTIVE_RECIPE = replace(
    PAPER_RECIPE,
    optimizer=replace(PAPER_RECIPE.optimizer, momentum=0.9, plain_vectors=True),
)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a method gets to learn from in one step.

    Attributes:
        crops: float32 (B, 1, D, D, D), 0..1, as stored, on the training device.
        residuals: of the same shape, 0..1; None unless the method `needs_residuals`.
        augmentation: draws random changes.
        generator: of the CPU, for everything random in this step; each process has its own.
        shared: the same, for what all processes that share a batch draw alike.
        numbers: int64 (B,), which of the crops to learn from these are.
        training: False on validation crops.
    """

    crops: Tensor
    residuals: Tensor | None
    augmentation: Augmentation
    generator: torch.Generator
    shared: torch.Generator
    numbers: Tensor
    training: bool

    def view(self) -> Tensor:
        """A new random view of every crop, in validation too (contrastive methods live on it)."""
        return self.augmentation.view(self.crops, self.generator)

    def augmented(self, target: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Crops, and a target of their shape in the same geometry; as they are in validation."""
        if not self.training:
            return self.crops, target
        return self.augmentation(self.crops, self.generator, target)


class Method(nn.Module):
    """A self-supervised task around an encoder.

    Attributes:
        encoder: what is transferred into the classifier.
        config: the encoder's architecture.
        recipe: how the method is trained where nothing else is said.
        needs_residuals: whether `Sample.residuals` has to be there.
        validates: False where a lower validation loss is no better representation (distance to a
            moving target): then the last weights are kept.
        learns: False for starting points that only provide weights (none, transfer, weights).
        steady: names of parts whose learning rate does not fall after the warm-up.
        figures: what the last `loss` has to tell beside its value, logged under these names.
        facts: what the run's record says of weights that were not learnt.
    """

    recipe: ClassVar[Recipe] = PAPER_RECIPE
    needs_residuals: ClassVar[bool] = False
    validates: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    steady: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: EncoderConfig, options: Any) -> None:
        super().__init__()
        if config.channels != 1:
            raise ValueError("pretraining sees one channel, the crop (network.channels 1)")
        self.config = config
        self.options = options
        self.encoder = make_encoder(config)
        self.figures: dict[str, Tensor] = {}
        self.facts: dict[str, str] = {}

    def fit_to(self, crops: int) -> None:
        """Called once before training, with the number of crops to learn from."""

    def compile_parts(self) -> None:
        """Let torch.compile fuse what the loss calls: the parts, where it calls them as modules."""
        for part in self.children():
            part.compile()

    def loss(self, sample: Sample) -> Tensor:
        """The mean loss of one step, a scalar."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """What follows an optimiser step (moving averages, queues); `progress` of the run, 0..1."""


def method_names() -> list[str]:
    """All methods there are, by the names of their files."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def method_class(name: str) -> type[Method]:
    """The method of a name. Raises `BadConfig` when there is none."""
    if name not in method_names():
        raise BadConfig(f"There is no method {name!r}; choose {', '.join(method_names())}.")
    task: type[Method] = import_module(f"{__name__}.{name}").Task
    return task


def make_method(name: str, config: EncoderConfig, options: dict[str, Any]) -> Method:
    """Build a method from plain values.

    Args:
        name: of `method_names()`.
        config: the encoder's architecture.
        options: fields of the method's `Options` that are not to be its defaults.

    Raises:
        BadConfig: no such method, or an option that it does not have or allow.
    """
    task = method_class(name)
    kind = import_module(f"{__name__}.{name}").Options
    known = [one.name for one in fields(kind)]
    unknown = set(options) - set(known)
    if unknown:
        raise BadConfig(
            f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(known) or 'none'}."
        )
    try:
        return task(config, kind(**options))
    except (TypeError, ValueError) as error:
        raise BadConfig(f"pretrain.options of {name}: {error}") from error
