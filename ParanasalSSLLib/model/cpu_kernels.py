"""Convolutions that give torch's numbers, faster or safer on the CPU.

On other devices each is torch's own operation.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

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
    around = F.pad(x.permute(0, 2, 3, 4, 1), (0, 0, 1, 1, 1, 1, 1, 1)).flatten(1, 3)
    # By index and not by `unfold`, whose gradient takes four times as long as all the rest.
    rows = around.index_select(1, _neighbours(edge, stride)).view(-1, 27 * x.shape[1])
    kernel = weight.permute(0, 2, 3, 4, 1).reshape(len(weight), -1)
    edge = -(-edge // stride)
    return F.linear(rows, kernel).view(-1, edge, edge, edge, len(weight)).permute(0, 4, 1, 2, 3)


@lru_cache
def _neighbours(edge: int, stride: int) -> Tensor:
    """Places of the 3^3 inputs of every output voxel in a flattened map with a border of 1."""
    with torch.inference_mode(False):  # the result is kept for training, too
        along = torch.arange(0, edge, stride)[:, None] + torch.arange(3)
        i = along[:, None, None, :, None, None]
        j = along[None, :, None, None, :, None]
        k = along[None, None, :, None, None, :]
        return ((i * (edge + 2) + j) * (edge + 2) + k).flatten()


class FirstConvolution(nn.Conv3d):
    """A 7^3 convolution of stride 2 without bias, (N, C, D, D, D) -> (N, C', D/2, D/2, D/2).

    Convolutions of a single channel leave most of a processor's vector lanes idle. On the CPU, in bf16,
    the seven values along the last axis (and an eighth that counts for nothing) therefore become
    channels: the same numbers in 0.6 (64 output channels) to 0.9 (16) of the time.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 7, stride=2, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, H, W) -> its convolution."""
        bf16 = (
            torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )
        fits = x.device.type == "cpu" and x.shape[1] == 1 and x.shape[-1] % 2 == 0
        if not (bf16 and fits) or x.requires_grad:
            return super().forward(x)
        kernel = F.pad(self.weight, (1, 0)).permute(0, 4, 2, 3, 1)
        kernel = kernel.contiguous(memory_format=torch.channels_last_3d)
        return F.conv3d(_values_along_last_axis(x), kernel, stride=(2, 2, 1))


def _values_along_last_axis(x: Tensor) -> Tensor:
    """(N, 1, D, H, W) -> bf16 (N, 8, D + 6, H + 6, W / 2): for each second voxel, eight from 4 before.

    Beyond the edges there are zeros. Two neighbours are moved as one number.
    """
    pairs = F.pad(x[:, 0].bfloat16(), (4, 4, 3, 3, 3, 3)).view(torch.int32)
    count = x.shape[-1] // 2
    values = torch.stack([pairs[..., start : start + count] for start in range(4)], dim=-1)
    return values.view(torch.bfloat16).permute(0, 4, 1, 2, 3)


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
