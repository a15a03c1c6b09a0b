"""Shapes and signals of what fills a sinus, in the cavity's own frame (1 mm, 96 voxels a side).

Everything that is painted ends as two fields: the share of each voxel that it takes from the air,
and its signal. `scanning.py` carries both into the scan's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paranasal_training.cohort.lesions import Kind as Shape
from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.sinus.healthy import (
    CRYPTS,
    ROOTS,
    Bulges,
    Tissue,
    draw_bulges,
    draw_lining,
    draw_septum,
    smooth_field,
)

KINDS = ("clear", "band", "floor", "dome", "polyp", "several", "level", "subtotal", "full")
SHARES = (0.0, 0.15, 0.13, 0.18, 0.12, 0.14, 0.1, 0.09, 0.09)
LEAST_ML = 0.25
SMALL_ML = 2.0  # many lesions are smaller than this
SHARE_SMALL = 0.4
DARK_FLUID = (0.06, 0.13)  # of the crop's scale, as in two really filled sinuses on T1
SHARE_ROOT, SHARE_LINED, SHARE_SEPTUM = 0.22, 0.45, 0.12
# Where a lesion's signal comes from: dark fluid, little more, like the turbinates, like any tissue,
# the brightest.
SOURCES = (0.15, 0.12, 0.37, 0.26, 0.1)
FILLING_SOURCES = (0.32, 0.12, 0.28, 0.19, 0.09)
ABOVE_AIR = 0.035  # the least by which a lesion is brighter than the air


@dataclass(frozen=True, eq=False)
class Cavity:
    """The part of a reference's block that a sinus lies in.

    Attributes:
        window: where in the block.
        distance: float32 (I, J, K) mm to the wall, positive inside.
    """

    window: tuple[slice, slice, slice]
    distance: np.ndarray

    @property
    def lumen(self) -> np.ndarray:
        """Bool, the voxels inside."""
        return self.distance > 0


def cavity_of(distance: np.ndarray, margin: int = 3) -> Cavity:
    """The window of a block (96, 96, 96) around its cavity, `margin` voxels wider."""
    found = ndimage.find_objects((distance > 0).astype(np.uint8))[0]
    window = tuple(
        slice(max(0, s.start - margin), min(n, s.stop + margin))
        for s, n in zip(found, distance.shape, strict=True)
    )
    return Cavity((window[0], window[1], window[2]), distance[window])


@dataclass(frozen=True, eq=False)
class Painting:
    """What was painted into a window.

    Attributes:
        share: float32 (I, J, K) of each voxel, 0..1, that is no longer air, of any cause.
        signal: float32 (I, J, K), its signal on the crop's scale.
        opacity: float32 (I, J, K), the share of each voxel that is disease, 0..1.
        cavity: float32 (I, J, K), the share of each voxel inside the walls.
        kind: one of `KINDS`.
        level: mean signal of the largest lesion; NaN for none.
    """

    share: np.ndarray
    signal: np.ndarray
    opacity: np.ndarray
    cavity: np.ndarray
    kind: str
    level: float


def draw_kind(rng: np.random.Generator) -> str:
    """A kind of disease."""
    return KINDS[rng.choice(len(KINDS), p=SHARES)]


def paint(
    cavity: Cavity,
    tissue: Tissue,
    kind: str,
    rng: np.random.Generator,
    healthy: bool = True,
    crypts: bool = False,
) -> Painting:
    """Paint disease of a kind, and healthy look-alikes, into a cavity.

    Args:
        cavity: where.
        tissue: which signals there are.
        kind: one of `KINDS`.
        rng: source of every choice.
        healthy: whether lining, roots and septa may be painted too.
        crypts: whether a child's molars are to lie under the floor.
    """
    distance, canvas = cavity.distance, Layers.empty(cavity.distance.shape)
    if crypts:
        distance, canvas = _with_bulges(CRYPTS, distance, canvas, tissue, rng)
    if healthy:
        distance, canvas = _with_healthy(distance, canvas, tissue, rng)
    opacity, level = np.zeros(distance.shape, np.float32), float("nan")
    if kind != "clear":
        room = _room(distance, rng)
        for shape, shares in _plan(kind, rng):
            part = grow(room, shape, shares, rng)
            field, this = draw_signal(part, tissue, shape, rng)
            level = this if np.isnan(level) else level
            canvas = canvas.under(part, field)
            opacity = np.maximum(opacity, part)
    inside = np.clip(distance + 0.5, 0, 1)
    opacity = np.minimum(opacity, inside)
    return Painting(canvas.share, canvas.signal, opacity, inside, kind, level)


@dataclass(frozen=True, eq=False)
class Layers:
    """Things laid over one another: share of each voxel taken and its signal, (I, J, K) each."""

    share: np.ndarray
    signal: np.ndarray

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Layers:
        """Nothing but air."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def under(self, part: np.ndarray, signal: np.ndarray) -> Layers:
        """With another thing laid on top; both may take only a part of a voxel."""
        total = part + self.share * (1 - part)
        mixed = part * signal + self.share * (1 - part) * self.signal
        level = np.where(total > 1e-3, mixed / np.maximum(total, 1e-3), 0)
        return Layers(total, level.astype(np.float32))


