"""What a scan looks like beyond its anatomy: contrast, pose, another acquisition, noise, its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from nibabel.affines import from_matvec
from scipy import ndimage

from paranasal_training.cohort.fields import rotation_matrix
from paranasal_training.sinus.references import HIGHEST, LOWEST, STEPS
from paranasal_training.sinus.scanning import identity_table, sample

SIZE = 64
HALF = (SIZE - 1) / 2


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the crop lies on the sinus. Crop mm p -> cavity mm: linear @ p + shift + elastic.

    elastic: (3, a, b, c) knots in mm spread over the crop. size: of the sinus alone, 1 as it is.
    """

    linear: np.ndarray
    shift_mm: np.ndarray
    elastic: np.ndarray
    size: float

    def to_cavity(self, mm: np.ndarray) -> np.ndarray:
        """Cavity mm (3, ...) of crop mm (3, ...)."""
        shape = (3, *[1] * (mm.ndim - 1))
        cells = np.array(self.elastic.shape[1:], np.float32).reshape(shape)
        return self._moved(mm, sample(self.elastic, (mm + 40) / 80 * (cells - 1)))

    def crop_to_cavity(self) -> np.ndarray:
        """Cavity mm (3, 64, 64, 64) of the crop's own voxels."""
        return self._moved(crop_mm(), _stretched(self.elastic, 40.0))

    def _moved(self, mm: np.ndarray, elastic: np.ndarray) -> np.ndarray:
        moved = np.tensordot(self.linear.astype(np.float32), mm, axes=1) + elastic
        moved += self.shift_mm.reshape(3, *[1] * (mm.ndim - 1)).astype(np.float32)
        if self.size != 1:
            near = np.exp(np.square(moved).sum(axis=0) / np.float32(-2 * 17.0**2))
            moved *= 1 + np.float32(1 / self.size - 1) * near
        return moved


def _stretched(knots: np.ndarray, reach_mm: float = HALF) -> np.ndarray:
    """Knots (C, a, b, c) over +-`reach_mm`, interpolated at the crop's voxels (C, 64, 64, 64)."""
    position = (np.arange(SIZE) - HALF) / (2 * reach_mm) + 0.5
    field = knots
    for count in knots.shape[1:]:  # each turn moves the next axis to the end
        field = np.tensordot(field, _weights(position, count), axes=([1], [1]))
    return field


