"""Random changes of whole batches, computed where the batch lies (Bhattacharya 2024, 2.6).

One trilinear resampling does rotation, scaling, translation and flips of the crops that drew any;
the others stay as they are. A target (the residual) goes through the same geometry and no noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges; each of the three kinds happens to a crop with `probability`.

    Defaults are the paper code's, but for flips: after the right side is mirrored, all sinuses look
    the same way, and the paper's flips along all axes make heads that stand on theirs.
    """

    probability: float = 0.5
    scale: tuple[float, float] = (0.8, 1.2)  # isotropic, uniform
    rotation_deg: float = 10.0  # about each axis, uniform in +-
    translation_mm: float = 10.0  # along each axis, uniform in +-
    flip_axes: tuple[int, ...] = ()  # of 0 (lateral-medial), 1 (front-back), 2 (up-down)
    noise: float = 0.25  # standard deviation, drawn uniformly from 0 to this

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise BadConfig(f"augment.probability is between 0 and 1, not {self.probability}.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise BadConfig(f"augment.scale is (low, high) with 0 < low <= high, not {self.scale}.")
        if min(self.rotation_deg, self.translation_mm, self.noise) < 0:
            raise BadConfig("augment: rotation_deg, translation_mm and noise are 0 or more.")
        if not set(self.flip_axes) <= {0, 1, 2}:
            raise BadConfig(f"augment.flip_axes holds only 0, 1 and 2, not {self.flip_axes}.")


class Augmentation:
    """Applies an `AugmentConfig`; all randomness comes from the generator given with each call."""

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config

    def __call__(
        self, crops: Tensor, generator: torch.Generator, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Change float crops (N, 1, D, D, D), and the target of that shape alike, if there is one.

        Args:
            crops: 0..1, on any device.
            generator: of the CPU, so that a seed means the same on every device.
            target: follows the geometry only.
        """
        moved, matrices = self._draw_geometry(len(crops), generator)
        if len(moved):
            both = crops if target is None else torch.cat([crops, target], dim=1)
            where = moved.to(crops.device)
            changed = warp(both[where], matrices.to(crops.device))
            crops = crops.index_copy(0, where, changed[:, :1])
            if target is not None:
                target = target.index_copy(0, where, changed[:, 1:])
        return self._with_noise(crops, generator), target

    def _draw_geometry(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Numbers of the crops that move, and their (n, 3, 4) maps, output -> input, in voxels."""
        config = self.config
        draws = torch.rand(count, 11, generator=generator)
        affine = draws[:, 0] < config.probability
        low, high = config.scale
        scale = torch.where(affine, low + (high - low) * draws[:, 1], torch.ones(count))
        limit = math.radians(config.rotation_deg)
        angles = torch.where(affine[:, None], limit * (2 * draws[:, 2:5] - 1), 0.0)
        shifts = torch.where(affine[:, None], config.translation_mm * (2 * draws[:, 5:8] - 1), 0.0)
        flips = torch.ones(count, 3)
        flipped = torch.zeros(count, dtype=torch.bool)
        for axis in config.flip_axes:
            chosen = draws[:, 8 + axis] < config.probability
            flips[chosen, axis] = -1.0
            flipped |= chosen
        linear = rotations(angles) * flips[:, None, :] / scale[:, None, None]
        matrices = torch.cat([linear, shifts[:, :, None]], dim=2)
        moved = torch.nonzero(affine | flipped).flatten()
        return moved, matrices[moved]

    def _with_noise(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.rand(len(crops), 2, generator=generator)
        sizes = torch.where(draws[:, 0] < self.config.probability, draws[:, 1], 0.0)
        if self.config.noise == 0 or not sizes.any():
            return crops
        own = _generator_on(crops.device, generator)
        sizes = (sizes * self.config.noise).to(crops.device).view(-1, 1, 1, 1, 1)
        noise = torch.randn(crops.shape, generator=own, device=crops.device)
        return crops + noise * sizes


def rotations(angles: Tensor) -> Tensor:
    """(N, 3) angles in radians about axes 0, 1, 2 -> (N, 3, 3) rotation matrices."""
    result = torch.eye(3).expand(len(angles), 3, 3)
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one = torch.eye(3).repeat(len(angles), 1, 1)
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        one[:, a, a], one[:, a, b], one[:, b, a], one[:, b, b] = cos, -sin, sin, cos
        result = result @ one
    return result


def warp(volumes: Tensor, matrices: Tensor) -> Tensor:
    """Resample (N, C, D, D, D) trilinearly; beyond the edge the border's values go on.

    Args:
        volumes: what to resample.
        matrices: (N, 3, 4): output voxel (relative to the centre) -> input voxel (likewise).
    """
    size = volumes.shape[-1]
    # grid_sample counts axes backwards and in units of half an edge.
    linear = matrices[:, :, :3].flip(1).flip(2)
    shift = matrices[:, :, 3:].flip(1) * (2 / size)
    theta = torch.cat([linear, shift], dim=2).to(volumes.dtype)
    grid = F.affine_grid(theta, list(volumes.shape), align_corners=False)
    return F.grid_sample(volumes, grid, "bilinear", "border", align_corners=False)


def _generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
