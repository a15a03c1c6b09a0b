"""Boxes are moved onto the cavities that a network finds, and doubted where these are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.cavity import Cavity, judge_cavities
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.boxes.refinement import Look, refine
from ParanasalSSLLib.boxes.visible import HALF_MM
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Side

IMAGE = Grid.around(np.zeros(3), np.eye(3) * 2.0, (150, 150, 150))
SINUSES = {Side.LEFT: np.array([-22.0, 60, -50]), Side.RIGHT: np.array([22.0, 62, -51])}
EYES = {Side.LEFT: np.array([-29.0, 75, -20]), Side.RIGHT: np.array([29.0, 75, -20])}
SEEN_MM = {True: 26.0, False: 14.0}  # from which a stand-in network sees a sinus, and an eye


def ellipsoid(center: np.ndarray) -> np.ndarray:
    line = np.linspace(-1, 1, 21)
    unit = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    return center + HALF_MM * unit[(unit**2).sum(axis=1) <= 1]


@dataclass(frozen=True)
class Seen:
    cavity: Cavity


@dataclass
class StandInNetwork:
    """Takes the nearest sinus, or else the nearest eye, for the cavity of a box."""

    image: Grid = IMAGE
    lost: tuple[Side, ...] = ()
    calls: int = 0

    def __call__(self, boxes: Mapping[Side, SinusBox]) -> dict[Side, Seen]:
        self.calls += 1
        return {side: Seen(self.look(side, box)) for side, box in boxes.items()}

    def look(self, side: Side, box: SinusBox) -> Cavity:
        for places, is_sinus in ((SINUSES, True), (EYES, False)):
            away = np.linalg.norm(box.center_ras_mm - places[side])
            if away < SEEN_MM[is_sinus] and side not in self.lost:
                points = ellipsoid(places[side])
                points = points[self.image.contains(points)]
                return Cavity(15.0 if is_sinus else 7.0, points, 0.0 if is_sinus else 0.4)
        return Cavity(0.0, np.empty((0, 3)), 0.0)


def refined(
    boxes: Mapping[Side, SinusBox], network: StandInNetwork, doubted: bool = False
) -> tuple[Look[Seen], Quality]:
    return refine(Look(boxes, network(boxes)), network, network.image, doubted)


def boxes_at(x: float = 0, y: float = 0, z: float = 0) -> dict[Side, SinusBox]:
    return {side: SinusBox(side, center + np.array([x, y, z])) for side, center in SINUSES.items()}


def furthest_mm(boxes: Mapping[Side, SinusBox]) -> float:
    return max(float(np.linalg.norm(boxes[s].center_ras_mm - SINUSES[s])) for s in boxes)


def test_boxes_that_lie_well_are_scored_once_and_stay() -> None:
    network, boxes = StandInNetwork(), boxes_at(2, 3, -2)
    look, quality = refined(boxes, network)
    assert network.calls == 1 and look.boxes == boxes
    assert (quality.verdict, quality.reasons) == ("ok", ())


def test_boxes_that_lie_off_are_moved_and_that_is_told() -> None:
    network = StandInNetwork()
    look, quality = refined(boxes_at(0, 5, 7), network)
    assert network.calls == 2 and furthest_mm(look.boxes) < 0.5
    assert quality.verdict == "ok" and "moved by 9 mm" in quality.reasons[0]
    assert {side: box.side for side, box in look.boxes.items()} == {side: side for side in Side}


def test_a_long_way_is_to_be_looked_at() -> None:
    look, quality = refined(boxes_at(0, 0, 22), StandInNetwork())
    assert furthest_mm(look.boxes) < 0.5
    assert quality.verdict == "review" and "moved by 22 mm" in quality.reasons[0]


def test_eyes_do_not_pass_for_sinuses() -> None:
    """Boxes in the orbits, from where the sinuses are no longer seen: a look from below finds them."""
    look, quality = refined(boxes_at(0, 10, 30), StandInNetwork())
    assert furthest_mm(look.boxes) < 0.5
    assert quality.verdict == "review"
    assert any("Two places" in reason for reason in quality.reasons)


def test_doubt_looks_a_second_time_and_keeps_what_it_finds_again() -> None:
    network, boxes = StandInNetwork(), boxes_at(1, 1, 1)
    look, quality = refined(boxes, network, doubted=True)
    assert network.calls > 1 and look.boxes == boxes and quality.verdict == "ok"


def test_no_sinus_is_to_be_looked_at() -> None:
    quality = refined(boxes_at(), StandInNetwork(lost=tuple(Side)))[1]
    assert quality.verdict == "review" and len(quality.reasons) == 2
    assert all("No sinus is recognised" in reason for reason in quality.reasons)


def test_a_side_without_a_cavity_goes_with_the_other_one() -> None:
    network = StandInNetwork(lost=(Side.RIGHT,))
    boxes = boxes_at(0, 0, 9)
    look, quality = refined(boxes, network)
    moved = {s: look.boxes[s].center_ras_mm - boxes[s].center_ras_mm for s in Side}
    np.testing.assert_allclose(moved[Side.LEFT], [0, 0, -9], atol=0.5)
    np.testing.assert_allclose(moved[Side.RIGHT], moved[Side.LEFT] * [-1, 1, 1])
    assert quality.verdict == "review" and "right box" in quality.reasons[0]


def test_a_wide_cut_surface_hides_a_cap_whatever_the_roof_says() -> None:
    """A steep sinus: by its roof and breadth it would be whole, but it ends flat at the edge."""
    center = SINUSES[Side.LEFT]
    points = center + (ellipsoid(center) - center) * [1.0, 1.0, 1.6]
    edge = center[2] - HALF_MM[2]
    image = Grid((150, 150, 100), IMAGE.affine + np.pad([[edge + 150]], ((2, 1), (3, 0))))
    shown = points[points[:, 2] > edge]
    cavity = Cavity(30.0 * len(shown) / len(points), shown, 0.0)
    assert 0.85 < cavity.visible_fraction(SinusBox(Side.LEFT, center), image) < 0.95


@pytest.mark.parametrize("visible", [0.8, 0.6])
def test_where_the_image_ends_the_whole_sinus_is_reckoned_from_its_roof(visible: float) -> None:
    edge = float(np.quantile(ellipsoid(SINUSES[Side.LEFT])[:, 2], 1 - visible))
    image = Grid((150, 150, 100), IMAGE.affine + np.pad([[edge + 150]], ((2, 1), (3, 0))))
    look, _ = refined(boxes_at(0, 5, 9), StandInNetwork(image))
    assert furthest_mm(look.boxes) < 3.0


def test_cavities_that_do_not_lie_side_by_side_are_to_be_looked_at() -> None:
    boxes = boxes_at()
    cavities = {s: Cavity(10.0, ellipsoid(SINUSES[s]), 0.0) for s in Side}
    assert judge_cavities(boxes, cavities, IMAGE).verdict == "ok"
    cavities[Side.LEFT] = Cavity(10.0, ellipsoid(SINUSES[Side.LEFT] + [0, 0, 11]), 0.0)
    cavities[Side.RIGHT] = Cavity(10.0, ellipsoid(SINUSES[Side.RIGHT] - [0, 0, 11]), 0.0)
    quality = judge_cavities(boxes, cavities, IMAGE)
    assert quality.verdict == "review" and "side by side" in quality.reasons[0]


@pytest.mark.parametrize("ml", [0.2, 80.0])
def test_a_cavity_of_no_sinus_s_size_is_none(ml: float) -> None:
    boxes = boxes_at()
    cavities = {s: Cavity(ml, ellipsoid(SINUSES[s]), 0.0) for s in Side}
    assert judge_cavities(boxes, cavities, IMAGE).verdict == "review"
