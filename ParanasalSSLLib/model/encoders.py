"""Encoders: the part of the networks that self-supervision trains and the classifier takes over.

The encoder is a 3D ResNet18 with the parameter names and shapes of MONAI's
`ResNetFeatures("resnet18")`, so that weights for that one fit (a test holds the two together); it is
written out here since importing MONAI takes longer than scoring a scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import Convolution3, FirstConvolution, convolve

PATCHES = 8  # that fill a crop


class ResNetEncoder(nn.Module):
    """3D ResNet18 without its head: (N, channels, D, D, D) -> five feature maps.

    Shapes for widths (a, b, c, d) and D = 64: a@32, a@16, b@8, c@4, d@2. The stem has stride 2, then
    max-pool (unless `pool` is off: then a@32 comes twice and all that follow are twice as large).
    """

    def __init__(self, config: EncoderConfig = EncoderConfig()) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.widths
        self.conv1 = FirstConvolution(config.channels, a)
        self.bn1 = nn.BatchNorm3d(a)
        self.layer1 = _stage(a, a, 1, config.shortcut)
        self.layer2 = _stage(a, b, 2, config.shortcut)
        self.layer3 = _stage(b, c, 2, config.shortcut)
        self.layer4 = _stage(c, d, 2, config.shortcut)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                _initialised(module.weight)

    def forward(self, crops: Tensor) -> list[Tensor]:
        """Crops (N, C, D, D, D) -> features after stem and four stages, largest first."""
        stem = F.relu(self.bn1(self.conv1(crops)), inplace=True)
        pooled = F.max_pool3d(stem, 3, stride=2, padding=1) if self.config.pool else stem
        features = [stem, self.layer1(pooled)]
        for stage in (self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features

    def pooled(self, crops: Tensor) -> Tensor:
        """(N, channels, D, D, D) -> (N, d), the last feature map's mean."""
        return self(crops)[-1].mean(dim=(2, 3, 4))


def make_encoder(config: EncoderConfig) -> ResNetEncoder:
    """The encoder that the configuration describes."""
    return LocatedEncoder(config) if config.experts else ResNetEncoder(config)


class ResidualBlock(nn.Module):
    """Two 3^3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = Convolution3(channels_in, channels_out, stride)
        self.bn1 = nn.BatchNorm3d(channels_out)
        self.conv2 = Convolution3(channels_out, channels_out)
        self.bn2 = nn.BatchNorm3d(channels_out)
        self.stride = stride
        self.padding_channels = channels_out - channels_in
        if shortcut == "B" and (stride != 1 or channels_in != channels_out):
            self.downsample = nn.Sequential(
                nn.Conv3d(channels_in, channels_out, 1, stride=stride),
                nn.BatchNorm3d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, D, D, D) -> features, half as large with a stride of 2."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        """The input in the shape of the output."""
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


# ------------------------------------------------------------- convolutions that know where they are


class LocatedEncoder(ResNetEncoder):
    """A ResNet18 for patches, whose kernels depend on where in the crop a patch lies (DrasCLR).

    Patches have half the crop's edge. A location (3,) says where they lie along each axis: -1 at the
    beginning of the crop, 1 at its end. Decoders and classifiers see whole crops through it as through
    any encoder: as the eight patches that fill them. Source: Yu et al. 2024, DrasCLR.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        for parent in list(self.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv3d):
                    setattr(parent, name, LocatedConvolution(child, config.experts))

    def features(self, patches: Tensor, location: Tensor) -> list[Tensor]:
        """(N, channels, D/2, D/2, D/2), all at one location (3,) -> five feature maps of them."""
        return self._features_at(patches, location[None])

    def pooled_patch(self, patches: Tensor, location: Tensor) -> Tensor:
        """(N, channels, D/2, D/2, D/2), all at one location -> (N, d)."""
        return self.features(patches, location)[-1].mean(dim=(2, 3, 4))

    def pooled(self, crops: Tensor) -> Tensor:
        """(N, channels, D, D, D) -> (N, d), the mean over the eight patches."""
        deepest = self._features_of_all_patches(crops)[-1].mean(dim=(2, 3, 4))
        return torch.stack(deepest.chunk(PATCHES)).mean(dim=0)

    def forward(self, crops: Tensor) -> list[Tensor]:
        """(N, channels, D, D, D) -> five feature maps, put together from those of the patches."""
        return [_assembled(maps.chunk(PATCHES)) for maps in self._features_of_all_patches(crops)]

    def _features_of_all_patches(self, crops: Tensor) -> list[Tensor]:
        """Feature maps of the patches, (8 N, ...), those of one location after the other.

        All go through together, so that batch norm has one set of statistics for them, in training as
        in evaluation.
        """
        locations = patch_locations()
        return self._features_at(torch.cat([cut_patch(crops, at) for at in locations]), locations)

    def _features_at(self, patches: Tensor, locations: Tensor) -> list[Tensor]:
        locations = locations.to(patches.device)
        for module in self.modules():
            if isinstance(module, LocatedConvolution):
                module.locations = locations
        return super().forward(patches)


class LocatedConvolution(nn.Module):
    """A convolution that mixes its kernels by sigmoid weights, which a location decides on.

    Attributes:
        weight: (channels out, channels in, k, k, k, experts).
        locations: (L, 3), set before each use; what goes through is L equal parts, one for each.
    """

    def __init__(self, plain: nn.Conv3d, experts: int) -> None:
        super().__init__()
        self.stride, self.padding = plain.stride, plain.padding
        kernels = [_initialised(torch.empty_like(plain.weight)) for _ in range(experts)]
        # Each kernel counts by half at first; so scaled, their mix varies as much as one alone would.
        self.weight = nn.Parameter(torch.stack(kernels, dim=-1) * (2 / experts**0.5))
        self.bias = plain.bias
        self.routing = nn.Linear(3, experts)
        self.locations = torch.zeros(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """x (locations x N, C, D, D, D) -> its convolution by the kernels of each location."""
        kernels = self.kernels()
        parts = zip(x.chunk(len(kernels)), kernels, strict=True)
        return torch.cat([self._convolve(part, kernel) for part, kernel in parts])

    def _convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        if kernel.shape[-1] == 3 and self.bias is None:
            return convolve(x, kernel, self.stride[0])
        return F.conv3d(x, kernel, self.bias, self.stride, self.padding)

    def kernels(self) -> Tensor:
        """The mixes at the locations, (L, channels out, channels in, k, k, k), float32."""
        with torch.autocast(self.weight.device.type, enabled=False):
            shares = self.routing(self.locations).sigmoid()
            return (self.weight @ shares.T).movedim(-1, 0)


def patch_locations(grid: int = 2) -> Tensor:
    """Locations on a regular grid, (grid^3, 3), the last axis fastest.

    Two along each axis fill the crop, three overlap by half.
    """
    return torch.cartesian_prod(*[torch.linspace(-1, 1, grid)] * 3)


def cut_patch(crops: Tensor, location: Tensor) -> Tensor:
    """(N, C, D, D, D) -> (N, C, D/2, D/2, D/2), the patches at a location (3,)."""
    edge = crops.shape[-1] // 2
    i, j, k = (round((at + 1) / 2 * edge) for at in location.tolist())
    return crops[:, :, i : i + edge, j : j + edge, k : k + edge]


def _assembled(parts: Sequence[Tensor]) -> Tensor:
    """Maps of the patches at `patch_locations`, each (N, C, n, n, n), -> one twice as large."""
    for axis in (4, 3, 2):
        parts = [torch.cat(pair, axis) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _initialised(kernel: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")
