"""Masks of patches, for methods that predict what they do not see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods.parts.heads import check_between
from ParanasalSSLLib.model.resolution import CROP_VOXELS


@dataclass(frozen=True)
class MaskOptions:
    """Which part of a crop is masked."""

    patch_mm: int
    """Edge of a patch, mm: 2, 4, 8, 16 or 32."""
    masked_fraction: float
    """Fraction of a crop's patches that is masked, between 0 and 1."""

    def __post_init__(self) -> None:
        if type(self.patch_mm) is not int or self.patch_mm not in (2, 4, 8, 16, 32):
            raise ValueError(f"patch_mm is 2, 4, 8, 16 or 32, not {self.patch_mm!r}")
        check_between("masked_fraction", self.masked_fraction, 0, 1)
        if not 0 < self.masked < self.patches:
            raise ValueError(
                f"masked_fraction {self.masked_fraction} masks {self.masked} of {self.patches} patches"
            )

    @property
    def grid(self) -> int:
        """Patches along each edge of a crop."""
        return CROP_VOXELS // self.patch_mm

    @property
    def patches(self) -> int:
        """Patches of a crop."""
        return self.grid**3

    @property
    def masked(self) -> int:
        """Masked patches of a crop."""
        return round(self.masked_fraction * self.patches)

    def check_voxels(self, voxels: int) -> None:
        """Raise `ValueError` where patches are single voxels of crops of that edge."""
        if voxels < 2 * self.grid:
            raise ValueError(f"patch_mm {self.patch_mm} is one voxel of crops of {voxels}^3")


def draw_visible(count: int, options: MaskOptions, generator: torch.Generator) -> Tensor:
    """Which patches are seen, bool (count, g, g, g); in each crop exactly `options.masked` are not."""
    order = torch.rand(count, options.patches, generator=generator).argsort(dim=1)
    visible = torch.ones(count, options.patches, dtype=torch.bool)
    visible.scatter_(1, order[:, : options.masked], False)
    return visible.view(count, *[options.grid] * 3)


def at_edge(visible: Tensor, edge: int) -> Tensor:
    """Which positions of a level are active, bool (B, 1, edge, edge, edge).

    On levels finer than the patches: those within visible ones; on coarser levels: those above any.
    """
    active = visible.unsqueeze(1)
    grid = visible.shape[-1]
    if edge < grid:
        return F.max_pool3d(active.float(), grid // edge) > 0
    for axis in (2, 3, 4):
        active = active.repeat_interleave(edge // grid, dim=axis)
    return active


def to_patches(volumes: Tensor, edge: int) -> Tensor:
    """(B, 1, D, D, D) -> (B, g, g, g, edge^3) with g = D / edge."""
    grid = volumes.shape[-1] // edge
    blocks = volumes.reshape(-1, grid, edge, grid, edge, grid, edge)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)


def from_patches(patches: Tensor, edge: int) -> Tensor:
    """(B, g, g, g, edge^3) -> (B, 1, D, D, D): undoes `to_patches`."""
    blocks = patches.unflatten(4, (edge, edge, edge)).permute(0, 1, 4, 2, 5, 3, 6)
    return blocks.flatten(5, 6).flatten(3, 4).flatten(1, 2).unsqueeze(1)
