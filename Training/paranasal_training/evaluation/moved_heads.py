"""Real heads as they might have been scanned: turned, cut off below, or with a child's proportions.

Each view moves the outline of the cavities along, so that one knows where the sinuses lie and how
much of them the image still shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import ndimage

from paranasal_training.sinus.references import BLOCK, Reference
from ParanasalSSLLib.boxes.registration import rigid_part
from ParanasalSSLLib.geometry import apply_affine
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

ORBITS_MM = 28.0  # above the centres of the sinuses, in the mean head
EARS_MM = -60.0  # behind them
SOFT_MM = 6.0  # over which one proportion passes into the other


@dataclass(frozen=True, eq=False)
class Head:
    """A scan whose cavities are known.

    Attributes:
        volume: the scan.
        cavities: of each side that is known, points (n, 3) all over the cavity, RAS mm.
        frame: (4, 4) rigid, head's own axes (right, anterior, superior; mm from the middle between
            the sinuses) -> RAS mm.
    """

    volume: Volume
    cavities: Mapping[Side, np.ndarray]
    frame: np.ndarray

    def center(self, side: Side) -> np.ndarray:
        """(3,) of the whole cavity, RAS mm."""
        return np.asarray(self.cavities[side].mean(axis=0))

    def visible(self, side: Side) -> float:
        """Part of the cavity that lies inside the image, 0..1."""
        return float(self.volume.contains(self.cavities[side]).mean())


def head_of(volume: Volume, references: Mapping[Side, Reference]) -> Head:
    """The scan as it is. References of sides that are not clear tell only how the head lies."""
    to_ras = {
        side: volume.affine @ _shift(-one.image_bounds[0]) @ one.box_to_native
        for side, one in references.items()
    }
    cavities = {
        side: apply_affine(to_ras[side], _cavity_mm(one))
        for side, one in references.items()
        if one.clear
    }
    frame = np.eye(4)
    mirrored = [to_ras[s][:3, :3] * [-1.0 if s == Side.RIGHT else 1.0, 1, 1] for s in to_ras]
    frame[:3, :3] = rigid_part(sum(mirrored) / len(mirrored))
    frame[:3, 3] = np.mean([affine[:3, 3] for affine in to_ras.values()], axis=0)
    return Head(volume, cavities, frame)


def _shift(by: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def _cavity_mm(reference: Reference) -> np.ndarray:
    return (np.argwhere(reference.distance > 0)[::7] - (BLOCK - 1) / 2).astype(np.float64)


# --------------------------------------------------------------------------------------- views


def turned(head: Head, axis: int, degrees: float) -> Head:
    """The head turned about one of its axes (0 nods, 1 tilts, 2 looks aside); the same image grid.

    The middle of the image stays where it is: what leaves the image is lost.
    """
    rotation = head.frame[:3, :3] @ turn(axis, degrees) @ head.frame[:3, :3].T
    middle = head.volume.center_ras_mm
    moved = _shift(middle) @ _linear(rotation) @ _shift(-middle)
    to_source = head.volume.inverse @ np.linalg.inv(moved) @ head.volume.affine
    data = ndimage.affine_transform(
        head.volume.data, to_source[:3, :3], to_source[:3, 3], order=1,
        mode="constant", cval=float(head.volume.data.min()),
    )  # fmt: skip
    cavities = {side: apply_affine(moved, points) for side, points in head.cavities.items()}
    return Head(_like(head.volume, data), cavities, moved @ head.frame)


def turn(axis: int, degrees: float) -> np.ndarray:
    """(3, 3) rotation about an axis."""
    a, b = [i for i in range(3) if i != axis]
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rotation = np.eye(3)
    rotation[a, a] = rotation[b, b] = cos
    rotation[a, b], rotation[b, a] = -sin, sin
    return rotation


def _linear(matrix: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    return affine


def cut_below(head: Head, visible: float) -> Head:
    """The image ends below, where it still shows this part of all cavities (0..1)."""
    axis, upwards = _up(head.volume)
    index = head.volume.to_index(np.concatenate([*head.cavities.values()]))[:, axis]
    at = float(np.quantile(index, 1 - visible if upwards else visible))
    start, stop = np.zeros(3, int), np.array(head.volume.shape)
    if upwards:
        start[axis] = max(0, int(np.ceil(at)))
    else:
        stop[axis] = int(np.floor(at)) + 1
    return replace(head, volume=head.volume.cut(start, stop))


def _up(volume: Volume) -> tuple[int, bool]:
    """The image's axis that runs along the body, and whether it runs upwards."""
    along = volume.affine[2, :3] / volume.spacing_mm
    axis = int(abs(along).argmax())
    return axis, bool(along[axis] > 0)


def stored_otherwise(head: Head) -> Head:
    """The same scan with its voxels in another order."""
    order = (2, 0, 1)
    data, affine = head.volume.data.transpose(order), head.volume.affine[:, [*order, 3]].copy()
    for axis in (0, 2):
        data = np.flip(data, axis)
        affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
        affine[:3, axis] *= -1
    return replace(head, volume=Volume(data, affine, head.volume.provenance))


