"""Where the slices pass, and that both sides are cut alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.model.opacity import measure_sinus
from ParanasalSSLLib.predict import ScanResult
from ParanasalSSLLib.results.levels import Level, SinusPair, largest_finding, levels_of
from ParanasalSSLLib.results.planes import AXIAL, CORONAL, ORIENTATIONS, SAGITTAL, Orientation
from ParanasalSSLLib.sinuses import Side

MIDDLE = Level((0.0, 0.0, 0.0))


def pair_of(result: ScanResult) -> SinusPair:
    return SinusPair.of({side: sinus.box for side, sinus in result.sinuses.items()})


def with_cavity(result: ScanResult, side: Side, center: np.ndarray) -> ScanResult:
    """The result, the cavity of one side a ball of 8 mm."""
    sinus = result.sinuses[side]
    index = np.moveaxis(np.indices(sinus.crop.shape), 0, -1)
    away = np.linalg.norm(sinus.crop.to_world(index) - center, axis=-1)
    measures = measure_sinus((away < 8.0).astype(float), np.zeros(away.shape), sinus.crop.inside)
    shown = replace(sinus, score=replace(sinus.score, measures=measures))
    return replace(result, sinuses={**result.sinuses, side: shown})


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_both_sides_are_cut_as_mirror_images(toolbox: Any, orientation: Orientation) -> None:
    """What lies at the same place of either sinus lies mirrored in the pictures, equally large."""
    turn = toolbox.turned(14, 2) @ toolbox.turned(8, 0)
    boxes = {side: SinusBox(side, turn @ center, turn) for side, center in toolbox.centers.items()}
    pair = SinusPair.of(boxes)
    planes = [pair.plane(side, orientation, Level((9.0, 3.0, -5.0))) for side in Side]
    assert planes[0].field_mm == planes[1].field_mm
    seen = []
    for side, plane in zip(Side, planes, strict=True):
        aside = -30.0 if side is Side.LEFT else 30.0
        point = pair.middle + turn @ np.array([aside, 7.0, -4.0])
        seen.append(plane.on_screen(point[None])[0])
    mirrored = [1.0, 1.0] if orientation is SAGITTAL else [-1.0, 1.0]
    np.testing.assert_allclose(seen[0], seen[1] * mirrored, atol=1e-9)
    distances = [(plane.center - pair.middle) @ turn for plane in planes]
    np.testing.assert_allclose(distances[0], distances[1] * [-1.0, 1.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("sides", [tuple(Side), (Side.LEFT,), (Side.RIGHT,)])
def test_every_picture_holds_its_box(toolbox: Any, sides: tuple[Side, ...]) -> None:
    result = toolbox.result(toolbox.head(), sides=sides, rotation=toolbox.turned(20, 1))
    pair = pair_of(result)
    for side, sinus in result.sinuses.items():
        for orientation in ORIENTATIONS:
            plane = pair.plane(side, orientation, MIDDLE)
            corners = plane.on_screen(sinus.box.corners_ras_mm())
            assert abs(corners).max() < plane.field_mm / 2


def test_a_single_box_lies_on_its_own_side(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head(), sides=(Side.RIGHT,))
    pair = pair_of(result)
    box = result.sinuses[Side.RIGHT].box
    np.testing.assert_allclose(pair.plane(Side.RIGHT, AXIAL, MIDDLE).center, box.center_ras_mm)
    left = pair.plane(Side.LEFT, CORONAL, MIDDLE).center
    assert (left - box.center_ras_mm) @ box.rotation[:, 0] < -30.0


def test_the_first_level_is_the_middle_of_the_boxes(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head())
    level = levels_of(result, pair_of(result))[0]
    assert level.finding is None
    np.testing.assert_allclose(level.place_mm, (22.0, 0.0, 0.0), atol=1e-9)


def test_the_first_level_is_the_middle_of_the_cavities_that_were_found(toolbox: Any) -> None:
    middle = toolbox.centers[Side.LEFT] + (-3.0, 5.0, 7.0)
    result = with_cavity(toolbox.result(toolbox.head()), Side.LEFT, middle)
    pair = pair_of(result)
    level = levels_of(result, pair)[0]
    np.testing.assert_allclose(level.place_mm, pair.place(Side.LEFT, middle), atol=0.5)


def test_further_levels_pass_the_largest_finding_of_each_side(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head())
    right = result.sinuses[Side.RIGHT]
    right.opacity[40:60, 40:60, 40:60] = True  # now the largest of all
    pair = pair_of(result)
    levels = levels_of(result, pair)
    assert [level.finding for level in levels] == [None, Side.RIGHT, Side.LEFT]
    for level in levels[1:]:
        assert level.finding is not None
        finding = largest_finding(result.sinuses[level.finding])
        for orientation in ORIENTATIONS:
            plane = pair.plane(level.finding, orientation, level)
            assert abs((finding - plane.center) @ plane.normal) < 1e-6


def test_a_clear_sinus_has_no_level_of_its_own(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head())
    for sinus in result.sinuses.values():
        sinus.opacity[:] = False
    assert len(levels_of(result, pair_of(result))) == 1
    assert largest_finding(result.sinuses[Side.LEFT]) is None


def test_the_largest_finding_is_a_place_inside_it(toolbox: Any) -> None:
    sinus = toolbox.result(toolbox.head()).sinuses[Side.RIGHT]
    sinus.opacity[1:3, 1:3, 1:3] = True  # a smaller part elsewhere
    expected = toolbox.centers[Side.RIGHT] + (5.0, 4.0, -6.0)
    np.testing.assert_allclose(largest_finding(sinus), expected, atol=1.0)
