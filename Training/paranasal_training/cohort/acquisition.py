"""What a scanner and the resampling make of anatomy: slices, blur, bias, ghosts, ringing, noise, cuts.

On real scans these, not the anatomy, are what breaks a model, so they are drawn widely.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from paranasal_training.cohort.artefacts import (
    Artefacts,
    add_ghosts,
    distort_tissue,
    draw_artefacts,
)
from paranasal_training.cohort.config import AcquisitionRange
from paranasal_training.cohort.fields import (
    SIZE,
    box_blur,
    grid_mm,
    rotation_matrix,
    sample_at,
    smooth_noise,
    white_noise,
)
from paranasal_training.cohort.stack import (
    SliceStack,
    draw_stack,
    put_back,
    sharpened,
    take_slices,
)


@dataclass(frozen=True)
class Acquisition:
    """A patient's scan settings, the same for both sides. Axis: 0 sagittal, 1 coronal, 2 axial."""

    slice_axis: int
    slice_mm: float
    obliquity_deg: np.ndarray
    in_plane_mm: float
    noise: float
    bias: float
    ghost: float
    ghost_axis: int
    ringing_fraction: float  # fraction of k-space kept along the phase axis; 1 = all
    cut_mm: float  # how much of the cube's lower or front end lies outside the image
    cut_axis: int
    stack: SliceStack | None = None  # None: slices spaced evenly over the cube
    artefacts: Artefacts = field(default_factory=Artefacts)

    @property
    def frequency_axis(self) -> int:
        """The axis in the slices' plane that is not the phase axis, along which ghosts lie."""
        return 3 - self.slice_axis - self.ghost_axis

    @property
    def outside_mm(self) -> float:
        """How much of the cube lies outside the image, at the end where that is most."""
        return max(self.cut_mm, self.stack.end_mm if self.stack else 0.0)


def draw_acquisition(rng: np.random.Generator, spread: AcquisitionRange) -> Acquisition:
    """Draw one patient's scan settings."""
    thick = rng.random() >= spread.fraction_3d
    slice_axis = int(rng.choice(3, p=spread.slice_axes))
    in_plane_axes = [axis for axis in range(3) if axis != slice_axis]
    ghosted, ringing, cut = rng.random(3) < (
        spread.fraction_ghost,
        spread.fraction_ringing,
        spread.fraction_cut,
    )
    settings = Acquisition(
        slice_axis=slice_axis,
        slice_mm=float(rng.uniform(*(spread.slice_mm if thick else spread.slice_3d_mm))),
        obliquity_deg=rng.normal(0, spread.obliquity_sd_deg, 3) * (0.3 + 0.7 * thick),
        in_plane_mm=float(rng.uniform(*spread.in_plane_mm)),
        noise=float(np.exp(rng.uniform(*np.log(spread.noise)))),
        bias=float(rng.uniform(*spread.bias)),
        ghost=float(rng.uniform(*spread.ghost)) if ghosted else 0.0,
        ghost_axis=int(rng.choice(in_plane_axes)),
        ringing_fraction=float(rng.uniform(0.4, 0.8)) if ringing else 1.0,
        cut_mm=float(rng.uniform(2, spread.deepest_cut_mm)) if cut else 0.0,
        cut_axis=int(rng.choice([1, 2], p=[0.3, 0.7])),
    )
    if spread.stack.fraction and rng.random() < spread.stack.fraction:
        stack = draw_stack(rng, spread.stack, slice_axis, settings.slice_mm)
        settings = replace(settings, stack=stack)
    return replace(settings, artefacts=draw_artefacts(rng, spread.artefacts))


