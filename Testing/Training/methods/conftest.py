"""A tiny encoder, and a few crops for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from paranasal_training.data.augment import Augmentation
from paranasal_training.data.config import AugmentConfig
from paranasal_training.methods import Method, Sample

from ParanasalSSLLib.model.config import EncoderConfig

VOXELS = 32
DEFAULT = AugmentConfig()


@pytest.fixture
def tiny() -> EncoderConfig:
    """An encoder that runs in milliseconds."""
    return EncoderConfig((4, 8, 8, 16), voxels=VOXELS, pool=False)


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Makes four crops with residuals: dark balls of different sizes; the same at every call."""

    def make(training: bool = True, augment: AugmentConfig = DEFAULT) -> Sample:
        index = torch.stack(torch.meshgrid(*[torch.arange(VOXELS) - 15.5] * 3, indexing="ij"))
        radii = torch.tensor([5.0, 8.0, 11.0, 14.0]).view(4, 1, 1, 1, 1)
        crops = 0.6 - 0.5 * (index.norm(dim=0) < radii).float()
        return Sample(
            crops,
            (crops - 0.5).abs(),
            Augmentation(augment),
            torch.Generator().manual_seed(0),
            torch.Generator().manual_seed(1),
            torch.arange(len(crops)),
            training,
        )

    return make


@pytest.fixture
def losses_of(make_sample: Callable[..., Sample]) -> Callable[..., list[float]]:
    """Losses of a method over some steps of Adam on the same crops."""

    def train(steps: int, method: Method) -> list[float]:
        optimizer = torch.optim.Adam(method.parameters(), 1e-2)
        losses = []
        for _ in range(steps):
            loss = method.loss(make_sample(training=False))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return train
