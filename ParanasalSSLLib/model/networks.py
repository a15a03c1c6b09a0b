"""The networks: autoencoder of healthy sinuses and classifier. No training code here.

All take crops (N, 1, D, D, D), float, 0..1, where D is 64 (1 mm) or 32 (2 mm).
"""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import Convolution5, LastConvolution
from ParanasalSSLLib.model.encoders import make_encoder

Network = TypeVar("Network", bound=nn.Module)


# ------------------------------------------------------------------------------- autoencoder


class CAE(nn.Module):
    """Squeezes a crop through a small latent vector: (N, 1, D, D, D) -> the same shape.

    Trained on healthy sinuses only, it cannot reproduce anomalies. `encode` gives the latent
    vectors, (N, latent).
    """

    def __init__(self, config: CAEConfig = CAEConfig()) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        edge = config.voxels // 2 ** len(config.channels)
        self._bottleneck_shape = (config.bottleneck_channels, edge, edge, edge)
        flat = config.bottleneck_channels * edge**3
        self.encoder = nn.Sequential(
            *(_normed_conv(a, b, stride=2) for a, b in itertools.pairwise(widths)),
            nn.Conv3d(widths[-1], config.bottleneck_channels, 1),
        )
        self.to_latent = nn.Linear(flat, config.latent)
        self.from_latent = nn.Linear(config.latent, flat)
        self.decoder = _cae_decoder(config)

    def encode(self, crops: Tensor) -> Tensor:
        """(N, 1, D, D, D) -> (N, latent)."""
        return self.to_latent(self.encoder(crops).flatten(1))

    def decode(self, latents: Tensor) -> Tensor:
        """(N, latent) -> (N, 1, D, D, D)."""
        cube = self.from_latent(latents).unflatten(1, self._bottleneck_shape)
        return self.decoder(cube)

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 1, 64, 64, 64) -> reconstructions of the same shape."""
        return self.decode(self.encode(crops))


def _cae_decoder(config: CAEConfig) -> nn.Sequential:
    widths = config.channels[::-1]
    parts: list[nn.Module] = [nn.Conv3d(config.bottleneck_channels, widths[0], 1)]
    for a, b in itertools.pairwise(widths):
        parts += [_normed_conv(a, b, stride=1), _twice_as_large()]
    if config.last_stage == "convolution":
        parts += [_twice_as_large(), LastConvolution(widths[-1])]
    elif config.last_stage == "subpixel":
        parts.append(SubpixelConvolution(widths[-1]))
    else:
        parts += [_normed_conv(widths[-1], 1, stride=1), _twice_as_large()]
    return nn.Sequential(*parts)


class SubpixelConvolution(nn.Conv3d):
    """A 5^3 convolution to the eight voxels of each block, (N, C, D, H, W) -> (N, 1, 2D, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 8, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, D, D) -> map (N, 1, 2 D, 2 D, 2 D)."""
        blocks = super().forward(x).unflatten(1, (2, 2, 2)).permute(0, 4, 1, 5, 2, 6, 3)
        return blocks.flatten(5, 6).flatten(3, 4).flatten(1, 2).unsqueeze(1)


def _normed_conv(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    convolution = Convolution5(channels_in, channels_out, stride)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.LeakyReLU())


def _twice_as_large() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)


# -------------------------------------------------------------------------------- classifier


class Classifier(nn.Module):
    """Encoder, global average pooling and an MLP: (N, channels, D, D, D) -> logits (N, 2).

    Logit 0 stands for normal, 1 for anomalous. The hidden layer is half as wide as the features
    (512-256-2 at full width).
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        features = config.widths[-1]
        hidden = max(1, features // 2)
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, C, D, D, D) -> logits (N, 2) of clear and anomaly."""
        return self.mlp(self.encoder.pooled(crops))


def channels_last(module: Network) -> Network:
    """The module in the memory layout in which convolutions run fastest; its input may be in any."""
    return module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
