"""The encoder as a sparse network: what is masked takes part in nothing (Tian et al. 2023, SparK).

The modules are the encoder's own, so that its weights and running statistics serve dense crops later.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods.parts.masks import at_edge
from ParanasalSSLLib.model.encoders import ResidualBlock, ResNetEncoder


def sparse_features(encoder: ResNetEncoder, crops: Tensor, visible: Tensor) -> list[Tensor]:
    """The encoder's five feature maps of the visible patches only, zero elsewhere.

    Args:
        encoder: with plain convolutions.
        crops: (B, 1, D, D, D); masked voxels have no influence.
        visible: bool (B, g, g, g), of the patches; g divides D.
    """
    masked = crops * at_edge(visible, crops.shape[-1])
    stem = F.relu(sparse_norm(encoder.bn1, encoder.conv1(masked), visible), inplace=True)
    pooled = stem
    if encoder.config.pool:
        pooled = F.max_pool3d(stem, 3, stride=2, padding=1)
        # The maximum spreads to masked positions beside visible ones.
        pooled = pooled * at_edge(visible, pooled.shape[-1])
    features = [stem, _sparse_stage(encoder.layer1, visible, pooled)]
    for stage in (encoder.layer2, encoder.layer3, encoder.layer4):
        features.append(_sparse_stage(stage, visible, features[-1]))
    return features


def sparse_norm(norm: nn.BatchNorm3d, x: Tensor, visible: Tensor) -> Tensor:
    """Batch norm by the active positions alone; the others become zero, whatever they were.

    Statistics, running ones included, are those of `norm` on a batch of only the active positions of
    x, (B, C, n, n, n).
    """
    positions = x.movedim(1, -1)
    active = at_edge(visible, x.shape[-1]).flatten().nonzero().flatten()
    rows = positions.flatten(0, 3).index_select(0, active)
    normed = norm(rows[:, :, None, None, None]).flatten(1)
    filled = normed.new_zeros(positions.shape).flatten(0, 3).index_copy(0, active, normed)
    return filled.view(positions.shape).movedim(-1, 1)


def _sparse_stage(stage: nn.Sequential, visible: Tensor, x: Tensor) -> Tensor:
    for block in stage:
        x = _sparse_block(cast(ResidualBlock, block), visible, x)
    return x


def _sparse_block(block: ResidualBlock, visible: Tensor, x: Tensor) -> Tensor:
    """Every convolution is followed by a norm, which clears what it spread to masked positions."""
    out = F.relu(sparse_norm(block.bn1, block.conv1(x), visible), inplace=True)
    out = sparse_norm(block.bn2, block.conv2(out), visible)
    if hasattr(block, "downsample"):
        convolution, norm = block.downsample
        shortcut = sparse_norm(cast(nn.BatchNorm3d, norm), convolution(x), visible)
    else:
        shortcut = block.shortcut(x)
    return F.relu(out + shortcut, inplace=True)
