"""Encoders of all resolutions for SparK, and what its tests give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.methods import Sample, make_method
from paranasal_training.methods.spark import Task
from torch import Tensor

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.networks import channels_last

MakeSample = Callable[..., Sample]
WIDTHS = (4, 8, 8, 16)
CONFIGS = [
    EncoderConfig(WIDTHS, "A", voxels=32, pool=False),
    EncoderConfig(WIDTHS, "B", voxels=32, pool=False),
    EncoderConfig(WIDTHS, "A", voxels=64, pool=True),
    EncoderConfig(WIDTHS, "B", voxels=32, pool=True),
]
NAMES = ["2mm-A", "2mm-B", "1mm-A-pool", "2mm-B-pool"]
all_configs = pytest.mark.parametrize("config", CONFIGS, ids=NAMES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(config: EncoderConfig, seed: int = 0) -> Tensor:
    return torch.rand(2, 1, *[config.voxels] * 3, generator=seeded(seed))


def build(config: EncoderConfig, **options: Any) -> Task:
    torch.manual_seed(0)
    method = make_method("spark", config, options)
    assert isinstance(method, Task)
    return channels_last(method)  # as runs do


def few_visible(count: int = 2) -> Tensor:
    """One corner of each crop: there are masked positions at every level."""
    visible = torch.zeros(count, 8, 8, 8, dtype=torch.bool)
    visible[:, :3, 1:4, :2] = True
    visible[0, 2, 2, 1] = False
    return visible
