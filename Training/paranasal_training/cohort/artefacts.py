"""Artefacts at the borders of air: ghosts, chemical shift, susceptibility.

All of them put signal into air or take it from its walls, on healthy sinuses and sick ones alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.cohort.config import ArtefactRange
from paranasal_training.cohort.fields import box_blur
from paranasal_training.cohort.stack import THICK_MM, shifted


@dataclass(frozen=True)
class Artefacts:
    """One patient's artefacts; 0 means none."""

    ghost: float = 0.0
    chemical_shift_mm: float = 0.0
    susceptibility_mm: float = 0.0
    susceptibility: float = 0.0


def draw_artefacts(rng: np.random.Generator, spread: ArtefactRange) -> Artefacts:
    """Draw one patient's artefacts; draws nothing where all shares are 0."""
    shares = (spread.fraction_ghost, spread.fraction_chemical_shift, spread.fraction_susceptibility)
    if not any(shares):
        return Artefacts()
    ghost, chemical, susceptibility = rng.random(3) < shares
    shift = rng.choice([-1, 1]) * rng.uniform(*spread.chemical_shift_mm)
    return Artefacts(
        ghost=float(rng.uniform(*spread.ghost)) if ghost else 0.0,
        chemical_shift_mm=float(shift) if chemical else 0.0,
        susceptibility_mm=float(rng.uniform(*spread.susceptibility_mm)) if susceptibility else 0.0,
        susceptibility=float(rng.uniform(*spread.susceptibility)) if susceptibility else 0.0,
    )


def distort_tissue(
    image: Tensor, artefacts: Artefacts, frequency_axis: int, rng: np.random.Generator
) -> Tensor:
    """What happens before slices are averaged: (I, J, K) at 1 mm, brightest tissue about 1."""
    if artefacts.susceptibility_mm:
        image = _change_walls(image, artefacts, rng)
    if artefacts.chemical_shift_mm:
        image = move_fat(image, artefacts.chemical_shift_mm, frequency_axis)
    return image


def move_fat(image: Tensor, shift_mm: float, axis: int) -> Tensor:
    """Move the brightest tissue along `axis`: a dark rim on one side, a bright one on the other.

    Only where fat is the brightest tissue is it told from others, and only there does the shift show.
    """
    low, high = np.quantile(image[::3, ::3, ::3].numpy(), [0.6, 0.9])
    fat = image * ((image - low) / max(high - low, 1e-3)).clamp(0, 1)
    return image - fat + shifted(fat, axis, shift_mm)


def _change_walls(image: Tensor, artefacts: Artefacts, rng: np.random.Generator) -> Tensor:
    """Signal loss, or less often pile-up, in patches of the tissue next to air."""
    tissue = (image / (0.3 * _bright(image))).clamp(0, 1)
    width = 2 * round(artefacts.susceptibility_mm) + 1
    near = tissue
    for axis in range(3):
        near = box_blur(near, axis, width)
    next_to_air = (2 * (1 - near)).clamp(0, 1)
    patches = _patches(image.shape, rng) - 0.3
    return image * (1 + artefacts.susceptibility * next_to_air * patches.clamp(-1, 0.7))


def _patches(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Smooth random field of about unit variance, patches of about 1.5 cm."""
    knots = torch.from_numpy(rng.standard_normal((1, 1, 6, 6, 6), dtype=np.float32))
    return F.interpolate(1.6 * knots, tuple(shape), mode="trilinear", align_corners=True)[0, 0]


def _bright(image: Tensor) -> float:
    return float(np.quantile(image[::3, ::3, ::3].numpy(), 0.95))


def add_ghosts(
    slices: Tensor, ghost: float, axes: tuple[int, int], spacing_mm: float, rng: np.random.Generator
) -> Tensor:
    """Add displaced copies of bright moving tissue (an eye, a vessel, the tongue) to each slice.

    Args:
        slices: (I, J, K) signal.
        ghost: strength, a share of the moving tissue's signal.
        axes: the slice axis and the phase axis, along which the copies lie.
        spacing_mm: of the slices; 2D ones are taken one after the other, each with its own phase
            of the motion, a 3D scan has one for all.
        rng: source of place, distance and phases.
    """
    slice_axis, phase_axis = axes
    moving = slices * _moving_region(slices.shape, slice_axis, spacing_mm, rng)
    count = slices.shape[slice_axis]
    shape = [1, 1, 1]
    shape[slice_axis] = count
    distance = int(rng.integers(12, 40))
    result = slices
    for way in (-1, 1):
        phases = rng.uniform(0, 2 * np.pi, count if spacing_mm > THICK_MM else 1)
        signs = np.broadcast_to(np.cos(phases), count).astype(np.float32)
        copy = moving.roll(way * distance, phase_axis)
        result = result + ghost * torch.from_numpy(signs.copy()).view(shape) * copy
    return result  # below 0 in places: the magnitude is taken when noise is added


def _moving_region(
    shape: torch.Size, slice_axis: int, spacing_mm: float, rng: np.random.Generator
) -> Tensor:
    """A soft blob, 2 to 6 cm wide, anywhere in the cube: (I, J, K) in 0..1."""
    radius = rng.uniform(10, 30)
    squared = torch.zeros(1)
    for axis, size in enumerate(shape):
        mm = spacing_mm if axis == slice_axis else 1.0
        at = torch.arange(size) * mm - rng.uniform(0.1, 0.9) * size * mm
        view = [1, 1, 1]
        view[axis] = size
        squared = squared + (at / radius).square().view(view)
    return torch.exp(-squared)
