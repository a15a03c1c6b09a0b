"""What a network takes for the cavities of the sinuses, held against the boxes.

A network that outlines cavities sees where a sinus is from up to 24 mm away. So it tells boxes that
lie off, can move them, and finds boxes that lie on no sinus at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.boxes.visible import HALF_MM, visible_fraction
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class CavityLimits:
    """When a cavity is one, and when boxes are moved or doubted.

    From the cavities of 60 sides of 19 heads: 4.3 to 28 ml, the two centres of a head 41 to 52 mm
    apart from side to side (34 at a child's 82 % of the size), at most 6 mm in depth and 4 mm in
    height. The network's training covers boxes up to 12 mm off their sinus.

    Attributes:
        smallest_ml, largest_ml: a young child's sinus has 1 to 3 ml. Of what is visible.
        moved_mm: boxes closer to their cavity than this stay where they are.
        far_mm: a cavity further from the middle of its box is not the one that the box is for.
        apart_mm: from side to side, between the two centres.
        uneven_mm: in depth or height, between the two centres.
        filled_fraction: a cavity with less is air. Eyes and their sockets pass for filled cavities.
    """

    smallest_ml: float = 0.8
    largest_ml: float = 45.0
    moved_mm: float = 6.0
    far_mm: float = 12.0
    apart_mm: tuple[float, float] = (28.0, 60.0)
    uneven_mm: float = 12.0
    filled_fraction: float = 0.15


CAVITY_LIMITS = CavityLimits()
EDGE_MM, CUT_FRACTION = 2.0, 0.02  # so much of a cavity so near to the image's edge: cut off
CAP_MM_PER_RADIUS = 1 / 3  # mean height of half an ellipsoid half as high as its base's radius
ROOF_MM = 16.9  # of the 60 cavities' roof above their centre, where they are of mean breadth


@dataclass(frozen=True, eq=False)
class Cavity:
    """The cavity that a network found in a box.

    Attributes:
        ml: volume, 0 for none.
        points_ras_mm: (n, 3), all over it.
        filled_fraction: what of it is no air, 0..1.
    """

    ml: float
    points_ras_mm: np.ndarray
    filled_fraction: float

    @property
    def middle_ras_mm(self) -> np.ndarray:
        """(3,) centre of what was found."""
        return np.asarray(self.points_ras_mm.mean(axis=0))

    def center_ras_mm(self, rotation: np.ndarray, image: Grid) -> np.ndarray:
        """(3,) centre of the whole cavity, also where the image ends within it.

        There it is reckoned from the roof, and from the breadth, which tells the height: by the 60
        cavities, cut off at 80 to 40 % of their volume, with a standard deviation of 2 mm.

        Args:
            rotation: (3, 3) of the box: right, anterior, superior.
            image: what the scan shows.
        """
        if not self._ends_with(image, -rotation[:, 2]):
            return self.middle_ras_mm
        z = (self.points_ras_mm - self.middle_ras_mm) @ rotation[:, 2]
        up = np.percentile(z, 99) - ROOF_MM * self._breadth(rotation)
        return np.asarray(self.middle_ras_mm + up * rotation[:, 2])

    def visible_fraction(self, box: SinusBox, image: Grid) -> float:
        """Part of the whole cavity that the image shows, 0..1; that of a mean one for no cavity.

        Where the image ends within it, at least the cap is hidden that a rounded cavity of this cut
        surface would have.
        """
        if not self.is_plausible():
            return visible_fraction(box, image)
        ways = [sign * box.rotation[:, axis] for axis in range(3) for sign in (-1, 1)]
        cut = max(self._cut_fraction(image, way) for way in ways)
        if cut < CUT_FRACTION:
            return 1.0
        whole = replace(box, center_ras_mm=self.center_ras_mm(box.rotation, image))
        reckoned = visible_fraction(whole, image, self._breadth(box.rotation))
        surface_mm2 = 1000 * self.ml * cut / EDGE_MM
        cap_ml = CAP_MM_PER_RADIUS * surface_mm2 * (surface_mm2 / np.pi) ** 0.5 / 1000
        return float(min(reckoned, self.ml / (self.ml + cap_ml)))

    def _cut_fraction(self, image: Grid, way: np.ndarray) -> float:
        """Part of the cavity that lies within `EDGE_MM` of the image's edge, along a way (3,)."""
        return float(1 - image.contains(self.points_ras_mm + EDGE_MM * way).mean())

    def _ends_with(self, image: Grid, way: np.ndarray) -> bool:
        """Whether the image ends within the cavity, seen along a way (3,)."""
        return self._cut_fraction(image, way) >= CUT_FRACTION

    def _breadth(self, rotation: np.ndarray) -> float:
        """Of the mean cavity's."""
        x, y = ((self.points_ras_mm - self.middle_ras_mm) @ rotation[:, :2]).std(axis=0)
        return float(np.mean([x / HALF_MM[0], y / HALF_MM[1]]) * 5**0.5)

    def is_plausible(self, limits: CavityLimits = CAVITY_LIMITS) -> bool:
        """Whether a sinus may have this size."""
        return limits.smallest_ml <= self.ml <= limits.largest_ml


Boxes = Mapping[Side, SinusBox]
Cavities = Mapping[Side, Cavity]


def offsets_mm(boxes: Boxes, cavities: Cavities, image: Grid) -> dict[Side, np.ndarray]:
    """Of each plausible cavity's centre, (3,) mm from the middle of its box, along the box's axes."""
    centers = {
        side: cavities[side].center_ras_mm(box.rotation, image)
        for side, box in boxes.items()
        if cavities[side].is_plausible()
    }
    return {
        side: boxes[side].rotation.T @ (center - boxes[side].center_ras_mm)
        for side, center in centers.items()
    }


def moved_onto(
    boxes: Boxes, cavities: Cavities, image: Grid, limits: CavityLimits = CAVITY_LIMITS
) -> dict[Side, SinusBox]:
    """The boxes in the middle of their cavities; those that lie near enough stay.

    A side without a plausible cavity goes with the other side, mirrored.
    """
    offsets = offsets_mm(boxes, cavities, image)
    for side in boxes:
        if side not in offsets and offsets:
            (other,) = offsets.values()
            offsets[side] = other * [-1.0, 1.0, 1.0]
    return {side: _moved(box, offsets.get(side), limits) for side, box in boxes.items()}


def _moved(box: SinusBox, offset: np.ndarray | None, limits: CavityLimits) -> SinusBox:
    if offset is None or np.linalg.norm(offset) < limits.moved_mm:
        return box
    return replace(box, center_ras_mm=box.center_ras_mm + box.rotation @ offset)


def raised(boxes: Boxes, by_mm: float) -> dict[Side, SinusBox]:
    """The boxes moved up along their own axes."""
    return {
        side: replace(box, center_ras_mm=box.center_ras_mm + by_mm * box.rotation[:, 2])
        for side, box in boxes.items()
    }


def judge_cavities(
    boxes: Boxes, cavities: Cavities, image: Grid, limits: CavityLimits = CAVITY_LIMITS
) -> Quality:
    """ "review" where the cavities do not look like the sinuses that the boxes are for."""
    offsets = offsets_mm(boxes, cavities, image)
    reasons = [
        f"No sinus is recognised in the {side} box." for side in boxes if side not in offsets
    ]
    reasons += [
        f"What looks like the {side} sinus lies {np.linalg.norm(offset):.0f} mm from the middle of "
        "its box."
        for side, offset in offsets.items()
        if np.linalg.norm(offset) > limits.far_mm
    ]
    if len(offsets) == 2 and not are_a_pair(boxes, cavities, limits):
        reasons.append("What looks like the two sinuses does not lie side by side.")
    return Quality("review" if reasons else "ok", tuple(reasons))


def are_a_pair(boxes: Boxes, cavities: Cavities, limits: CavityLimits = CAVITY_LIMITS) -> bool:
    """Whether both cavities are plausible and lie to one another as two sinuses do."""
    if len(boxes) < 2 or not all(cavity.is_plausible(limits) for cavity in cavities.values()):
        return False
    right, left = (cavities[side].middle_ras_mm for side in (Side.RIGHT, Side.LEFT))
    apart, depth, height = boxes[Side.LEFT].rotation.T @ (right - left)
    low, high = limits.apart_mm
    return bool(low <= apart <= high and max(abs(depth), abs(height)) <= limits.uneven_mm)