def _weights(position: np.ndarray, knots: int) -> np.ndarray:
    """(n, knots) of linear interpolation at positions 0..1 over the knots."""
    index = position[:, None] * (knots - 1) - np.arange(knots)
    return np.clip(1 - np.abs(index), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class HeadPose:
    """The part of both sides' poses that is the head's."""

    angles_deg: np.ndarray
    scale: np.ndarray
    shift_mm: np.ndarray


def draw_head_pose(rng: np.random.Generator) -> HeadPose:
    """Rotations up to 15 degrees, scale 0.75 to 1.25, most of the error of localisation."""
    angles = rng.normal(0, 5, 3).clip(-15, 15)
    scale = rng.uniform(0.75, 1.2) if rng.random() < 0.25 else np.exp(rng.normal(0, 0.07))
    each = np.exp(rng.normal(0, 0.04, 3))
    shift = rng.normal(0, [2.0, 2.5, 3.0])
    return HeadPose(angles, (scale * each).clip(0.75, 1.25), shift)


def draw_pose(head: HeadPose, mirrored: bool, rng: np.random.Generator) -> Pose:
    """One side's pose. In the other side's frame the head's turns about two axes are reversed."""
    signs = np.array([1.0, -1.0, -1.0]) if mirrored else np.ones(3)
    shift = head.shift_mm * ([-1.0, 1.0, 1.0] if mirrored else [1.0, 1.0, 1.0])
    shift = shift + rng.normal(0, [1.8, 2.0, 2.0])
    if rng.random() < 0.15:  # a box that is off
        direction = rng.normal(0, 1, 3)
        shift = shift + rng.uniform(4, 12) * direction / np.linalg.norm(direction)
    shift *= min(1.0, 12 / max(float(np.linalg.norm(shift)), 1e-6))
    rotation = rotation_matrix(head.angles_deg * signs).numpy()
    cells = int(rng.integers(4, 8))
    elastic = rng.uniform(0, 2.2) * rng.standard_normal((3, cells, cells, cells))
    size = rng.uniform(0.6, 0.85) if rng.random() < 0.12 else np.exp(rng.normal(0, 0.06))
    return Pose(rotation / head.scale, shift, elastic.astype(np.float32), float(size))


def only_placed(pose: Pose, head: HeadPose) -> Pose:
    """The pose without what would change the anatomy: turned and shifted, no more."""
    return replace(
        pose, linear=pose.linear * head.scale, elastic=np.zeros_like(pose.elastic), size=1.0
    )


def draw_table(air: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A tone table for `native`'s values, (HIGHEST - LOWEST + 1,), and its name.

    The air's level and what is below stay; tissues keep their order ("gamma") or are drawn anew
    ("tissues"), which makes something like T2 or fat suppression of a T1.
    """
    same = identity_table()
    choice = rng.random()
    if choice < 0.45:
        return same, "as is"
    floor = min(air + 0.05, 0.2)
    if choice < 0.72:
        knots = np.array([floor, 0.15 + floor, 0.4, 0.6, 0.8, 1.0])
        values = knots ** rng.uniform(0.6, 1.6) * rng.normal(1, 0.08, 6)
        name = "gamma"
    else:
        knots = np.array([floor, 0.15 + floor, max(0.33, 0.2 + floor), 0.5, 0.65, 0.8, 1.0])
        values = rng.uniform(0.22, 1.0, 7)
        values[1] = rng.uniform(0.15, 0.4)
        name = "tissues"
    values[0] = floor
    x = np.concatenate([[LOWEST / STEPS, floor - 0.04], knots, [HIGHEST / STEPS]])
    y = np.concatenate([[LOWEST / STEPS, floor - 0.04], values, [values[-1] * 1.3]])
    return np.interp(same, x, np.maximum(y, LOWEST / STEPS)).astype(np.float32), name


@dataclass(frozen=True)
class Rescan:
    """Another acquisition of the scan: slices of its own in any plane. None of it: `slice_mm` 0."""

    slice_mm: float = 0.0
    axis: int = 2
    pixel_mm: float = 1.0
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    nearest: bool = False
    phase: float = 0.0  # of a slice
    ringing: float = 1.0  # share of the in-plane spectrum that is kept


def draw_rescan(finest_mm: float, rng: np.random.Generator) -> Rescan:
    """None for scans with thick slices; half of the others get slices of 2 to 7 mm."""
    if finest_mm > 2.6 or rng.random() < 0.5:
        return Rescan()
    isotropic = rng.random() < 0.3
    thick = 2.0 if isotropic else float(rng.uniform(2.5, 7))
    return Rescan(
        slice_mm=thick,
        axis=int(rng.choice(3, p=[0.25, 0.2, 0.55])),
        pixel_mm=2.0 if isotropic or rng.random() < 0.15 else 1.0,
        tilt_deg=tuple(rng.normal(0, [10, 4, 4]).tolist()),
        nearest=bool(rng.random() < 0.35),
        phase=float(rng.random()),
        ringing=float(rng.uniform(0.55, 0.9)) if rng.random() < 0.3 else 1.0,
    )


@dataclass(frozen=True)
class Look:
    """What both sides of a scan share after the contrast."""

    rescan: Rescan
    noise: float  # standard deviation on the crop's scale
    bias: float  # log, over the crop
    blur_mm: float
    ghost: float  # bands in air and tissue
    ghost_mm: float
    ghost_axis: int
    copy: float  # of a moving structure, displaced along `ghost_axis`
    copy_mm: int
    cut_axis: int  # -1: none
    cut_mm: float


NO_LOOK = Look(Rescan(), 0.0, 0.0, 0.0, 0.0, 10.0, 0, 0.0, 10, -1, 0.0)


def draw_look(finest_mm: float, rng: np.random.Generator) -> Look:
    """Draw one scan's look."""
    shares = (0.45, 0.5, 0.15, 0.15, 0.15, 0.12)
    noisy, biased, blurred, ghosted, cut, copied = rng.random(6) < shares
    cut_axis = int(rng.choice([2, 1], p=[0.8, 0.2])) if cut else -1
    return Look(
        rescan=draw_rescan(finest_mm, rng),
        noise=float(np.exp(rng.uniform(np.log(0.005), np.log(0.07)))) if noisy else 0.0,
        bias=float(rng.uniform(0.05, 0.5)) if biased else 0.0,
        blur_mm=float(rng.uniform(0.4, 1.1)) if blurred else 0.0,
        ghost=float(rng.uniform(0.008, 0.05)) if ghosted else 0.0,
        ghost_mm=float(rng.uniform(5, 22)),
        ghost_axis=int(rng.integers(3)),
        copy=float(rng.uniform(0.03, 0.15)) if copied else 0.0,
        copy_mm=int(rng.choice([-1, 1]) * rng.integers(10, 30)),
        cut_axis=cut_axis,
        cut_mm=float(rng.uniform(6, 30) if cut_axis == 2 else rng.uniform(4, 20)),
    )


@cache
def crop_mm() -> np.ndarray:
    """Read-only (3, 64, 64, 64) float32 mm of the crop's voxels from its centre."""
    axis = np.arange(SIZE, dtype=np.float32) - np.float32(HALF)
    mm = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    mm.flags.writeable = False
    return mm


@dataclass(frozen=True, eq=False)
class RescanGrid:
    """The voxels of a rescan: crop mm of their parts and the way from the crop to their index."""

    mm: np.ndarray  # (3, I, J, K), parts across slices are consecutive
    parts: int
    from_crop: np.ndarray  # (4, 4) crop mm -> index


def rescan_grid(rescan: Rescan) -> RescanGrid:
    """A grid of tilted slices that covers the crop."""
    spacing = np.full(3, rescan.pixel_mm)
    spacing[rescan.axis] = rescan.slice_mm
    rotation = rotation_matrix(np.array(rescan.tilt_deg)).numpy().astype(np.float64)
    reach = np.abs(rotation.T) @ np.full(3, HALF)
    counts = np.ceil(2 * reach / spacing).astype(int) + 2
    parts = max(1, round(rescan.slice_mm / 1.25))
    start = -(counts - 1) / 2
    start[rescan.axis] += rescan.phase - 0.5
    axes = [(np.arange(n) + s) * d for n, s, d in zip(counts, start, spacing, strict=True)]
    offsets = ((np.arange(parts) + 0.5) / parts - 0.5) * rescan.slice_mm
    axes[rescan.axis] = (axes[rescan.axis][:, None] + offsets).ravel()
    local = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    mm = np.tensordot(rotation.astype(np.float32), local, axes=1)
    return RescanGrid(mm, parts, from_matvec(rotation.T / spacing[:, None], -start))


def merge_parts(values: np.ndarray, grid: RescanGrid, axis: int) -> np.ndarray:
    """Mean over the parts of each slice: (I, J, K)."""
    shape = list(values.shape)
    shape[axis : axis + 1] = [shape[axis] // grid.parts, grid.parts]
    return values.reshape(shape).mean(axis=axis + 1)


def slice_gains(shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness of each slice along `axis`, about 1, to multiply with."""
    gains = np.exp(rng.normal(0, 0.02, shape[axis])).astype(np.float32)
    return np.expand_dims(gains, tuple({0, 1, 2} - {axis}))


def truncated(image: np.ndarray, share: float, axis: int) -> np.ndarray:
    """Without the highest frequencies along `axis`: rings at every sharp edge."""
    spectrum = torch.fft.rfft(torch.from_numpy(np.ascontiguousarray(image)), dim=axis)
    kept = max(4, int(spectrum.shape[axis] * share))
    if kept < spectrum.shape[axis]:
        spectrum.narrow(axis, kept, spectrum.shape[axis] - kept).zero_()
    return torch.fft.irfft(spectrum, n=image.shape[axis], dim=axis).numpy()


def with_noise(image: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of a complex image with noise (Rician)."""
    if not noise:
        return image
    real = image + np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def shaded(image: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """With bias field, blur and ghosts, in the crop's grid."""
    if look.blur_mm:
        image = ndimage.gaussian_filter(image, look.blur_mm)
    if look.bias:
        knots = rng.standard_normal((1, 3, 3, 3)).astype(np.float32)
        image = image * np.exp(np.float32(look.bias) * _stretched(knots)[0])
    if look.ghost:
        phase = rng.uniform(0, 2 * np.pi)
        wave = np.cos(2 * np.pi * np.arange(SIZE) / look.ghost_mm + phase).astype(np.float32)
        patch = _stretched(rng.random((1, 4, 4, 4)).astype(np.float32))[0]
        wave = np.expand_dims(wave, tuple({0, 1, 2} - {look.ghost_axis}))
        image = np.abs(image + np.float32(look.ghost) * wave * patch)
    if look.copy:
        moving = image * _stretched(rng.random((1, 4, 4, 4)).astype(np.float32))[0]
        image = image + np.float32(look.copy) * np.roll(moving, look.copy_mm, look.ghost_axis)
    return image
