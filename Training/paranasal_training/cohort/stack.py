"""A stack of slices like a scanner's: gaps, phase, profile, interleaving, an end of the field of view.

Everything lives in the slices' frame: mm from the cube's centre, one axis across the slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from paranasal_training.cohort.config import StackRange
from paranasal_training.cohort.fields import SIZE, box_blur, sample_at, white_noise

HALF_MM = SIZE / 2  # from the cube's centre to its faces
THICK_MM = 1.5  # thicker slices are 2D ones
SINC_REACH = 6.0  # thicknesses after which the rings around an edge have died away


@dataclass(frozen=True)
class SliceStack:
    """One patient's stack of slices. Positions along the slice axis in mm from the cube's centre."""

    spacing_mm: float
    thickness_mm: float
    softness: float  # of the thickness; 0: a sinc, the profile of a truncated spectrum
    phase_mm: float  # position of the first slice, 0 to spacing
    odd_gain: float  # 1: not interleaved
    moved_mm: tuple[float, float]  # of the odd slices, along the two in-plane axes
    end_mm: float  # of the cube that lie beyond the last slice; 0: the stack covers the cube
    end_side: int  # -1 or 1: which end that is
    end_dimming: float
    cubic_mm: float  # spacing of a cubic resampling across slices; 0: none
    sharpening: float  # 0: pixels are averaged as `in_plane_mm` says
    texture: float


def draw_stack(
    rng: np.random.Generator, spread: StackRange, slice_axis: int, spacing_mm: float
) -> SliceStack:
    """Draw one patient's stack with the given distance between slice centres."""
    # Scans of the brain end below (axial), before the face (coronal) or at the side (sagittal).
    usual_end = 1 if slice_axis == 1 else -1
    thick = spacing_mm > THICK_MM
    interleaved, moved, ringing, ends, cubic, sharp = rng.random(6) < (
        spread.fraction_interleaved * thick,
        spread.fraction_moved,
        spread.fraction_ringing * (not thick),
        spread.fraction_end,
        spread.fraction_cubic,
        spread.fraction_sharp,
    )
    gain = rng.choice([-1, 1]) * rng.uniform(*spread.interleave_gain)
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*spread.moved_mm)
    length *= interleaved and moved
    gap = rng.uniform(*spread.gap) if thick else 0.0
    # Interpolated 3D scans resolve less than their slices' spacing promises.
    thickness = spacing_mm * rng.uniform(1.2, 2.5) if ringing else spacing_mm / (1 + gap)
    return SliceStack(
        spacing_mm=spacing_mm,
        thickness_mm=float(thickness),
        softness=0.0 if ringing else float(rng.uniform(*spread.softness)),
        phase_mm=float(rng.uniform(0, spacing_mm)),
        odd_gain=float(1 + gain) if interleaved else 1.0,
        moved_mm=(float(length * np.cos(angle)), float(length * np.sin(angle))),
        end_mm=float(rng.uniform(*spread.end_mm)) if ends else 0.0,
        end_side=int(usual_end * rng.choice([1, -1], p=[0.75, 0.25])),
        end_dimming=float(rng.uniform(*spread.end_dimming)) if ends else 0.0,
        cubic_mm=float(rng.uniform(0.8, 1.3)) if cubic else 0.0,
        sharpening=float(rng.uniform(*spread.sharpening)) if sharp else 0.0,
        texture=float(rng.uniform(*spread.texture)) if sharp else 0.0,
    )


def slice_positions(stack: SliceStack, half_mm: float) -> np.ndarray:
    """Centres of the slices (n,) in mm: beyond +-`half_mm`, or up to the end of the stack."""
    first = -half_mm - 2 * stack.spacing_mm + stack.phase_mm
    count = int(np.ceil(2 * (half_mm + 2 * stack.spacing_mm) / stack.spacing_mm))
    centers = first + stack.spacing_mm * np.arange(count)
    if not stack.end_mm:
        return centers
    return centers[stack.end_side * centers <= HALF_MM - stack.end_mm]


def slice_weights(centers: np.ndarray, positions_mm: np.ndarray, stack: SliceStack) -> Tensor:
    """How much each position (z,) counts in each slice (n,): (n, z), each row of sum 1."""
    offset = (positions_mm[None] - centers[:, None]) / stack.thickness_mm
    if stack.softness:
        edges = torch.from_numpy((np.abs(offset) - 0.5) / (0.5 * stack.softness))
        weights = torch.sigmoid(-2 * edges) + 1e-9
    else:
        window = np.cos(np.pi / 2 * np.clip(offset / SINC_REACH, -1, 1)) ** 2
        weights = torch.from_numpy(np.sinc(offset) * window)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def take_slices(native: Tensor, axis: int, stack: SliceStack, rng: np.random.Generator) -> Tensor:
    """The slices of `native` (1 mm voxels, odd sizes, centred): as many along `axis` as there are."""
    half = (native.shape[axis] - 1) / 2
    centers = slice_positions(stack, half)
    weights = slice_weights(centers, np.arange(-half, half + 1), stack)
    slices = _combine(weights, native, axis)
    odd = (torch.arange(len(centers)) % 2).bool()
    gain = _gains(centers, odd.numpy(), stack, rng)
    slices = slices * _along(torch.from_numpy(gain.astype(np.float32)), axis)
    if any(stack.moved_mm):
        slices = _move_packages(slices, axis, odd, stack.moved_mm)
    return slices


