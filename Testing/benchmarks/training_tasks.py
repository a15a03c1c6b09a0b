"""The training steps that the bench measures: ours, and the same ones in the usual pipeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from paranasal_training.data.augment import Augmentation
from paranasal_training.data.batches import Batch, CropData, as_floats
from paranasal_training.data.config import AugmentConfig
from paranasal_training.evaluation.classifier import Inputs
from paranasal_training.methods import make_method
from paranasal_training.methods.residual import Options, residual_loss
from paranasal_training.runs.optimizers import LARS
from paranasal_training.runs.stage import TrainingStage
from paranasal_training.stages.cae import CAEStage
from paranasal_training.stages.config import FinetuneConfig, PretrainConfig, TrainConfig
from paranasal_training.stages.finetune import FinetuneStage
from paranasal_training.stages.pretrain import PretrainStage
from torch import Tensor
from torch.nn import functional as F
from usual_pipeline import UsualTraining, write_files

from ParanasalSSLLib.model.config import FULL_WIDTHS, CAEConfig, EncoderConfig
from ParanasalSSLLib.model.networks import CAE, Classifier

QUARTER_WIDTHS = tuple(width // 4 for width in FULL_WIDTHS)
CROPS = 64
PLACE: dict[str, Any] = {"store": Path(), "output": Path()}  # nothing is read or written


@dataclass(frozen=True)
class Task:
    """One kind of training step.

    Attributes:
        stage: the network and loss that real runs use.
        data: crops with residuals or labels, in memory.
        prepare: from a batch to what the network gets, as the stage's loss does it.
        usual: the same training in the usual pipeline.
    """

    name: str
    widths: tuple[int, ...]
    stage: TrainingStage
    data: CropData
    prepare: Callable[[Batch], object]
    usual: UsualTraining

    @property
    def batch_size(self) -> int:
        return self.usual.batch_size


def make_tasks(args: argparse.Namespace, device: torch.device, folder: Path) -> list[Task]:
    """The autoencoder once, the other two for each of the widths."""
    torch.manual_seed(0)
    crops, residuals = example_crops(CROPS, args.voxels)
    files = write_files(crops.numpy(), residuals.numpy(), folder)
    maker = _TaskMaker(crops.unsqueeze(1), residuals.unsqueeze(1), files, args, device)
    tasks = [maker.autoencoder()]
    for widths in (QUARTER_WIDTHS, FULL_WIDTHS) if args.full else (QUARTER_WIDTHS,):
        tasks += [maker.residual(widths), maker.finetuning(widths)]
    return tasks


def example_crops(count: int, edge: int) -> tuple[Tensor, Tensor]:
    """uint8 (count, D, D, D) smooth shapes with noise, and maps like residuals."""
    smooth = torch.rand(2 * count, 1, 9, 9, 9)
    maps = F.interpolate(smooth, (edge,) * 3, mode="trilinear").squeeze(1)
    maps = maps + 0.03 * torch.randn(maps.shape)
    return tuple((maps.clamp(0, 1) * 255).to(torch.uint8).chunk(2))  # type: ignore[return-value]


@dataclass(frozen=True)
class _TaskMaker:
    crops: Tensor
    residuals: Tensor
    files: list[dict[str, Any]]
    args: argparse.Namespace
    device: torch.device

    def autoencoder(self) -> Task:
        config = TrainConfig(**PLACE, network=CAEConfig(voxels=self.args.voxels))
        network = CAE(config.network)
        images = [{"image": entry["image"]} for entry in self.files]
        return Task(
            "autoencoder",
            config.network.channels,
            CAEStage(network, config),
            CropData(self.crops, torch.zeros(CROPS, dtype=torch.int64)),
            lambda batch: as_floats(batch.crops),
            self._usual(
                network,
                lambda net, batch: F.l1_loss(net(batch["image"]), batch["image"]),
                lambda weights: torch.optim.Adam(weights, 1e-4),
                images,
                None,
            ),
        )

    def residual(self, widths: tuple[int, ...]) -> Task:
        config = PretrainConfig(**PLACE, network=EncoderConfig(widths, voxels=self.args.voxels))
        method = make_method("residual", config.network, {})
        augmentation = Augmentation(config.augment)

        def prepare(batch: Batch) -> object:
            maps = as_floats(batch.crops), as_floats(batch.target)
            return augmentation(maps[0], torch.Generator().manual_seed(batch.seed), maps[1])

        def usual_loss(net: Any, batch: Any) -> Tensor:
            logits = net.decoder(net.encoder(batch["image"]))
            return residual_loss(logits, batch["residual"], Options())

        usual = self._usual(method, usual_loss, LARS, self.files, config.augment)
        stage = PretrainStage(method, config)
        data = CropData(self.crops, self.residuals)
        return Task("residual", widths, stage, data, prepare, usual)

    def finetuning(self, widths: tuple[int, ...]) -> Task:
        config = FinetuneConfig(**PLACE)
        network = Classifier(EncoderConfig(widths, voxels=self.args.voxels))
        augmentation = Augmentation(config.augment)
        stage = FinetuneStage(network, config, torch.ones(2), Inputs(self.args.voxels))
        images = [{name: entry[name] for name in ("image", "label")} for entry in self.files]
        return Task(
            "fine-tuning",
            widths,
            stage,
            CropData(self.crops, torch.arange(CROPS) % 2),
            lambda batch: augmentation(
                as_floats(batch.crops), torch.Generator().manual_seed(batch.seed)
            ),
            self._usual(
                network,
                lambda net, batch: F.cross_entropy(net(batch["image"]), batch["label"]),
                lambda weights: torch.optim.AdamW(weights, 1e-4),
                images,
                config.augment,
            ),
        )

    def _usual(
        self,
        network: Any,
        loss: Callable[..., Tensor],
        optimizer: Callable[..., Any],
        files: list[dict[str, Any]],
        augment: AugmentConfig | None,
    ) -> UsualTraining:
        args = self.args
        return UsualTraining(
            network, loss, optimizer, files, augment, args.batch_size, args.workers, self.device
        )
