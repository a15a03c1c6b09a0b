"""How one sinus differs from the next: localisation error, head shape, elastic variation, size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from paranasal_training.cohort.config import GeometryRange
from paranasal_training.cohort.fields import grid_mm, rotation_matrix, smooth_noise


@dataclass(frozen=True)
class Variant:
    """One patient side's drawn geometry. `size` scales the sinus alone: 1 usual, 0.55 hypoplastic.

    fat_pad_mm: depth of the fat behind the outer wall; 0 for none but the usual thin layer.
    """

    shift_mm: np.ndarray
    rotation_deg: np.ndarray
    scale: np.ndarray
    size: float
    elastic_mm: float
    fat_pad_mm: float = 0.0


def draw_variant(rng: np.random.Generator, spread: GeometryRange) -> Variant:
    """Draw the geometry of one side."""
    kind = rng.random()
    if kind < spread.hypoplastic_fraction:
        size = rng.uniform(0.58, 0.78)
    elif kind < spread.hypoplastic_fraction + spread.pneumatised_fraction:
        size = rng.uniform(1.15, 1.3)
    else:
        size = float(np.exp(rng.normal(0, 0.09)))
    variant = Variant(
        shift_mm=rng.normal(0, spread.shift_sd_mm),
        rotation_deg=rng.normal(0, spread.rotation_sd_deg, 3),
        scale=np.exp(rng.normal(0, spread.log_scale_sd, 3)),
        size=float(size),
        elastic_mm=float(rng.uniform(*spread.elastic_mm)),
    )
    if not spread.fat_pad_fraction or rng.random() >= spread.fat_pad_fraction:
        return variant
    return replace(variant, fat_pad_mm=float(rng.uniform(*spread.fat_pad_mm)))


def canonical_points(variant: Variant, rng: np.random.Generator) -> Tensor:
    """Where each voxel of the crop lies in the canonical anatomy: (3, 64, 64, 64) in mm."""
    shift = torch.from_numpy(variant.shift_mm.astype(np.float32)).view(3, 1, 1, 1)
    scale = torch.from_numpy(variant.scale.astype(np.float32)).view(3, 1, 1, 1)
    moved = torch.einsum("ab,bijk->aijk", rotation_matrix(variant.rotation_deg), grid_mm() - shift)
    elastic = smooth_noise(rng, cells=int(rng.integers(4, 9)), channels=3)
    return moved / scale + variant.elastic_mm * elastic


def resize_around(points: Tensor, size: float, reach_mm: float = 17.0) -> Tensor:
    """Displace `points` so that a structure of about `reach_mm` around the origin grows by `size`.

    Far away nothing moves: the sinus of a donor becomes hypoplastic or pneumatised within its head.
    """
    falloff = torch.exp(-points.square().sum(dim=0) / (2 * reach_mm**2))
    return points * (1 + (1 / size - 1) * falloff)
