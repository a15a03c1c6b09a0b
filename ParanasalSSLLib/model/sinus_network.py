"""The sinus network: where the cavity of a maxillary sinus is, and what of it is filled.

A U-Net on the encoder that self-supervision trains. Nothing is convolved at full resolution: the
crop's blocks of 2^3 voxels stand beside the features of half its resolution as eight channels, and
the last convolution gives the eight voxels of each block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.encoders import Convolution3, ResNetEncoder

CAVITY, FILL = 0, 1  # channels of the network's output
BLOCK_VOXELS = 8  # of 2^3


class SinusNetwork(nn.Module):
    """(N, 2, 64, 64, 64) -> logits (N, 2, 64, 64, 64), all at 1 mm.

    Input: the crop, 0..1, and that of the other side, mirrored onto it; zeros where there is none.
    Output: logit of the cavity (all inside the bony walls, air or not), and of being filled, given
    that it is cavity. `probabilities` puts the two together.
    """

    def __init__(self, config: SinusNetworkConfig = SinusNetworkConfig()) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.encoder.widths
        e, f, g, h = config.decoder
        self.encoder = ResNetEncoder(config.encoder)
        self.up4 = UpBlock(d, c, e)
        self.up8 = UpBlock(e, b, f)
        self.up16 = UpBlock(f, a, g)
        self.up32 = UpBlock(g, a + BLOCK_VOXELS, h)
        self.refine = _normed(h, h)
        self.head = nn.Conv3d(h, 2 * BLOCK_VOXELS, 3, padding=1)

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 2, 64, 64, 64) -> logits (N, 2, 64, 64, 64) of cavity and opacification."""
        at32, at16, at8, at4, at2 = self.encoder(crops)
        x = self.up16(self.up8(self.up4(at2, at4), at8), at16)
        x = self.up32(x, torch.cat([at32, to_blocks(crops[:, :1]).to(at32.dtype)], dim=1))
        return from_blocks(self.head(self.refine(x)))

    def load_encoder(self, weights: Mapping[str, Tensor]) -> None:
        """Take over an encoder that was trained on single crops; it ignores the other side at first.

        weights: of a `ResNetEncoder` of the same widths with one channel.
        """
        own = dict(weights)
        stem = own["conv1.weight"]
        own["conv1.weight"] = torch.cat([stem, torch.zeros_like(stem)], dim=1)
        self.encoder.load_state_dict(own)


class UpBlock(nn.Module):
    """Doubles the resolution, puts the encoder's features beside, and convolves."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(channels_in, channels_out, 2, stride=2)
        self.convolution = _normed(channels_out + channels_skip, channels_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x (N, C, D, D, D) and skip (N, C', 2 D, 2 D, 2 D) -> features of the skip's size."""
        return self.convolution(torch.cat([self.up(x), skip], dim=1))


def probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2, D, D, D) -> probability of cavity and of opacification, float32 (N, D, D, D).

    The opacification is never more probable than the cavity.
    """
    cavity, fill = logits.float().sigmoid().unbind(1)
    return cavity, cavity * fill


class SinusEnsemble(nn.Module):
    """One or several sinus networks of one architecture that are asked together.

    (N, 2, 64, 64, 64), as for `SinusNetwork` -> probabilities of cavity and of opacification,
    float32 (N, 2, 64, 64, 64): the mean over the members. The opacification is never more probable
    than the cavity.
    """

    def __init__(self, members: Sequence[SinusNetwork]) -> None:
        super().__init__()
        if len({member.config for member in members}) != 1:
            raise ValueError("the members of an ensemble have one architecture")
        self.members: Sequence[SinusNetwork] = nn.ModuleList(members)  # type: ignore[assignment]

    @property
    def config(self) -> SinusNetworkConfig:
        """Architecture of each member."""
        return self.members[0].config

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 2, 64, 64, 64) -> probabilities (N, 2, 64, 64, 64)."""
        maps = [torch.stack(probabilities(member(crops)), dim=1) for member in self.members]
        return sum(maps[1:], start=maps[0]) / len(maps)


def to_blocks(x: Tensor) -> Tensor:
    """(N, C, D, D, D) -> (N, 8 C, D/2, D/2, D/2), each block's voxels as channels."""
    count, channels, edge = x.shape[:3]
    half = edge // 2
    blocks = x.reshape(count, channels, half, 2, half, 2, half, 2)
    blocks = blocks.permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(count, channels * BLOCK_VOXELS, half, half, half)


def from_blocks(x: Tensor) -> Tensor:
    """The way back: (N, 8 C, D, D, D) -> (N, C, 2D, 2D, 2D)."""
    count, channels, edge = x.shape[:3]
    channels //= BLOCK_VOXELS
    blocks = x.reshape(count, channels, 2, 2, 2, edge, edge, edge)
    blocks = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(count, channels, 2 * edge, 2 * edge, 2 * edge)


def _normed(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        Convolution3(channels_in, channels_out),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )
