"""Boxes moved onto the cavities that a network finds in them, and doubted where it finds none.

Where there is doubt, the network looks a second time, from above and from below: eyes and their
sockets are taken for cavities only from nearby, sinuses from all round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from ParanasalSSLLib.boxes.cavity import (
    CAVITY_LIMITS,
    Boxes,
    Cavities,
    Cavity,
    are_a_pair,
    judge_cavities,
    moved_onto,
    raised,
)
from ParanasalSSLLib.boxes.quality import Quality, worst_of
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Side

MOST_MOVES = 2
SECOND_LOOK_MM = (
    -22.0,
    22.0,
)  # above the boxes: a sinus is still seen from there, not much further
SAME_PLACE_MM = 10.0  # two looks that end closer than this found the same sinuses
DOUBTED_MOVE_MM = 10.0  # boxes that were moved further are looked at a second time
LONGEST_MOVE_MM = 15.0  # and by a person beyond this, as `review_box_distance_mm`
LESS_FILLED = (
    0.1  # eyes pass for cavities filled in part; the clearer of two places is the likelier
)
RIVAL = "Two places in this head look like the sinuses: see whether the boxes lie on them."


class Scored(Protocol):
    """What a network says of one box."""

    @property
    def cavity(self) -> Cavity:
        """What it takes for the sinus."""
        ...


S = TypeVar("S", bound=Scored)
Score = Callable[[Boxes], dict[Side, S]]


@dataclass(frozen=True, eq=False)
class Look(Generic[S]):
    """Boxes, and what a network says of each."""

    boxes: Boxes
    scored: dict[Side, S]

    @property
    def cavities(self) -> Cavities:
        """What the network takes for the sinuses."""
        return {side: one.cavity for side, one in self.scored.items()}

    @property
    def is_pair(self) -> bool:
        """Whether both sinuses were found, and lie side by side."""
        return are_a_pair(self.boxes, self.cavities)

    @property
    def filled(self) -> float:
        """Mean part of the cavities that is no air, 0..1."""
        return float(np.mean([cavity.filled_fraction for cavity in self.cavities.values()]))

    @property
    def is_filled(self) -> bool:
        """Whether no side is mostly air."""
        limit = CAVITY_LIMITS.filled_fraction
        return all(cavity.filled_fraction > limit for cavity in self.cavities.values())

    def away_mm(self, boxes: Boxes) -> float:
        """Furthest way between a box and that of the same side."""
        return _furthest_mm(
            {side: box.center_ras_mm for side, box in self.boxes.items()},
            {side: box.center_ras_mm for side, box in boxes.items()},
        )

    def visible(self, image: Grid) -> dict[Side, float]:
        """Part of each sinus that the image shows, 0..1."""
        return {
            side: self.cavities[side].visible_fraction(box, image)
            for side, box in self.boxes.items()
        }

    def differs(self, other: Look[S]) -> bool:
        """Whether the other look found the sinuses elsewhere."""
        return _furthest_mm(self._centers, other._centers) > SAME_PLACE_MM

    @property
    def _centers(self) -> dict[Side, np.ndarray]:
        return {side: cavity.middle_ras_mm for side, cavity in self.cavities.items()}


def _furthest_mm(one: Mapping[Side, np.ndarray], other: Mapping[Side, np.ndarray]) -> float:
    return max(float(np.linalg.norm(one[side] - other[side])) for side in one)


def refine(first: Look[S], score: Score[S], image: Grid, doubted: bool) -> tuple[Look[S], Quality]:
    """Move boxes onto the cavities, and score again.

    Args:
        first: the boxes of the registration, and what the network says of them.
        score: asks the network.
        image: what the scan shows.
        doubted: whether there is another reason to look a second time.

    Returns:
        The last look, and whether its boxes are to be trusted as far as the cavities tell.
    """
    look, rival = _settled(first, score, image), None
    moved_far = look.away_mm(first.boxes) > DOUBTED_MOVE_MM
    if doubted or moved_far or look.is_filled or not look.is_pair:
        look, rival = _second_look(look, score, image)
    cavities = judge_cavities(look.boxes, look.cavities, image)
    return look, worst_of([cavities, _judge_moves(first.boxes, look, rival)])


def _settled(look: Look[S], score: Score[S], image: Grid) -> Look[S]:
    """Moved until the boxes lie on the cavities; not further where these are lost on the way."""
    for _ in range(MOST_MOVES):
        boxes = moved_onto(look.boxes, look.cavities, image)
        if all(box is look.boxes[side] for side, box in boxes.items()):
            break
        moved = Look(boxes, score(boxes))
        if look.is_pair and not moved.is_pair:
            break
        look = moved
    return look


def _second_look(look: Look[S], score: Score[S], image: Grid) -> tuple[Look[S], Look[S] | None]:
    """The better of what is found from here, from below and from above, and the best that differs."""
    rival = None
    for by_mm in SECOND_LOOK_MM:
        boxes = raised(look.boxes, by_mm)
        other = _settled(Look(boxes, score(boxes)), score, image)
        if other.is_pair and not (look.is_pair and not other.differs(look)):
            better = not look.is_pair or other.filled < look.filled - LESS_FILLED
            look, rival = (other, look) if better else (look, other)
    return look, rival


def _judge_moves(start: Boxes, look: Look[S], rival: Look[S] | None) -> Quality:
    away_mm = look.away_mm(start)
    moved = f"The boxes were moved by {away_mm:.0f} mm onto the sinuses that the network found."
    if rival is not None and rival.is_pair:
        return Quality("review", (moved,) * (away_mm > 0) + (RIVAL,))
    if away_mm > LONGEST_MOVE_MM:
        return Quality("review", (moved,))
    return Quality("ok", (moved,) * (away_mm > 0))
