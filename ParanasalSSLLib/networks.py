"""The networks: autoencoder of healthy sinuses, residual U-Net, classifier. No training code here.

All take crops (N, 1, 64, 64, 64), float, 0..1. The encoder is a 3D ResNet18 with the parameter
names and shapes of MONAI's `ResNetFeatures("resnet18")`, so that weights for that one fit (a test
holds the two together); it is written out here since importing MONAI takes longer than scoring a scan.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CROP_VOXELS = 64
FULL_WIDTHS = (64, 128, 256, 512)
COMPACT_WIDTHS = (16, 32, 64, 128)
LastStage = Literal["convolution", "subpixel", "paper_code"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class CAEConfig:
    """The convolutional autoencoder (Bhattacharya 2024, Fig. 1c).

    last_stage: "convolution" upsamples, then convolves once more at full resolution; "subpixel"
    convolves at half resolution to the eight voxels of each block, which is nearly twice as fast to
    train; "paper_code" ends as the published code does, in batch norm, leaky ReLU and upsampling.
    """

    latent: int = 512
    channels: tuple[int, ...] = (16, 32, 64)
    bottleneck_channels: int = 4
    last_stage: LastStage = "convolution"

    def __post_init__(self) -> None:
        if self.last_stage not in get_args(LastStage):
            raise ValueError(f"last_stage is one of {get_args(LastStage)}, not {self.last_stage!r}")
        _check_positive("CAE channels", (self.latent, self.bottleneck_channels, *self.channels))
        if len(self.channels) > 5:
            raise ValueError("a CAE has at most five stages, 64 voxels cannot be halved more often")


@dataclass(frozen=True)
class EncoderConfig:
    """The 3D ResNet18: channels of its four stages. The decoder and the MLP scale with them.

    shortcut: how a stage's first block passes its input on where the shape changes: "A" subsamples
    and pads with zeros (no parameters, as MedicalNet's weights need), "B" convolves.
    """

    widths: tuple[int, ...] = FULL_WIDTHS
    shortcut: Literal["A", "B"] = "A"

    def __post_init__(self) -> None:
        _check_positive("encoder widths", self.widths)
        if len(self.widths) != 4:
            raise ValueError(f"an encoder has four widths, not {len(self.widths)}")
        if self.shortcut not in ("A", "B"):
            raise ValueError(f"shortcut is 'A' or 'B', not {self.shortcut!r}")


def _check_positive(what: str, values: tuple[int, ...]) -> None:
    if not values or any(not isinstance(value, int) or value < 1 for value in values):
        raise ValueError(f"{what} are whole numbers of 1 or more, not {values}")


# ------------------------------------------------------------------------------- autoencoder


class CAE(nn.Module):
    """Squeezes a crop through a small latent vector: (N, 1, 64, 64, 64) -> the same shape.

    Trained on healthy sinuses only, it cannot reproduce anomalies. `encode` gives the latent
    vectors, (N, latent).
    """

    def __init__(self, config: CAEConfig = CAEConfig()) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        edge = CROP_VOXELS // 2 ** len(config.channels)
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
        """(N, 1, 64, 64, 64) -> (N, latent)."""
        return self.to_latent(self.encoder(crops).flatten(1))

    def decode(self, latents: Tensor) -> Tensor:
        """(N, latent) -> (N, 1, 64, 64, 64)."""
        cube = self.from_latent(latents).unflatten(1, self._bottleneck_shape)
        return self.decoder(cube)

    def forward(self, crops: Tensor) -> Tensor:
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
        blocks = super().forward(x).unflatten(1, (2, 2, 2)).permute(0, 4, 1, 5, 2, 6, 3)
        return blocks.flatten(5, 6).flatten(3, 4).flatten(1, 2).unsqueeze(1)


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


def _normed_conv(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv3d(channels_in, channels_out, 5, stride=stride, padding=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.LeakyReLU())


def _twice_as_large() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)


# ----------------------------------------------------------------------------------- encoder


class ResNetEncoder(nn.Module):
    """3D ResNet18 without its head: (N, 1, 64, 64, 64) -> five feature maps.

    Shapes for widths (a, b, c, d): a@32, a@16, b@8, c@4, d@2. The stem has stride 2, then max-pool.
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.widths
        self.conv1 = nn.Conv3d(1, a, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(a)
        self.layer1 = _stage(a, a, 1, config.shortcut)
        self.layer2 = _stage(a, b, 2, config.shortcut)
        self.layer3 = _stage(b, c, 2, config.shortcut)
        self.layer4 = _stage(c, d, 2, config.shortcut)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, crops: Tensor) -> list[Tensor]:
        stem = F.relu(self.bn1(self.conv1(crops)), inplace=True)
        features = [stem, self.layer1(F.max_pool3d(stem, 3, stride=2, padding=1))]
        for stage in (self.layer2, self.layer3):
            features.append(stage(features[-1]))
        # No autocast here: on the CPU, torch 2.13 leaves uninitialised memory in the bf16 gradients
        # of 3^3 convolutions over 2^3 voxels. This stage costs next to nothing.
        with torch.autocast(crops.device.type, enabled=False):
            features.append(self.layer4(features[-1].float()))
        return features


class ResidualBlock(nn.Module):
    """Two 3^3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels_out)
        self.conv2 = nn.Conv3d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(channels_out)
        self.stride = stride
        self.padding_channels = channels_out - channels_in
        if shortcut == "B" and (stride != 1 or channels_in != channels_out):
            self.downsample = nn.Sequential(
                nn.Conv3d(channels_in, channels_out, 1, stride=stride),
                nn.BatchNorm3d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self._shortcut(x), inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        if hasattr(self, "downsample"):
            return self.downsample(x)
        if self.stride == 1 and self.padding_channels == 0:
            return x
        step = self.stride
        thinned = x[:, :, ::step, ::step, ::step]
        return F.pad(thinned, (0, 0, 0, 0, 0, 0, 0, self.padding_channels))


def _stage(channels_in: int, channels_out: int, stride: int, shortcut: str) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels_in, channels_out, stride, shortcut),
        ResidualBlock(channels_out, channels_out, 1, shortcut),
    )


# ---------------------------------------------------------------------- U-Net and classifier


class ResidualUNet(nn.Module):
    """Encoder and mirrored decoder with skips: (N, 1, 64, 64, 64) -> logits of the same shape.

    As in the paper's code, the last map is computed at half resolution and then upsampled: residuals
    are coarse, and a decoder stage at 64^3 costs twice as much as all the rest together.
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = ResNetEncoder(config)
        a, b, c, d = config.widths
        outputs = [max(1, d // 2**halvings) for halvings in range(1, 5)]
        inputs = [d, *outputs[:-1]]
        self.decoder = nn.ModuleList(
            DecoderBlock(below, skip, out)
            for below, skip, out in zip(inputs, (c, b, a, a), outputs, strict=True)
        )
        self.head = nn.Conv3d(outputs[-1], 1, 3, padding=1)

    def forward(self, crops: Tensor) -> Tensor:
        *skips, x = self.encoder(crops)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        return F.interpolate(self.head(x), scale_factor=2, mode="trilinear")


class DecoderBlock(nn.Module):
    """Upsamples, puts the encoder's features beside, and convolves twice."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_normed_conv3(channels_in + channels_skip, channels_out),
            *_normed_conv3(channels_out, channels_out),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        larger = F.interpolate(x, scale_factor=2, mode="trilinear")
        return self.convolutions(torch.cat([larger.to(skip.dtype), skip], dim=1))


def _normed_conv3(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(channels_in, channels_out, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True)


class Classifier(nn.Module):
    """Encoder, global average pooling and an MLP: (N, 1, 64, 64, 64) -> logits (N, 2).

    Logit 0 stands for normal, 1 for anomalous. The hidden layer is half as wide as the features
    (512-256-2 at full width).
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = ResNetEncoder(config)
        features = config.widths[-1]
        hidden = max(1, features // 2)
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        return self.mlp(self.encoder(crops)[-1].mean(dim=(2, 3, 4)))


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def channels_last(module: Network) -> Network:
    """The module in the memory layout in which convolutions run fastest; its input may be in any."""
    return module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
