"""The U-Net decoder beside the encoder, for methods that reproduce something voxel by voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import Convolution3


class UNetDecoder(nn.Module):
    """The encoder's mirror image with skips: five feature maps -> logits (N, 1, D, D, D).

    As in the paper's code, the last map is computed at half resolution and then upsampled: residuals
    are coarse, and a decoder stage at 64^3 costs twice as much as all the rest together.
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        a, b, c, d = config.widths
        outputs = [max(1, d // 2**halvings) for halvings in range(1, 5)]
        inputs = [d, *outputs[:-1]]
        self.blocks = nn.ModuleList(
            DecoderBlock(below, skip, out)
            for below, skip, out in zip(inputs, (c, b, a, a), outputs, strict=True)
        )
        self.head = nn.Conv3d(outputs[-1], 1, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features of the encoder, largest first -> map (N, 1, D, D, D)."""
        *skips, x = features
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return twice_as_large_map(self.head(x))


def twice_as_large_map(x: Tensor) -> Tensor:
    """Trilinear upsampling of one channel, (N, 1, D, D, D) -> (N, 1, 2D, 2D, 2D).

    The same numbers as `F.interpolate`, whose gradient takes six times as long on the CPU.
    """
    for axis in (4, 3, 2):
        count = x.shape[axis]
        ends = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, count - 1, 1)], axis)
        halves = [ends.narrow(axis, start, count).lerp(x, 0.75) for start in (0, 2)]
        x = torch.stack(halves, axis + 1).flatten(axis, axis + 1)
    return x


class DecoderBlock(nn.Module):
    """Upsamples to the skip's size, puts the encoder's features beside, and convolves twice."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_normed_conv3(channels_in + channels_skip, channels_out),
            *_normed_conv3(channels_out, channels_out),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x and the skip's features -> features of the skip's size."""
        if x.shape[2:] != skip.shape[2:]:
            x = F.interpolate(x, size=skip.shape[2:], mode="trilinear")
        return self.convolutions(torch.cat([x.to(skip.dtype), skip], dim=1))


def _normed_conv3(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = Convolution3(channels_in, channels_out)
    return convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True)
