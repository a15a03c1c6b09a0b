"""Findings of known shape: the wall that they lie on and their form."""

from __future__ import annotations

import numpy as np
import pytest

from ParanasalSSLLib.model.findings import Finding, count_lobes, find_findings
from ParanasalSSLLib.sinuses import Form, Wall

EVERYWHERE = np.ones((64, 64, 64), bool)
X, Y, Z = np.indices((64, 64, 64)) - 31.5
TOWARDS = {
    Wall.LATERAL: -X,
    Wall.MEDIAL: X,
    Wall.BACK: -Y,
    Wall.FRONT: Y,
    Wall.FLOOR: -Z,
    Wall.ROOF: Z,
}
CUBE = np.maximum(np.maximum(abs(X), abs(Y)), abs(Z)) < 15
BALL = X**2 + Y**2 + Z**2 < 16**2


def ball(center: tuple[float, float, float], radius: float) -> np.ndarray:
    return (X - center[0]) ** 2 + (Y - center[1]) ** 2 + (Z - center[2]) ** 2 < radius**2


def only(filled: np.ndarray, cavity: np.ndarray, inside: np.ndarray = EVERYWHERE) -> Finding:
    """The one finding that there is."""
    _, [finding] = find_findings(filled & cavity, cavity, inside, 1.0)
    return finding


@pytest.mark.parametrize("wall", Wall)
@pytest.mark.parametrize("cavity", [CUBE, BALL], ids=["cube", "ball"])
def test_a_layer_on_a_wall_is_a_band(wall: Wall, cavity: np.ndarray) -> None:
    finding = only(TOWARDS[wall] > 11, cavity)
    assert (finding.wall, finding.form) == (wall, Form.BAND)


@pytest.mark.parametrize("wall", Wall)
@pytest.mark.parametrize("radius", [6, 8, 10])
def test_half_a_ball_on_a_wall_is_a_dome(wall: Wall, radius: int) -> None:
    height = 15 - TOWARDS[wall]
    finding = only(height**2 + (X**2 + Y**2 + Z**2 - TOWARDS[wall] ** 2) < radius**2, CUBE)
    assert (finding.wall, finding.form) == (wall, Form.DOME)
    assert finding.depth_mm == pytest.approx(radius, abs=1)


def test_a_dome_on_a_slanting_wall_is_a_dome() -> None:
    slanting = CUBE & (X + Z < 4)
    assert only(ball((2, 0, 2), 8), slanting).form == Form.DOME


def test_a_band_on_a_slanting_wall_is_a_band() -> None:
    slanting = CUBE & (X + 2 * Z > 0)  # the wall looks down more than outwards
    finding = only(X + 2 * Z < 7, slanting)
    assert (finding.wall, finding.form) == (Wall.FLOOR, Form.BAND)


@pytest.mark.parametrize("depth", [3, 5, 8])
def test_thickening_all_round_is_a_band(depth: int) -> None:
    assert only((16 - depth) ** 2 < X**2 + Y**2 + Z**2, BALL).form == Form.BAND


def test_several_lobes_are_lobulated() -> None:
    lobes = ball((-5, 0, -9), 6) | ball((5, 0, -9), 6) | ball((0, 0, -1), 5)
    assert only(lobes, CUBE).form == Form.LOBULATED


def test_a_head_on_a_narrow_stalk_is_one_lobe() -> None:
    stalk = (abs(X) < 2) & (abs(Y) < 2) & (Z < 0)
    finding = only(ball((0, 0, 3), 6) | stalk, CUBE)
    assert (finding.wall, finding.form) == (Wall.FLOOR, Form.DOME)


@pytest.mark.parametrize(("apart", "lobes"), [(2, 1), (6, 1), (9, 2), (11, 2)])
def test_lobes_are_told_apart_by_their_waist(apart: float, lobes: int) -> None:
    assert count_lobes(ball((-apart / 2, 0, 0), 6) | ball((apart / 2, 0, 0), 6), 1.0) == lobes


def test_a_level_of_fluid_is_a_dome() -> None:
    finding = only(Y < -4, BALL)
    assert (finding.wall, finding.form) == (Wall.BACK, Form.DOME)


@pytest.mark.parametrize("unmarked_mm", [0, 1])
def test_a_full_sinus_is_complete_though_its_edge_is_not_marked(unmarked_mm: int) -> None:
    assert only((16 - unmarked_mm) ** 2 > X**2 + Y**2 + Z**2, BALL).form == Form.COMPLETE


def test_a_sinus_with_a_pocket_of_air_is_not_complete() -> None:
    assert only(~ball((0, 0, 6), 8), BALL).form != Form.COMPLETE


def test_the_edge_of_the_image_is_no_wall() -> None:
    seen = Z > -8
    finding = only((Z < -4) & (X < -8), CUBE & seen, seen)
    assert finding.wall == Wall.LATERAL


def test_what_hangs_in_the_air_lies_on_no_wall() -> None:
    assert only(ball((0, 0, 0), 5), CUBE).wall is None


def test_findings_come_largest_first_and_small_ones_not_at_all() -> None:
    filled = ball((-8, 0, 0), 4) | ball((8, 0, 0), 5) | ball((0, 10, 0), 2)
    kept, findings = find_findings(filled, CUBE, EVERYWHERE, 1.0)
    assert np.array_equal(kept, filled & ~ball((0, 10, 0), 2))
    assert [round(finding.centre[0] - 31.5) for finding in findings] == [8, -8]
