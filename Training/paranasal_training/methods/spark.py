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
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.heads import check_between
from paranasal_training.methods.parts.sparse import at_edge, sparse_features, sparse_norm
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import Convolution3
from ParanasalSSLLib.model.resolution import CROP_VOXELS

_FLAT = 1e-6  # added to variances: a patch without contrast has nothing to predict


@dataclass(frozen=True)
class Options:
    """What is SparK's own."""

    patch_mm: int = 8
    """Edge of a patch, mm: 2, 4, 8, 16 or 32."""
    masked_fraction: float = 0.6
    """Fraction of a crop's patches that is masked, between 0 and 1."""

    def __post_init__(self) -> None:
        if type(self.patch_mm) is not int or self.patch_mm not in (2, 4, 8, 16, 32):
            raise ValueError(f"patch_mm is 2, 4, 8, 16 or 32, not {self.patch_mm!r}")
        check_between("masked_fraction", self.masked_fraction, 0, 1)
        if not 0 < self.masked < self.patches:
            raise ValueError(
                f"masked_fraction {self.masked_fraction} masks {self.masked} of {self.patches} patches"
            )

    @property
    def grid(self) -> int:
        """Patches along each edge of a crop."""
        return CROP_VOXELS // self.patch_mm

    @property
    def patches(self) -> int:
        """Patches of a crop."""
        return self.grid**3

    @property
    def masked(self) -> int:
        """Masked patches of a crop."""
        return round(self.masked_fraction * self.patches)


class Task(Method):
    """Sparse encoder, densified skips, light decoder."""

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        if config.experts:
            raise ValueError("the sparse encoder has plain convolutions (network.experts 0)")
        if config.voxels < 2 * options.grid:
            raise ValueError(
                f"patch_mm {options.patch_mm} is one voxel of crops of {config.voxels}^3"
            )
        self.densify = nn.ModuleList(
            Densify(width, kernel)
            for width, kernel in zip(config.widths, (3, 3, 3, 1), strict=True)
        )
        self.decoder = LightDecoder(config)

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


def draw_visible(count: int, options: Options, generator: torch.Generator) -> Tensor:
    """Which patches are seen, bool (count, g, g, g); in each crop exactly `options.masked` are not."""
    order = torch.rand(count, options.patches, generator=generator).argsort(dim=1)
    visible = torch.ones(count, options.patches, dtype=torch.bool)
    visible.scatter_(1, order[:, : options.masked], False)
    return visible.view(count, *[options.grid] * 3)


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


def to_patches(volumes: Tensor, edge: int) -> Tensor:
    """(B, 1, D, D, D) -> (B, g, g, g, edge^3) with g = D / edge."""
    grid = volumes.shape[-1] // edge
    blocks = volumes.reshape(-1, grid, edge, grid, edge, grid, edge)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)


def from_patches(patches: Tensor, edge: int) -> Tensor:
    """(B, g, g, g, edge^3) -> (B, 1, D, D, D): undoes `to_patches`."""
    blocks = patches.unflatten(4, (edge, edge, edge)).permute(0, 1, 4, 2, 5, 3, 6)
    return blocks.flatten(5, 6).flatten(3, 4).flatten(1, 2).unsqueeze(1)