def sharpened(slices: Tensor, axis: int, stack: SliceStack, rng: np.random.Generator) -> Tensor:
    """Fine detail in the plane of the slices along `axis`; air stays as smooth as it is."""
    textured = slices * (1 + stack.texture * white_noise(rng, tuple(slices.shape)))
    smooth = textured
    for in_plane in {0, 1, 2} - {axis}:
        smooth = box_blur(smooth, in_plane, 3)
    return (textured + stack.sharpening * (textured - smooth)).clamp_min(0)


def put_back(
    slices: Tensor, points_mm: Tensor, axis: int, stack: SliceStack, half_mm: float
) -> tuple[Tensor, Tensor]:
    """Resample slices into the crop, as `cut_crop` does, and say where the stack reaches.

    Args:
        slices: slices along `axis`, 1 mm and centred along the others.
        points_mm: (3, 64, 64, 64) the crop's voxels in the slices' frame.
        axis: the slice axis.
        stack: the stack that the slices were taken with.
        half_mm: half of the extent that they were taken from.

    Returns:
        (64, 64, 64) signal and bool mask: up to half a spacing beyond the last slices is inside.
    """
    centers = slice_positions(stack, half_mm)
    index = (points_mm[axis] - centers[0]) / stack.spacing_mm
    inside = (index >= -0.5) & (index <= len(centers) - 0.5)
    if stack.cubic_mm:
        step = stack.cubic_mm / stack.spacing_mm
        wanted = np.arange(0, len(centers) - 1 + 1e-6, step)
        slices = _combine(cubic_weights(wanted, len(centers)), slices, axis)
        index = index / step
    points = points_mm.clone()
    points[axis] = index - (slices.shape[axis] - 1) / 2
    return sample_at(slices[None], points)[0], inside


def cubic_weights(index: np.ndarray, count: int) -> Tensor:
    """Cubic convolution (Keys 1981, a = -0.5) of `count` samples at `index` (m,): (m, count)."""
    taps = np.floor(index).astype(int)[:, None] + np.arange(-1, 3)
    away = np.abs(index[:, None] - taps)
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    values = np.where(away <= 1, near, np.where(away < 2, far, 0.0))
    weights = np.zeros((len(index), count), np.float32)
    rows = np.broadcast_to(np.arange(len(index))[:, None], taps.shape)
    np.add.at(weights, (rows, taps.clip(0, count - 1)), values)
    return torch.from_numpy(weights)


def _gains(
    centers: np.ndarray, odd: np.ndarray, stack: SliceStack, rng: np.random.Generator
) -> np.ndarray:
    """Brightness of each slice: random, by package, and falling towards the end of the stack."""
    noise = 0.02 if stack.spacing_mm > THICK_MM else 0.0
    gain = np.exp(rng.normal(0, noise, len(centers)))
    gain[odd] *= stack.odd_gain
    towards_end = np.clip(0.5 + stack.end_side * centers / SIZE, 0, 1)
    return gain * np.exp(-stack.end_dimming * towards_end**2)


def _move_packages(slices: Tensor, axis: int, odd: Tensor, moved_mm: tuple[float, float]) -> Tensor:
    """Shift odd slices one way and even ones the other, so that both are interpolated alike."""
    in_plane = [other for other in range(3) if other != axis]
    parts = []
    for package, sign in ((odd, 0.5), (~odd, -0.5)):
        part = slices.index_select(axis, package.nonzero()[:, 0])
        for direction, mm in zip(in_plane, moved_mm, strict=True):
            part = shifted(part, direction, sign * mm)
        parts.append(part)
    result = torch.empty_like(slices)
    for package, part in zip((odd, ~odd), parts, strict=True):
        result.index_copy_(axis, package.nonzero()[:, 0], part)
    return result


def shifted(volume: Tensor, axis: int, voxels: float) -> Tensor:
    """`volume` moved by a fraction of voxels towards higher indices, linear, borders repeated."""
    whole = int(np.floor(voxels))
    share = voxels - whole
    index = torch.arange(volume.shape[axis]) - whole
    last = volume.shape[axis] - 1
    near = volume.index_select(axis, index.clamp(0, last))
    return torch.lerp(near, volume.index_select(axis, (index - 1).clamp(0, last)), share)


def _combine(weights: Tensor, volume: Tensor, axis: int) -> Tensor:
    """Weighted sums (n, z) of `volume` along `axis`."""
    return torch.tensordot(weights, volume, dims=([1], [axis])).movedim(0, axis).contiguous()


def _along(values: Tensor, axis: int) -> Tensor:
    shape = [1, 1, 1]
    shape[axis] = len(values)
    return values.view(shape)
