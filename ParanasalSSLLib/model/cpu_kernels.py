"""Convolutions that give torch's numbers, faster or safer on the CPU.

On other devices each is torch's own operation.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution3(nn.Conv3d):
    """A 3^3 convolution without bias, (N, C, D, D, D) -> (N, C', D/stride, ...), see `convolve`."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> its convolution, as `convolve` says."""
        return convolve(x, self.weight, self.stride[0])


def convolve(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`conv3d` with 3^3 kernels and padding 1.

    On the CPU, maps of 2^3 voxels or fewer are computed as one matrix product, which is several times
    as fast; and torch 2.13 leaves uninitialised memory in the bf16 gradients of such convolutions.

    Args:
        x: (N, C, D, D, D).
        weight: (C', C, 3, 3, 3).
        stride: along each axis.
    """
    edge = x.shape[-1]
    if x.device.type != "cpu" or edge > 2 * stride:
        return F.conv3d(x, weight, stride=stride, padding=1)
    if edge <= stride:  # one voxel comes out; the rest of the kernel would meet padding only
        inner = slice(1, 1 + edge)
        kernel = weight[:, :, inner, inner, inner].flatten(1)
        return F.linear(x.flatten(1), kernel)[:, :, None, None, None]
    around = F.pad(x.permute(0, 2, 3, 4, 1), (0, 0, 1, 1, 1, 1, 1, 1))
    for axis in (1, 2, 3):
        around = around.unfold(axis, 3, stride)  # in the end (N, d, d, d, C, 3, 3, 3)
    count, edge = around.shape[:2]
    rows = around.permute(0, 1, 2, 3, 5, 6, 7, 4).reshape(count * edge**3, -1)
    kernel = weight.permute(0, 2, 3, 4, 1).reshape(len(weight), -1)
    return F.linear(rows, kernel).view(count, edge, edge, edge, -1).permute(0, 4, 1, 2, 3)


class Convolution5(nn.Conv3d):
    """A 5^3 convolution, (N, C, D, D, D) -> (N, C', D/stride, ...).

    Over maps of 4^3 voxels it is computed without autocast: on the CPU, torch 2.13 leaves uninitialised
    memory in its bf16 gradients.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(channels_in, channels_out, 5, stride=stride, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> its convolution; small maps on the CPU in float32."""
        if x.device.type != "cpu" or x.shape[-1] > 4:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class LastConvolution(nn.Conv3d):
    """A plain 5^3 convolution to one channel, (N, C, D, H, W) -> (N, 1, D, H, W).

    Convolutions to a single channel leave most of a processor's vector lanes idle. On the CPU blocks
    of 2 x 2 x 4 neighbouring results are therefore computed as 16 channels of a strided convolution
    whose kernels are shifted copies of the one kernel: the same numbers, two to three times as fast.
    """

    BLOCK = (2, 2, 4)

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> (N, 1, D, H, W), in blocks on the CPU where the sides divide."""
        divisible = all(n % b == 0 for n, b in zip(x.shape[2:], self.BLOCK, strict=True))
        if x.device.type != "cpu" or not divisible:
            return super().forward(x)
        return self._in_blocks(x)

    def _in_blocks(self, x: Tensor) -> Tensor:
        di, dj, dk = self.BLOCK
        shifts = itertools.product(range(di), range(dj), range(dk))
        kernels = [
            F.pad(self.weight, (k, dk - 1 - k, j, dj - 1 - j, i, di - 1 - i)) for i, j, k in shifts
        ]
        assert self.bias is not None
        bias = self.bias.expand(len(kernels))
        blocks = F.conv3d(x, torch.cat(kernels), bias, stride=self.BLOCK, padding=2)
        blocks = blocks.unflatten(1, self.BLOCK).permute(0, 4, 1, 5, 2, 6, 3)
        return blocks.flatten(5, 6).flatten(3, 4).flatten(1, 2).unsqueeze(1)
