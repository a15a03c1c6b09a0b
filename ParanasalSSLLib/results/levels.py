"""Where the report's slices pass: both sinuses at the same level, cut alike on either side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.registration import rigid_part
from ParanasalSSLLib.results.planes import Orientation, Plane
from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.predict import ScanResult, SinusResult

RADIOLOGICAL = (Side.RIGHT, Side.LEFT)  # as they stand: the patient's right on the viewer's left
MARGIN_MM = 5.0  # around the boxes
TYPICAL_ASIDE_MM = 22.0  # of a sinus from the midplane, where only one sinus is known
_TO_THE_RIGHT = {Side.RIGHT: 1.0, Side.LEFT: -1.0}


@dataclass(frozen=True)
class Level:
    """Where the slices pass.

    place_mm: away from the midplane (to either side), in front of and above the pair's middle.
    finding: the side whose largest finding lies there; None for the middle of the sinuses.
    """

    place_mm: tuple[float, float, float]
    finding: Side | None = None

    @property
    def name(self) -> str:
        """Of its picture's file, see `layout.PICTURES`."""
        return f"{self.finding}finding" if self.finding else "middle"

    @property
    def words(self) -> str:
        """What a reader sees there."""
        if self.finding:
            return f"Slices through the largest finding of the {self.finding} sinus"
        return "Slices through the middle of the sinuses"


@dataclass(frozen=True, eq=False)
class SinusPair:
    """The frame in which both sinuses are shown alike, mirrored at the midplane of the boxes.

    Attributes:
        rotation: (3, 3), the boxes' mean axes (to the head's right, front, up) as columns in RAS.
        middle: (3,) RAS mm, midway between the boxes.
        aside_mm: of the pictures' middle from the midplane.
        field_mm: edge of every picture; it holds either box.
    """

    rotation: np.ndarray
    middle: np.ndarray
    aside_mm: float
    field_mm: float

    @classmethod
    def of(cls, boxes: Mapping[Side, SinusBox]) -> SinusPair:
        """The pair that one or two boxes belong to."""
        turns = np.stack([box.rotation for box in boxes.values()])
        rotation = rigid_part(turns.mean(axis=0))
        middle, aside = _midway(boxes, rotation[:, 0])
        unbounded = cls(rotation, middle, aside, field_mm=0.0)
        reach = max(unbounded._reach(side, box) for side, box in boxes.items())
        return cls(rotation, middle, aside, 2 * (reach + MARGIN_MM))

    def place(self, side: Side, ras: np.ndarray) -> np.ndarray:
        """(..., 3) mm away from the midplane towards that side, in front, above, of (..., 3) RAS mm."""
        return (ras - self.middle) @ self.rotation * [_TO_THE_RIGHT[side], 1.0, 1.0]

    def plane(self, side: Side, orientation: Orientation, level: Level) -> Plane:
        """One side's picture: its place in the head depends on the level only along its normal."""
        place = np.array([self.aside_mm, 0.0, 0.0])
        place[orientation.normal] = level.place_mm[orientation.normal]
        center = self.middle + self.rotation @ (place * [_TO_THE_RIGHT[side], 1.0, 1.0])
        return Plane.through(center, self.rotation, orientation, self.field_mm)

    def _reach(self, side: Side, box: SinusBox) -> float:
        away = self.place(side, box.corners_ras_mm()) - [self.aside_mm, 0.0, 0.0]
        return float(abs(away).max())


def _midway(boxes: Mapping[Side, SinusBox], right: np.ndarray) -> tuple[np.ndarray, float]:
    """The point (3,) midway between the boxes, RAS mm, and their distance from the midplane."""
    centers = [box.center_ras_mm for box in boxes.values()]
    if len(boxes) == 2:
        return np.mean(centers, axis=0), abs(float((centers[0] - centers[1]) @ right)) / 2
    (side,) = boxes
    return centers[0] - _TO_THE_RIGHT[side] * TYPICAL_ASIDE_MM * right, TYPICAL_ASIDE_MM


def levels_of(result: ScanResult, pair: SinusPair) -> list[Level]:
    """The middle of the sinuses, then the largest finding of each side, the larger one first."""
    sinuses = sorted(result.sinuses.values(), key=lambda sinus: -sinus.opacity_ml)
    levels = [Level(_mm(pair, _middles(sinuses)))]
    for sinus in sinuses:
        point = largest_finding(sinus)
        if point is not None:
            levels.append(Level(_mm(pair, [(sinus.side, point)]), finding=sinus.side))
    return levels


def _mm(pair: SinusPair, points: Iterable[tuple[Side, np.ndarray]]) -> tuple[float, float, float]:
    aside, front, up = np.mean([pair.place(side, point) for side, point in points], axis=0)
    return float(aside), float(front), float(up)


def _middles(sinuses: Iterable[SinusResult]) -> list[tuple[Side, np.ndarray]]:
    """The middles of the cavities, RAS mm; those of the boxes where none is outlined."""
    outlined = [(s, s.score.measures.cavity) for s in sinuses if s.score.measures is not None]
    middles = [
        (sinus.side, sinus.crop.to_world(np.argwhere(cavity).mean(axis=0)))
        for sinus, cavity in outlined
        if cavity.any()
    ]
    return middles or [(sinus.side, sinus.box.center_ras_mm) for sinus in sinuses]


def largest_finding(sinus: SinusResult) -> np.ndarray | None:
    """RAS mm (3,) of the voxel nearest to the middle of the largest opacity; None without any."""
    parts, number = ndimage.label(sinus.opacity)
    if number == 0:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    voxels = np.argwhere(parts == sizes.argmax())
    middle = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return sinus.crop.to_world(middle)
