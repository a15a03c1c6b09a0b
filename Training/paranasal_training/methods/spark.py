"""SparK (Tian et al. 2023): reproduce masked patches, with an encoder that never sees them.

As in Bhattacharya 2024: patches of 8 mm, 60 % of them masked, features of the visible ones densified
with learnt embeddings, a light decoder of three upsampling and three convolution blocks, squared error
on masked patches, each normalised by its own mean and variance. Noise is on the visible patches only,
never on what is to be predicted.

Deviations from Tian: masks on a grid of stride 8, not 32 (a crop would have 8 patches); a decoder as
wide as the encoder that ends at the first stage's resolution; three convolutions in it for six; LARS
for 500 epochs (the paper), not LAMB for 1600.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.masks import (
    MaskOptions,
    at_edge,
    draw_visible,
    from_patches,
    to_patches,
)
from paranasal_training.methods.parts.sparse import sparse_features, sparse_norm
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import Convolution3

logger = logging.getLogger(__name__)

_FLAT = 1e-6  # added to variances: a patch without contrast has nothing to predict


@dataclass(frozen=True)
class Options(MaskOptions):
    """What is SparK's own."""

    patch_mm: int = 8
    masked_fraction: float = 0.6


class Task(Method):
    """Sparse encoder, densified skips, light decoder."""

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        if config.experts:
            raise ValueError("the sparse encoder has plain convolutions (network.experts 0)")
        options.check_voxels(config.voxels)
        self.densify = nn.ModuleList(
            Densify(width, kernel)
            for width, kernel in zip(config.widths, (3, 3, 3, 1), strict=True)
        )
        self.decoder = LightDecoder(config)

    def compile_parts(self) -> None:
        """The decoder alone: shapes in the sparse encoder follow the mask, which inductor refuses."""
        logger.warning("compile: of SparK the decoder alone is compiled, not its sparse encoder.")
        self.decoder.compile()

    def loss(self, sample: Sample) -> Tensor:
        """Squared error of the masked patches, rebuilt from the visible ones."""
        crops, clean = sample.augmented(sample.crops)
        assert clean is not None
        visible = draw_visible(len(crops), self.options, sample.generator).to(crops.device)
        return masked_error(self.reconstruct(crops, visible), clean, visible)

    def reconstruct(self, crops: Tensor, visible: Tensor) -> Tensor:
        """What the visible patches, bool (B, g, g, g), let one expect: (B, 1, D, D, D)."""
        features = sparse_features(self.encoder, crops, visible)[1:]
        dense = [part(visible, level) for part, level in zip(self.densify, features, strict=True)]
        return self.decoder(dense)


class Densify(nn.Module):
    """Fills masked positions of a feature map with a learnt embedding, then convolves."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(width)
        self.embedding = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.embedding, std=0.02)
        self.projection = Convolution3(width, width) if kernel == 3 else nn.Conv3d(width, width, 1)

    def forward(self, visible: Tensor, x: Tensor) -> Tensor:
        """(B, width, n, n, n), zero where masked -> the same shape, no longer zero."""
        active = at_edge(visible, x.shape[-1])
        normed = sparse_norm(self.norm, x, visible)
        embedding = self.embedding.to(normed.dtype).view(-1, 1, 1, 1)
        return self.projection(torch.where(active, normed, embedding))


class LightDecoder(nn.Module):
    """Dense maps of the four stages -> (B, 1, D, D, D), as wide as the encoder.

    It ends on the grid of the encoder's first stage, where each position predicts its 2^3 or 4^3
    voxels.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(reversed(config.widths)))
        self.upsampling = nn.ModuleList(
            _normed(nn.ConvTranspose3d(a, b, 2, stride=2, bias=False)) for a, b in pairs
        )
        self.convolutions = nn.ModuleList(_normed(Convolution3(b, b)) for _, b in pairs)
        self.block = 4 if config.pool else 2
        self.head = nn.Conv3d(config.widths[0], self.block**3, 1)

    def forward(self, dense: list[Tensor]) -> Tensor:
        """Dense features, largest first -> reconstruction (N, 1, D, D, D)."""
        *skips, x = dense
        for up, convolve, skip in zip(
            self.upsampling, self.convolutions, reversed(skips), strict=True
        ):
            x = convolve(up(x) + skip)
        return from_patches(self.head(x).movedim(1, -1), self.block)


def _normed(convolution: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    return nn.Sequential(
        convolution, nn.BatchNorm3d(convolution.out_channels), nn.ReLU(inplace=True)
    )


def masked_error(predicted: Tensor, crops: Tensor, visible: Tensor) -> Tensor:
    """Mean squared error over the voxels of masked patches.

    Args:
        predicted: (B, 1, D, D, D), of crops each of whose patches has mean 0 and variance 1.
        crops: (B, 1, D, D, D), as they are.
        visible: bool (B, g, g, g), of the patches.
    """
    edge = crops.shape[-1] // visible.shape[-1]
    wanted = to_patches(crops, edge)[~visible]
    variance, mean = torch.var_mean(wanted, dim=1, correction=0, keepdim=True)
    wanted = (wanted - mean) / (variance + _FLAT).sqrt()
    return F.mse_loss(to_patches(predicted.float(), edge)[~visible], wanted)