def _with_healthy(
    distance: np.ndarray, canvas: Layers, tissue: Tissue, rng: np.random.Generator
) -> tuple[np.ndarray, Layers]:
    """Roots (which the cavity ends at), lining and a septum, each in some sinuses."""
    if rng.random() < SHARE_ROOT:
        distance, canvas = _with_bulges(ROOTS, distance, canvas, tissue, rng)
    if rng.random() < SHARE_LINED:
        canvas = canvas.under(*draw_lining(distance, tissue, rng))
    if rng.random() < SHARE_SEPTUM:
        canvas = canvas.under(*draw_septum(distance, tissue, rng))
    return distance, canvas


def _with_bulges(
    kind: Bulges,
    distance: np.ndarray,
    canvas: Layers,
    tissue: Tissue,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Layers]:
    """Under the floor, which the cavity ends at from then on."""
    surface, signal = draw_bulges(kind, distance, tissue, rng)
    canvas = canvas.under(np.clip(0.5 - surface, 0, 1) * (distance > 0), signal)
    return np.minimum(distance, surface), canvas


def _room(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where lesions may grow. The outline holds a thin dark bone: sometimes that line is kept."""
    room = distance - float(rng.choice([0.0, rng.uniform(0.2, 1.4)]))
    return room if (room > 0).sum() > 500 else distance


def _plan(kind: str, rng: np.random.Generator) -> list[tuple[str, tuple[float, float]]]:
    """Shapes and the range of the lumen's share that each may fill."""
    ranges = {
        "floor": (0.0, 0.6), "dome": (0.0, 0.6), "polyp": (0.0, 0.6), "level": (0.05, 0.85),
        "subtotal": (0.72, 0.97), "full": (0.99, 1.0), "band": (0.0, 0.9),
    }  # fmt: skip
    if kind != "several":
        return [(kind, ranges[kind])]
    shapes = rng.choice(["band", "floor", "dome", "dome", "polyp", "level"], rng.integers(2, 4))
    return [(str(shape), (0.0, 0.35)) for shape in shapes]


def grow(
    room: np.ndarray, shape: str, shares: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Grow a lesion in a room.

    Args:
        room: float (I, J, K), mm to the room's wall, positive inside.
        shape: a kind but "clear" and "several".
        shares: least and largest share of the room that it fills; below it, volumes are drawn
            log-uniformly from `LEAST_ML` on.
        rng: source of every choice.

    Returns:
        float32 (I, J, K), the share of each voxel that it fills.
    """
    lumen = room > 0
    room_ml = lumen.sum() / 1000
    low, high = max(LEAST_ML, shares[0] * room_ml), shares[1] * room_ml
    if shape in ("floor", "dome", "polyp") and rng.random() < SHARE_SMALL:
        high = min(high, SMALL_ML)
    volume_ml = float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high))))
    if shape == "full":
        return np.clip(room + 0.5, 0, 1).astype(np.float32)
    if shape == "band":
        mask = _band(room, rng)
    elif shape == "level":
        mask = _lowest(lumen, _height(lumen.shape, rng), volume_ml)
    else:
        kinds = {"floor": Shape.THICKENING, "dome": Shape.CYST, "polyp": Shape.POLYP}
        least_mm = float(rng.uniform(2.2, 4.5)) if shape == "floor" else 0.0
        mask = grow_lesion(lumen, kinds.get(shape, Shape.FULL), volume_ml, rng, least_mm)
    # Soft towards the air, whole towards the wall.
    soft, reached = (ndimage.gaussian_filter(m.astype(np.float32), 0.5) for m in (mask, lumen))
    return soft / np.maximum(reached, 0.2) * np.clip(room + 0.5, 0, 1)


def _band(room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mucosa all round, 2 to 10 mm thick and uneven."""
    thickness = np.exp(rng.uniform(np.log(2.2), np.log(9.0)))
    uneven = rng.uniform(0.1, 0.45) * smooth_field(room.shape, rng.uniform(6, 14), rng)
    local = np.maximum(thickness * np.exp(uneven), 2.0)
    return (room > 0) & (room < local)


def _height(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Height above the lowest point for a supine head (back of the head down), tilted a little."""
    up = np.array([0.0, 1.0, 0.0]) + rng.normal(0, 0.12, 3)
    if rng.random() < 0.1:  # scanned prone or sitting
        up = np.array([0.0, 0.3, 1.0]) + rng.normal(0, 0.15, 3)
    i, j, k = (u * np.arange(n, dtype=np.float32) for u, n in zip(up, shape, strict=True))
    return i[:, None, None] + j[None, :, None] + k


def _lowest(lumen: np.ndarray, rank: np.ndarray, volume_ml: float) -> np.ndarray:
    count = int(np.clip(round(1000 * volume_ml), 1, lumen.sum()))
    return lumen & (rank <= np.partition(rank[lumen], count - 1)[count - 1])


def draw_signal(
    part: np.ndarray, tissue: Tissue, shape: str, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """The signal of a lesion: (I, J, K) and its mean level.

    From just above the air's noise over the mucosa's brightness in that scan to the brightest.
    """
    filling = shape in ("level", "subtotal", "full")
    source = rng.choice(5, p=FILLING_SOURCES if filling else SOURCES)
    if source == 0:
        level = rng.uniform(*DARK_FLUID)
    elif source == 1:
        level = rng.uniform(DARK_FLUID[1], 0.28)
    elif source == 4:
        level = rng.uniform(0.85, 1.15)
    else:
        samples = tissue.medial if source == 2 else tissue.around
        level = np.quantile(samples, rng.uniform(0.1, 0.97))
    level = max(float(level), tissue.air + ABOVE_AIR)
    fluid = source == 0 or (shape in ("level", "dome") and rng.random() < 0.7)
    field = level * (1 + _texture(part.shape, 0.06 if fluid else 0.22, rng))
    if not fluid and rng.random() < 0.5:
        field *= 1 - rng.uniform(0.1, 0.6) * _folds(part.shape, rng)
    if rng.random() < 0.3:
        depth = ndimage.distance_transform_edt(part > 0.5)
        field *= 1 + rng.uniform(0.15, 0.7) * np.exp(-depth / rng.uniform(1.0, 2.5))
    return np.maximum(field, tissue.air + 0.02).astype(np.float32), level


def _texture(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Uneven brightness on two scales."""
    coarse = smooth_field(shape, rng.uniform(9, 18), rng)
    fine = smooth_field(shape, rng.uniform(2, 5), rng)
    return rng.uniform(0.1, 1) * strength * coarse + rng.uniform(0, 0.6) * strength * fine


def _folds(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Thin dark curved sheets, like those between turbinates: 0..1."""
    waves = smooth_field(shape, rng.uniform(5, 11), rng)
    return np.exp(-((waves / rng.uniform(0.15, 0.35)) ** 2))
