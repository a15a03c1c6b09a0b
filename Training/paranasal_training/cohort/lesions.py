"""Lesions of the four kinds, grown inside the air of a sinus until they have a given volume.

Every kind is one scalar field, its *rank*: the lesion of volume V is the V ml of lumen with the
lowest rank. So all kinds and sizes share one mechanism, and a volume asked for is the one obtained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from paranasal_training.cohort.config import LesionRange
from ParanasalSSLLib.sinuses import Kind


def draw_volume_ml(
    kind: Kind, lumen_ml: float, spread: LesionRange, rng: np.random.Generator
) -> float:
    """Volume of a new lesion of `kind` in a sinus with `lumen_ml` of air."""
    if kind == Kind.FULL:
        return lumen_ml * rng.uniform(*spread.full_fraction)
    limits = {
        Kind.THICKENING: spread.thickening_ml,
        Kind.POLYP: spread.polyp_ml,
        Kind.CYST: spread.cyst_ml,
    }[kind]
    return float(min(np.exp(rng.uniform(*np.log(limits))), spread.largest_fraction * lumen_ml))


def draw_least_depth_mm(spread: LesionRange, slice_mm: float, rng: np.random.Generator) -> float:
    """How thin a thickening may be in a scan with slices `slice_mm` apart; 0: as thin as it gets."""
    if not any(spread.thickening_mm):
        return spread.thickening_slices * slice_mm
    return max(float(rng.uniform(*spread.thickening_mm)), spread.thickening_slices * slice_mm)


def draw_signal(
    anatomy_signal: float,
    image: np.ndarray,
    lumen: np.ndarray,
    spread: LesionRange,
    rng: np.random.Generator,
) -> float:
    """Brightness of a lesion: the anatomy's own, or a quantile of the tissue around the lumen."""
    if not spread.fraction_tissue_bright or rng.random() >= spread.fraction_tissue_bright:
        return anatomy_signal
    around = image[::2, ::2, ::2][~lumen[::2, ::2, ::2]]
    tissue = around[around > 0.2 * np.percentile(around, 99)]
    return float(np.quantile(tissue, rng.uniform(*spread.tissue_quantile)))


def grow_lesion(
    lumen: np.ndarray,
    kind: Kind,
    volume_ml: float,
    rng: np.random.Generator,
    least_depth_mm: float = 0.0,
) -> np.ndarray:
    """Grow one lesion inside `lumen`.

    Args:
        lumen: bool (I, J, K), voxels of 1 mm in the sinus frame, the sinus's air.
        kind: one of the four kinds of anomaly.
        volume_ml: wanted volume; capped by the lumen's.
        rng: source of every random choice.
        least_depth_mm: of a thickening, which then covers less of the wall; other kinds are as
            thick as they are wide.

    Returns:
        bool (I, J, K), a subset of `lumen` with `volume_ml` (to the voxel) of volume.

    Raises:
        ValueError: the lumen holds no voxel or the kind is `Kind.NORMAL`.
    """
    if kind == Kind.NORMAL or not lumen.any():
        raise ValueError("a lesion needs a kind of anomaly and a lumen to grow in")
    window = ndimage.find_objects(lumen.astype(np.uint8))[0]
    air = lumen[window]
    depth_mm = ndimage.distance_transform_edt(np.pad(air, 1))[1:-1, 1:-1, 1:-1]
    rank = _RANKS[kind](air, depth_mm, rng)
    count = int(np.clip(round(volume_ml * 1000), 1, air.sum()))
    if kind == Kind.THICKENING and least_depth_mm > 0:
        rank = _no_thin_band(rank, depth_mm, count, least_depth_mm, air)
    ranks_inside = rank[air]
    order = np.argpartition(ranks_inside, count - 1)[:count]
    chosen = np.zeros(ranks_inside.size, bool)
    chosen[order] = True
    lesion = np.zeros_like(lumen)
    lesion[window][air] = chosen
    return lesion


def _noise(shape: tuple[int, ...], sigma_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma_mm)
    return field / (field.std() + 1e-9)


