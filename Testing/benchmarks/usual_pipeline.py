"""What the training bench compares with: the usual pipeline, written as MONAI's tutorials do.

One NIfTI file per crop, random transforms sample by sample in worker processes, float32 networks in
PyTorch's ordinary memory layout, optimisers with their default settings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandAffined,
    RandGaussianNoised,
    ScaleIntensityRanged,
)
from paranasal_training.data.config import AugmentConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import RandomSampler

from ParanasalSSLLib.model.cpu_kernels import LastConvolution

ENDLESS = 10**7  # samples


@dataclass(frozen=True)
class UsualTraining:
    """One training loop.

    Attributes:
        network: in any layout; the loop trains a plain copy.
        loss: of the copy on a batch {"image": (B, 1, D, D, D), "residual": likewise, "label": (B,)}.
        optimizer: of its weights.
        files: one dictionary of paths (and a label) for each sample.
        augment: random changes, or None.
    """

    network: nn.Module
    loss: Callable[[Any, Mapping[str, Tensor]], Tensor]
    optimizer: Callable[[Any], Optimizer]
    files: list[dict[str, Any]]
    augment: AugmentConfig | None
    batch_size: int
    workers: int
    device: torch.device

    def steps(self) -> Generator[int, None, None]:
        """Train for ever; yields the batch size after each step. Workers end with the iterator."""
        network = plain_copy(self.network).to(self.device).train()
        optimizer = self.optimizer(network.parameters())
        for batch in self._loader():
            moved = {name: self._moved(values) for name, values in batch.items()}
            optimizer.zero_grad()
            loss = self.loss(network, moved)
            loss.backward()
            optimizer.step()
            float(loss.detach())  # as everyone does, for the log
            yield self.batch_size

    def _loader(self) -> DataLoader:
        maps: list[str] = [name for name in self.files[0] if name != "label"]
        dataset = Dataset(self.files, sample_transforms(maps, self.augment))
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=RandomSampler(dataset, replacement=True, num_samples=ENDLESS),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _moved(self, values: Tensor) -> Tensor:
        """Without MONAI's metadata, which slow every operation on a tensor."""
        plain = values.as_tensor() if hasattr(values, "as_tensor") else values
        return plain.to(self.device, non_blocking=True)


def sample_transforms(maps: list[str], augment: AugmentConfig | None) -> Compose:
    """MONAI's transforms for one sample; the ranges are those of `augment`."""
    steps: list[Any] = [
        LoadImaged(maps),
        EnsureChannelFirstd(maps),
        ScaleIntensityRanged(maps, a_min=0, a_max=255, b_min=0, b_max=1),
    ]
    if augment is not None:
        low, high = augment.scale
        steps += [
            RandAffined(
                maps,
                prob=augment.probability,
                rotate_range=(math.radians(augment.rotation_deg),) * 3,
                translate_range=(augment.translation_mm,) * 3,
                scale_range=((low - 1, high - 1),) * 3,
                mode="bilinear",
                padding_mode="border",
            ),
            RandGaussianNoised(["image"], prob=augment.probability, std=augment.noise),
        ]
    return Compose(steps)


def write_files(crops: np.ndarray, residuals: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """uint8 (n, D, D, D) maps as compressed NIfTI; returns a list for MONAI's `Dataset`."""
    entries = []
    for number, (crop, residual) in enumerate(zip(crops, residuals, strict=True)):
        entry: dict[str, Any] = {"label": number % 2}
        for name, voxels in (("image", crop), ("residual", residual)):
            entry[name] = str(folder / f"{number}_{name}.nii.gz")
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), entry[name])
        entries.append(entry)
    return entries


def plain_copy(network: nn.Module) -> Any:
    """The network in the ordinary layout, with an ordinary last convolution."""
    plain: Any = copy.deepcopy(network)
    plain.to(memory_format=torch.contiguous_format)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, LastConvolution):
                ordinary = nn.Conv3d(child.in_channels, 1, 5, padding=2)
                ordinary.load_state_dict(child.state_dict())
                setattr(module, name, ordinary)
    return plain
