"""Random changes of whole batches, computed where the batch lies (Bhattacharya 2024, 2.6).

One trilinear resampling does rotation, scaling, translation and flips of the crops that drew any;
the others stay as they are. A target (the residual) goes through the same geometry and no noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.data.config import AugmentConfig, ViewConfig
from ParanasalSSLLib.model.resolution import CROP_VOXELS

_VOXELS_AT_ONCE = 2**18  # one crop of 64^3: what a core works on should stay in its cache


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
        crops, target = crops.clone(), None if target is None else target.clone()
        with torch.autocast("cpu", enabled=False):
            moved, matrices = self._draw_geometry(len(crops), generator)
        if len(moved):
            matrices[:, :, 3] *= crops.shape[-1] / CROP_VOXELS
            both = crops if target is None else torch.cat([crops, target], dim=1)
            where = moved.to(crops.device)
            # Not by autocast, whose bf16 misses places by up to 0.2 voxel.
            with torch.autocast(crops.device.type, enabled=False):
                changed = warp(both.index_select(0, where), matrices.to(crops.device))
            crops.index_copy_(0, where, changed[:, :1])
            if target is not None:
                target.index_copy_(0, where, changed[:, 1:])
        self._add_noise(crops, generator)
        return crops, target

    def view(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Changed crops (N, 1, D, D, D), each brighter or darker in its own way too, 0..1."""
        changed, _ = self(crops, generator)
        return changed_brightness(changed, self.config.views, generator)

    def _draw_geometry(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Numbers of the crops that move, and their (n, 3, 4) maps, output -> input, in mm."""
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

    def _add_noise(self, crops: Tensor, generator: torch.Generator) -> None:
        """To the given tensor itself; only crops that get noise have it drawn."""
        draws = torch.rand(len(crops), 2, generator=generator)
        noisy = torch.nonzero(draws[:, 0] < self.config.probability).flatten()
        if self.config.noise == 0 or not len(noisy):
            return
        on_cpu = crops.device.type == "cpu"
        own = generator if on_cpu else generator_from(generator, crops.device)
        shape = (len(noisy), *crops.shape[1:])
        noise = torch.randn(shape, generator=own, device=crops.device)
        sizes = (draws[noisy, 1] * self.config.noise).to(crops.device)
        crops.index_add_(0, noisy.to(crops.device), noise.mul_(sizes.view(-1, 1, 1, 1, 1)))


def changed_brightness(crops: Tensor, config: ViewConfig, generator: torch.Generator) -> Tensor:
    """Softness, contrast, exponent and smooth gain of every crop drawn anew: (N, 1, D, D, D), 0..1."""
    count, edge = len(crops), crops.shape[-1]
    draws = torch.rand(3, count, 1, 1, 1, 1, generator=generator)
    gamma = (config.log_gamma * (2 * draws[0] - 1)).exp().to(crops.device)
    softness = (config.softness * draws[1]).to(crops.device)
    contrast = (config.log_contrast * (2 * draws[2] - 1)).exp().to(crops.device)
    knots = (config.bias * torch.randn(count, 1, 3, 3, 3, generator=generator)).to(crops.device)
    gain = F.interpolate(knots, size=(edge,) * 3, mode="trilinear", align_corners=True).exp()
    softened = torch.lerp(crops, _mean_around(crops), softness)
    mean = softened.mean(dim=(1, 2, 3, 4), keepdim=True)
    return (torch.lerp(mean, softened, contrast).clamp(0, 1).pow(gamma) * gain).clamp(0, 1)


def _mean_around(crops: Tensor) -> Tensor:
    """Of each voxel's 3^3 neighbourhood, the border's values going on beyond it.

    One axis after the other: on the CPU in a third of the time of `avg_pool3d`.
    """
    edge = crops.shape[-1]
    for axis in (2, 3, 4):
        ends = (crops.narrow(axis, 0, 1), crops, crops.narrow(axis, edge - 1, 1))
        wide = torch.cat(ends, axis)
        crops = wide.narrow(axis, 0, edge) + wide.narrow(axis, 1, edge)
        crops.add_(wide.narrow(axis, 2, edge)).div_(3)
    return crops


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


def warp(volumes: Tensor, matrices: Tensor, bend: Tensor | None = None) -> Tensor:
    """Resample (N, C, D, D, D) trilinearly; beyond the edge the border's values go on.

    Args:
        volumes: what to resample.
        matrices: (N, 3, 4): output voxel (relative to the centre) -> input voxel (likewise).
        bend: (N, 3, D, D, D) voxels that are added to every input voxel's position (unset: none).
    """
    if volumes.device.type != "cpu":
        return _warp_by_grid(volumes, matrices, bend)
    at_once = max(1, _VOXELS_AT_ONCE // volumes[0, 0].numel())
    bends = [None] * len(volumes) if bend is None else bend.split(at_once)
    parts = zip(volumes.split(at_once), matrices.split(at_once), bends, strict=False)
    return torch.cat([_warp_by_index(some, theirs, own) for some, theirs, own in parts])


def _warp_by_grid(volumes: Tensor, matrices: Tensor, bend: Tensor | None = None) -> Tensor:
    size = volumes.shape[-1]
    # grid_sample counts axes backwards and in units of half an edge.
    linear = matrices[:, :, :3].flip(1).flip(2)
    shift = matrices[:, :, 3:].flip(1) * (2 / size)
    theta = torch.cat([linear, shift], dim=2).to(volumes.dtype)
    grid = F.affine_grid(theta, list(volumes.shape), align_corners=False)
    if bend is not None:
        grid = grid + bend.flip(1).permute(0, 2, 3, 4, 1) * (2 / size)
    return F.grid_sample(volumes, grid, "bilinear", "border", align_corners=False)


def _warp_by_index(volumes: Tensor, matrices: Tensor, bend: Tensor | None = None) -> Tensor:
    """The same numbers as `_warp_by_grid` (to rounding), on a CPU core four times as fast.

    PyTorch's 3D `grid_sample` goes voxel by voxel there. Here eight vectorised look-ups share one
    index, that of each voxel's lowest corner, and are blended along one axis after the other.
    """
    count, channels, edge = volumes.shape[:3]
    index, weights = _lowest_corners(matrices, edge, bend)

    def line(voxels: Tensor, start: int) -> Tensor:
        ends = (voxels[start + step :].index_select(0, index) for step in (0, 1))
        return next(ends).lerp_(next(ends), weights[2])

    def plane(voxels: Tensor, start: int) -> Tensor:
        return line(voxels, start).lerp_(line(voxels, start + edge), weights[1])

    def cube(voxels: Tensor) -> Tensor:
        return plane(voxels, 0).lerp_(plane(voxels, edge**2), weights[0])

    warped = [cube(channel.flatten()) for channel in volumes.unbind(1)]
    return torch.stack(warped).view(channels, count, edge, edge, edge).transpose(0, 1)


def _lowest_corners(
    matrices: Tensor, edge: int, bend: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Where the interpolation of each output voxel begins in the flattened input.

    Returns:
        Index of the lowest of the eight corners, int32 (N * edge^3,), and along each axis the weight
        of the upper ones, float32 of that length.
    """
    middle = (edge - 1) / 2
    along = torch.arange(edge) - middle
    index = (torch.arange(len(matrices)) * edge**3.0)[:, None, None, None]
    weights = []
    for axis, stride in enumerate((edge**2, edge, 1)):
        a, b, c, shift = matrices[:, axis, :, None, None, None].unbind(1)
        position = (a * along[:, None, None] + b * along[:, None] + (shift + middle)) + c * along
        if bend is not None:
            position += bend[:, axis]
        position.clamp_(0, edge - 1)
        low = position.floor().clamp_(max=edge - 2)
        weights.append(position.sub_(low).flatten())
        index = low.mul_(stride).add_(index)  # whole numbers below 2^24: exact
    return index.int().flatten(), weights


def generator_from(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on a device, seeded with the next number of another one on the CPU."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