def acquire(
    image: Tensor, settings: Acquisition, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Scan `image` and resample it back into the crop's grid.

    Args:
        image: (64, 64, 64) noise-free signal, brightest tissue about 1.
        settings: the patient's scan.
        rng: source of noise and bias.

    Returns:
        The scanned crop (64, 64, 64), not yet scaled to 0..1, and a bool mask of the voxels that lie
        inside the image.
    """
    image = image * torch.exp(settings.bias * smooth_noise(rng, 3)[0])
    if settings.ghost:
        image = image + settings.ghost * image.roll(int(rng.integers(12, 40)), settings.ghost_axis)
    inside = _inside(settings)
    if settings.stack is None:
        scanned = _scan_slices(image, settings, rng)
    else:
        scanned, reached = _scan_stack(image, settings, settings.stack, rng)
        inside &= reached
    return scanned * inside, inside


def _scan_slices(image: Tensor, settings: Acquisition, rng: np.random.Generator) -> Tensor:
    """Rotate into the slices' frame, average over slice and pixel, add noise there, sample back."""
    rotation = rotation_matrix(settings.obliquity_deg)
    native = sample_at(image[None], _turned(grid_mm(), rotation))[0]
    native = distort_tissue(native, settings.artefacts, settings.frequency_axis, rng)
    for axis in range(3):
        width = settings.slice_mm if axis == settings.slice_axis else settings.in_plane_mm
        native = _blur(native, axis, width)
    slices = _receive(_keep_slices(native, settings, rng), settings, rng)
    return _sample_slices(slices, _turned(grid_mm(), rotation.T), settings)


def _scan_stack(
    image: Tensor, settings: Acquisition, stack: SliceStack, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """As `_scan_slices`, with a scanner's stack; also a mask of where the stack reaches.

    The turned cube is imaged as a whole. What it needs beyond the faces is mirrored there: anatomy
    goes on, where repeated border voxels would be streaks.
    """
    rotation = rotation_matrix(settings.obliquity_deg)
    half_mm = torch.ceil(rotation.abs().sum(dim=0) * (SIZE - 1) / 2)
    axes = [torch.arange(-float(half), float(half) + 1) for half in half_mm]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    native = sample_at(image[None], _turned(grid, rotation), padding="reflection")[0]
    native = distort_tissue(native, settings.artefacts, settings.frequency_axis, rng)
    slices = take_slices(native, settings.slice_axis, stack, rng)
    if stack.sharpening:
        slices = sharpened(slices, settings.slice_axis, stack, rng)
    else:
        for axis in {0, 1, 2} - {settings.slice_axis}:
            slices = _blur(slices, axis, settings.in_plane_mm)
    slices = _receive(slices, settings, rng)
    back = _turned(grid_mm(), rotation.T)
    return put_back(slices, back, settings.slice_axis, stack, float(half_mm[settings.slice_axis]))


def _turned(points_mm: Tensor, rotation: Tensor) -> Tensor:
    return torch.einsum("ab,bijk->aijk", rotation, points_mm)


def _receive(slices: Tensor, settings: Acquisition, rng: np.random.Generator) -> Tensor:
    """Ghosts, ringing along the phase axis, noise: what the signal of each slice suffers."""
    if settings.artefacts.ghost:
        axes = (settings.slice_axis, settings.ghost_axis)
        slices = add_ghosts(slices, settings.artefacts.ghost, axes, settings.slice_mm, rng)
    if settings.ringing_fraction < 1:
        slices = _truncate_spectrum(slices, settings.ghost_axis, settings.ringing_fraction)
    noise = settings.noise * white_noise(rng, (2, *slices.shape))
    return torch.hypot(slices + noise[0], noise[1])  # magnitude image: Rician noise


def _blur(volume: Tensor, axis: int, width_mm: float) -> Tensor:
    """Average over `width_mm`, also fractions of a voxel: a mix of the two nearest odd box widths."""
    lower = max(1, 2 * int((width_mm - 1) // 2) + 1)
    share = min(max((width_mm - lower) / 2, 0.0), 1.0)
    narrow = box_blur(volume, axis, lower)
    return torch.lerp(narrow, box_blur(volume, axis, lower + 2), share) if share > 0.02 else narrow


def _slice_count(settings: Acquisition) -> int:
    return max(2, round(SIZE / settings.slice_mm)) if settings.slice_mm > 1.5 else SIZE


def _keep_slices(native: Tensor, settings: Acquisition, rng: np.random.Generator) -> Tensor:
    """Only the slices that the scan has: (64, 64, n) with the slice axis last or wherever it is."""
    count = _slice_count(settings)
    if count == SIZE:
        return native
    index = torch.linspace(0, SIZE - 1, count).round().long()
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.02, count)).astype(np.float32))
    shape = [1, 1, 1]
    shape[settings.slice_axis] = count
    return native.index_select(settings.slice_axis, index) * gain.view(shape)


def _sample_slices(native: Tensor, points_mm: Tensor, settings: Acquisition) -> Tensor:
    """Linear interpolation between the kept slices, as `cut_crop` does on a real scan."""
    spacing = (SIZE - 1) / (native.shape[settings.slice_axis] - 1)
    scaled = points_mm.clone()
    scaled[settings.slice_axis] /= spacing
    return sample_at(native[None], scaled)[0]


def _truncate_spectrum(volume: Tensor, axis: int, share: float) -> Tensor:
    """Drop the highest spatial frequencies along one axis: Gibbs ringing at every sharp edge."""
    spectrum = torch.fft.rfft(volume, dim=axis)
    kept = int(spectrum.shape[axis] * share)
    spectrum.narrow(axis, kept, spectrum.shape[axis] - kept).zero_()
    return torch.fft.irfft(spectrum, n=volume.shape[axis], dim=axis)


def _inside(settings: Acquisition) -> Tensor:
    """True where the image reaches: cut from below (axial stacks) or from the front (defacing)."""
    inside = torch.ones((SIZE, SIZE, SIZE), dtype=torch.bool)
    cut = round(settings.cut_mm)
    if cut:
        start = 0 if settings.cut_axis == 2 else SIZE - cut
        inside.narrow(settings.cut_axis, start, cut).zero_()
    return inside
