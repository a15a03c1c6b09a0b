"""What the networks and their residuals look like. Free of heavy imports: the help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FULL_WIDTHS = (64, 128, 256, 512)
LastStage = Literal["convolution", "subpixel", "paper_code"]


def check_positive(what: str, values: tuple[int, ...]) -> None:
    """Raise `ValueError` unless there are values and all are whole numbers of 1 or more."""
    if not values or any(not isinstance(value, int) or value < 1 for value in values):
        raise ValueError(f"{what} are whole numbers of 1 or more, not {values}")


@dataclass(frozen=True)
class EncoderConfig:
    """The 3D ResNet18. The decoder and the classifier's head scale with its widths."""

    widths: tuple[int, ...] = FULL_WIDTHS
    """Channels of the four stages, 1 or more each."""
    shortcut: Literal["A", "B"] = "A"
    """How a stage's first block passes its input on where the shape changes: A subsamples and pads
    with zeros (no parameters, as MedicalNet's weights need), B convolves.
    """
    voxels: int = 64
    """Edge of the 64 mm crops in voxels: 64 at 1 mm (the paper) or 32 at 2 mm."""
    pool: bool = True
    """Halve once more after the stem (the paper, MedicalNet); without, 32 voxels keep as much
    detail in the four stages as 64 with.
    """
    channels: int = 1
    """Input channels: 1, the crop; 2, the crop and its residual."""
    experts: int = 0
    """Kernels that each convolution mixes by anatomical location; 0: plain convolutions (all
    methods but DrasCLR).
    """

    def __post_init__(self) -> None:
        check_positive(
            "encoder widths, voxels and channels", (*self.widths, self.voxels, self.channels)
        )
        if len(self.widths) != 4:
            raise ValueError(f"an encoder has four widths, not {len(self.widths)}")
        if self.shortcut not in ("A", "B"):
            raise ValueError(f"shortcut is 'A' or 'B', not {self.shortcut!r}")
        if self.voxels not in (32, 64):
            raise ValueError(f"voxels is 32 or 64, not {self.voxels}")
        if self.channels > 2 or self.experts < 0:
            raise ValueError("channels is 1 or 2, experts 0 or more")


@dataclass(frozen=True)
class SinusNetworkConfig:
    """The network that outlines a sinus and what fills it; its encoder is the paper's, narrower."""

    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of the encoder's four stages, 1 or more each."""
    decoder: tuple[int, ...] = (64, 32, 24, 16)
    """Channels of the decoder at 4, 8, 16 and 32 voxels, 1 or more each."""

    def __post_init__(self) -> None:
        check_positive("decoder widths", self.decoder)
        if len(self.decoder) != 4:
            raise ValueError(f"the decoder has four widths, not {len(self.decoder)}")

    @property
    def encoder(self) -> EncoderConfig:
        """Two crops at 1 mm go in: the sinus, and the other side."""
        return EncoderConfig(widths=self.widths, channels=2)


@dataclass(frozen=True)
class CAEConfig:
    """The convolutional autoencoder (Bhattacharya 2024, Fig. 1c)."""

    latent: int = 512
    """Length of the latent vector, 1 or more."""
    voxels: int = 64
    """Edge of the 64 mm crops in voxels: 64 at 1 mm (the paper) or 32 at 2 mm."""
    channels: tuple[int, ...] = (16, 32, 64)
    """Channels of one to four stages, 1 or more each."""
    bottleneck_channels: int = 4
    """Channels before and after the latent vector, 1 or more."""
    last_stage: LastStage = "convolution"
    """End of the decoder: convolution upsamples, then convolves at full resolution; subpixel
    convolves at half resolution to the eight voxels of each block, nearly twice as fast to
    train; paper_code ends in batch norm, leaky ReLU and upsampling, as the published code does.
    """

    def __post_init__(self) -> None:
        if self.last_stage not in get_args(LastStage):
            raise ValueError(f"last_stage is one of {get_args(LastStage)}, not {self.last_stage!r}")
        check_positive(
            "CAE channels", (self.latent, self.voxels, self.bottleneck_channels, *self.channels)
        )
        if self.voxels not in (32, 64):
            raise ValueError(f"voxels is 32 or 64, not {self.voxels}")
        if not 1 <= len(self.channels) <= 4:
            raise ValueError("a CAE has one to four stages")


@dataclass(frozen=True)
class ResidualConfig:
    """From a crop and its reconstruction to the residual map."""

    median_kernel_voxels: int = 5
    """Edge of the median filter in voxels: 0 (none), 3, 5 (the paper) or 7."""
    scaling: Literal["absolute", "percentile"] = "absolute"
    """absolute keeps 0..1 as it is; percentile stretches each residual's 1st to 99th percentile to
    0..1, as the paper's code does.
    """
    otsu: bool = False
    """Binarise at Otsu's threshold (an ablation of the paper's code)."""
    minimum_component_voxels: int = 0
    """With `otsu`, connected parts of this many voxels or fewer are removed, 0 or more (the paper's
    code: 20).
    """

    def __post_init__(self) -> None:
        if self.median_kernel_voxels not in (0, 3, 5, 7):
            raise ValueError(
                f"median_kernel_voxels is 0, 3, 5 or 7, not {self.median_kernel_voxels}"
            )
        if self.scaling not in ("absolute", "percentile"):
            raise ValueError(f"scaling is 'absolute' or 'percentile', not {self.scaling!r}")
        if self.minimum_component_voxels < 0:
            raise ValueError("minimum_component_voxels is 0 or more")