@dataclass(frozen=True)
class Proportions:
    """Of a child's head to an adult's.

    size: of the skull. height, breadth: of the face below the orbits, on top of that (breadth also
    of its depth in front of the ears).
    """

    size: float
    height: float
    breadth: float

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of an adult's head, in its own axes -> where they lie in the child's."""
        x, y, z = points.T
        narrow = self._narrow(z)
        return np.stack([x * narrow, EARS_MM + (y - EARS_MM) * narrow, self._height(z)], axis=1)

    def sources(self, points: np.ndarray) -> np.ndarray:
        """The way back."""
        x, y, height = points.T
        line = np.linspace(-400, 400, 3201)
        z = np.interp(height, self._height(line), line)
        narrow = self._narrow(z)
        return np.stack([x / narrow, EARS_MM + (y - EARS_MM) / narrow, z], axis=1)

    def _height(self, z: np.ndarray) -> np.ndarray:
        below = SOFT_MM * np.logaddexp(0, (ORBITS_MM - z) / SOFT_MM)
        return z + (1 - self.height) * below

    def _narrow(self, z: np.ndarray) -> np.ndarray:
        return 1 - (1 - self.breadth) / (1 + np.exp(-(ORBITS_MM - z) / SOFT_MM))


def as_child(head: Head, proportions: Proportions) -> Head:
    """The head with a child's proportions; slices below that the scan does not hold are cut off."""
    to_head = np.linalg.inv(head.frame)
    volume = head.volume
    data, held = np.zeros(volume.shape, np.float32), np.zeros(volume.shape, bool)
    for i in range(volume.shape[0]):  # a slice at a time, to save memory
        index = np.stack(
            np.meshgrid([i], *(np.arange(n) for n in volume.shape[1:]), indexing="ij"), axis=-1
        ).reshape(-1, 3)
        in_head = apply_affine(to_head @ volume.affine, index)
        at = apply_affine(volume.inverse @ head.frame, proportions.sources(in_head))
        sampled = ndimage.map_coordinates(volume.data, at.T, order=1, mode="nearest")
        data[i] = sampled.reshape(volume.shape[1:])
        inside = ((at >= -0.5) & (at <= np.array(volume.shape) - 0.5)).all(axis=1)
        held[i] = inside.reshape(volume.shape[1:])
    cavities = {
        side: apply_affine(head.frame, proportions.moved(apply_affine(to_head, points)))
        for side, points in head.cavities.items()
    }
    return _scaled(_trimmed(Head(_like(volume, data), cavities, head.frame), held), proportions)


def _trimmed(head: Head, held: np.ndarray) -> Head:
    axis, upwards = _up(head.volume)
    whole = held.mean(axis=tuple({0, 1, 2} - {axis})) > 0.5
    start, stop = np.zeros(3, int), np.array(head.volume.shape)
    first, last = np.flatnonzero(whole)[[0, -1]]
    if upwards:
        start[axis] = first
    else:
        stop[axis] = last + 1
    return replace(head, volume=head.volume.cut(start, stop))


def _scaled(head: Head, proportions: Proportions) -> Head:
    smaller = _linear(proportions.size * np.eye(3))
    volume = Volume(head.volume.data, smaller @ head.volume.affine, head.volume.provenance)
    frame = head.frame.copy()
    frame[:3, 3] *= proportions.size
    cavities = {side: apply_affine(smaller, points) for side, points in head.cavities.items()}
    return Head(volume, cavities, frame)


def _like(volume: Volume, data: np.ndarray) -> Volume:
    return Volume(data, volume.affine, volume.provenance)


View = Callable[[Head], Head]


@cache
def views() -> dict[str, View]:
    """All views, by name."""
    named: dict[str, View] = {"as is": lambda head: head, "stored otherwise": stored_otherwise}
    for axis, what in enumerate(("nods", "tilts", "looks aside")):
        for degrees in (-30.0, 30.0):
            named[f"{what} {degrees:+.0f}"] = _turning(axis, degrees)
    for visible in (0.9, 0.8, 0.6, 0.4, 0.2):
        named[f"cut, {visible:.0%} visible"] = _cutting(visible)
    for name, proportions in CHILDREN.items():
        named[name] = _growing_down(proportions)
    return named


# Bolton standards and head circumferences: at ten the skull has 95 % of its size, at three 89 %, at
# one 82 %; the face's height is then 90, 75 and 65 % of the adult's.
CHILDREN = {
    "child of ten": Proportions(0.95, 0.93, 0.96),
    "child of three": Proportions(0.88, 0.80, 0.90),
    "child of one": Proportions(0.82, 0.72, 0.85),
}


def _turning(axis: int, degrees: float) -> View:
    return lambda head: turned(head, axis, degrees)


def _cutting(visible: float) -> View:
    return lambda head: cut_below(head, visible)


def _growing_down(proportions: Proportions) -> View:
    return lambda head: as_child(head, proportions)