def _positions(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(np.float32)


def _wall_point(
    depth_mm: np.ndarray, preference: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A voxel at the wall, drawn with weights exp(preference)."""
    wall = np.argwhere((depth_mm > 0) & (depth_mm < 1.6))
    weights = np.exp(preference[tuple(wall.T)] - preference[tuple(wall.T)].max())
    return wall[rng.choice(len(wall), p=weights / weights.sum())]


def _floor_preference(shape: tuple[int, ...], strength: float) -> np.ndarray:
    """High at the bottom of the sinus, where secretions and cysts gather."""
    height = np.linspace(0, 1, shape[2], dtype=np.float32)
    return np.broadcast_to(-strength * height, shape)


def _thickening_rank(air: np.ndarray, depth_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A band along floor and walls: depth below the wall, thicker on the floor and in patches."""
    patches = _noise(air.shape, rng.uniform(4, 9), rng)
    floor = _floor_preference(air.shape, rng.uniform(0.5, 3.5))
    return depth_mm * np.exp(-(rng.uniform(0.3, 1.1) * patches + floor))


def _no_thin_band(
    rank: np.ndarray, depth_mm: np.ndarray, count: int, least_mm: float, air: np.ndarray
) -> np.ndarray:
    """Ranks with which the `count` lowest make a band that ends steeply where it would get thin.

    A thickening of rank below c is c / (rank / depth) deep. That depth becomes 0 within 1 mm below
    the least one; the c with which `count` voxels are left is found by halving.
    """
    reach = depth_mm / np.maximum(rank, 1e-6)  # depth of the band over c

    def excess(level: float) -> np.ndarray:
        wanted = level * reach
        steep = wanted - np.maximum(least_mm - wanted, 0) * max(least_mm - 1, 0)
        return depth_mm - 0.5 - steep  # the first voxel's centre is half a mm deep

    low, high = 0.0, float(rank[air].max()) * 4
    for _ in range(14):
        level = (low + high) / 2
        low, high = (level, high) if (excess(level)[air] <= 0).sum() < count else (low, level)
    return excess(high)


def _cyst_rank(air: np.ndarray, depth_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth dome: distance from a point at or behind the wall."""
    point = _wall_point(depth_mm, _floor_preference(air.shape, 4.0), rng)
    stretch = np.exp(rng.normal(0, 0.12, 3)).reshape(3, 1, 1, 1)
    offset = rng.normal(0, 1.5, 3)
    center = (point + offset).reshape(3, 1, 1, 1)
    return np.linalg.norm((_positions(air.shape) - center) * stretch, axis=0)


def _polyp_rank(air: np.ndarray, depth_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lobules on a stalk from the wall, often the medial one near the ostium, into the lumen."""
    medial = np.linspace(-1, 1, air.shape[0], dtype=np.float32).reshape(-1, 1, 1)
    high = np.linspace(-1, 1, air.shape[2], dtype=np.float32)
    preference = np.broadcast_to(2.0 * medial + 1.0 * high, air.shape)
    lobule = _wall_point(depth_mm, preference, rng).astype(np.float64)
    core = np.array(np.unravel_index(depth_mm.argmax(), air.shape), float)
    positions = _positions(air.shape)
    rank = np.full(air.shape, np.inf, np.float32)
    for number in range(int(rng.integers(3, 7))):
        distance = np.linalg.norm(positions - lobule.reshape(3, 1, 1, 1), axis=0)
        head_start = 3.0 if number == 0 else rng.uniform(0, 2.5)  # it grows from the wall
        rank = np.minimum(rank, distance - head_start)
        towards_core = (core - lobule) / (np.linalg.norm(core - lobule) + 1e-6)
        lobule = lobule + rng.uniform(1.5, 4) * towards_core + rng.normal(0, 2.0, 3)
    return rank + 0.6 * _noise(air.shape, 2.0, rng)


def _full_rank(air: np.ndarray, depth_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Everything but a pocket of air, which is deep inside or (supine) at the anterior wall."""
    anterior = np.linspace(0, 1, air.shape[1], dtype=np.float32).reshape(1, -1, 1)
    pocket = rng.uniform(0, 1) * 8 * anterior
    return depth_mm + pocket + 1.5 * _noise(air.shape, 4.0, rng)


_RANKS: dict[Kind, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    Kind.THICKENING: _thickening_rank,
    Kind.POLYP: _polyp_rank,
    Kind.CYST: _cyst_rank,
    Kind.FULL: _full_rank,
}


def paint_lesion(
    image: np.ndarray, lesion: np.ndarray, signal: float, rng: np.random.Generator
) -> np.ndarray:
    """Blend a lesion into an image: soft edges (partial volume), slight texture.

    Args:
        image: float32 (I, J, K).
        lesion: bool (I, J, K).
        signal: brightness of the lesion in the image's units.
        rng: source of the texture.
    """
    occupancy = ndimage.gaussian_filter(lesion.astype(np.float32), 0.55)
    # The smoothed edge must not darken what lies behind the wall: only fill towards the air.
    occupancy = np.where(lesion, np.maximum(occupancy, 0.75), occupancy * (image < signal))
    texture = 1 + rng.uniform(0, 0.12) * _noise(image.shape, 2.5, rng)
    return image + occupancy * (signal * texture - image)
