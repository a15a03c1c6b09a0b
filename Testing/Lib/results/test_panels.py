"""What is drawn lies where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.results.panels import (
    CAVITY,
    OPACITY,
    OUTSIDE,
    WHITE,
    draw_box,
    draw_outline,
    draw_residual,
    draw_scale,
    draw_scan,
)
from ParanasalSSLLib.results.planes import AXIAL, CORONAL, ORIENTATIONS, Orientation, Plane
from ParanasalSSLLib.sinuses import Side

FIELD_MM, PIXELS = 80.0, 320
PIXEL_MM = FIELD_MM / PIXELS


def plane_at(center: Any, orientation: Orientation = AXIAL) -> Plane:
    return Plane.through(np.asarray(center, float), np.eye(3), orientation, FIELD_MM)


def black() -> Image.Image:
    return Image.new("RGB", (PIXELS, PIXELS))


def places_of(image: Image.Image, color: tuple[int, int, int], plane: Plane) -> np.ndarray:
    """(N, 3) RAS mm of the pixels of that colour."""
    rows, columns = np.nonzero((np.asarray(image) == color).all(axis=2))
    index = np.stack([PIXELS - 1 - rows, columns, 0 * rows], axis=1)
    return plane.grid(PIXELS).to_world(index)


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_outlines_lie_at_the_edge_of_the_mask(orientation: Orientation, within: bool) -> None:
    """A ball of 15 mm: every pixel of its outline is within 1 mm of its surface, on the right side."""
    center = np.array([20.0, 55.0, -50.0])
    grid = Grid.around(center, np.eye(3), (64, 64, 64))
    voxels = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    ball = np.linalg.norm(voxels - center, axis=-1) < 15.0
    plane = plane_at(center + np.array([4.0, -3.0, 5.0]), orientation)
    image = black()
    draw_outline(image, plane, ball, grid, CAVITY, within=within)
    drawn = places_of(image, CAVITY, plane)
    away = np.linalg.norm(drawn - center, axis=1) - 15.0
    assert len(drawn) > 300
    assert abs(away).max() < 1.2 and (away.mean() < 0) == within


def test_outlines_at_the_same_edge_are_both_seen() -> None:
    grid = Grid.around(np.zeros(3), np.eye(3), (64, 64, 64))
    mask = np.zeros(grid.shape, bool)
    mask[20:44, 20:44, 20:44] = True
    image = black()
    draw_outline(image, plane_at(np.zeros(3)), mask, grid, CAVITY, within=False)
    alone = (np.asarray(image) == CAVITY).all(axis=2).sum()
    draw_outline(image, plane_at(np.zeros(3)), mask, grid, OPACITY, within=True)
    assert (np.asarray(image) == CAVITY).all(axis=2).sum() > 0.6 * alone
    assert (np.asarray(image) == OPACITY).all(axis=2).sum() > 0.6 * alone


@pytest.mark.parametrize(
    "seen",
    [
        np.eye(3),
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ],
    ids=["all colours", "deuteranopia", "protanopia", "tritanopia"],
)
def test_the_two_outlines_differ_for_the_colour_blind_and_from_grey(seen: Any) -> None:
    """Linear RGB as it is seen (Machado, Oliveira, Fernandes 2009): other colour, not other grey."""
    chroma = []
    for color in (CAVITY, OPACITY):
        linear = np.clip(np.asarray(seen) @ (np.array(color) / 255) ** 2.2, 0, 1)
        chroma.append(linear - linear.mean())
    assert min(np.linalg.norm(c) for c in chroma) > 0.2
    assert np.dot(*chroma) < 0  # of opposite hue


def test_an_outline_where_the_plane_misses_the_mask_is_not_drawn() -> None:
    grid = Grid.around(np.zeros(3), np.eye(3), (16, 16, 16))
    image = black()
    draw_outline(image, plane_at((0, 0, 20)), np.ones(grid.shape, bool), grid, CAVITY, within=True)
    assert not np.asarray(image).any()


def test_the_scale_is_as_long_as_it_says() -> None:
    image = black()
    draw_scale(image, plane_at(np.zeros(3)), 10)
    white = (np.asarray(image) == WHITE).all(axis=2)
    longest = max(np.diff(np.flatnonzero(np.diff(np.pad(row, 1)))).max(initial=0) for row in white)
    assert longest * PIXEL_MM == pytest.approx(10.0, abs=PIXEL_MM)


def test_what_the_scan_does_not_hold_is_no_air(toolbox: Any) -> None:
    head = toolbox.head()
    bottom = head.to_world(np.array([48.0, 36.0, 0.0]))
    plane = plane_at(bottom, CORONAL)
    image = np.asarray(draw_scan(plane, head, (0.0, 100.0), PIXELS))
    outside = (image == OUTSIDE).all(axis=2)
    edge = PIXELS // 2 + round(1.0 / PIXEL_MM)  # half a voxel of 2 mm below the lowest centres
    assert outside[edge + 2 :].all() and not outside[: edge - 2].any()


def test_letters_and_rows_agree_up_is_up(toolbox: Any) -> None:
    """The air ball of a sinus is drawn above the middle when the plane's centre lies below it."""
    center = toolbox.centers[Side.LEFT]
    image = draw_scan(plane_at(center - (0, 0, 15), CORONAL), toolbox.head(), (0, 100), PIXELS)
    rows, _ = ndimage.center_of_mass(np.asarray(image)[..., 0] < 50)
    assert rows * PIXEL_MM == pytest.approx(FIELD_MM / 2 - 15, abs=1.0)


def test_a_box_is_drawn_around_its_place() -> None:
    box = SinusBox(Side.LEFT, np.array([5.0, 3.0, -2.0]))
    plane = plane_at(np.zeros(3))
    image = black()
    draw_box(image, plane, box, (255, 0, 0))
    drawn = places_of(image, (255, 0, 0), plane)
    np.testing.assert_allclose(drawn.min(axis=0)[:2], (-27, -29), atol=1.0)
    np.testing.assert_allclose(drawn.max(axis=0)[:2], (37, 35), atol=1.0)


def test_no_residual_leaves_the_scan_as_it_is() -> None:
    grid = Grid.around(np.zeros(3), np.eye(3), (64, 64, 64))
    residual = np.zeros(grid.shape, np.float32)
    residual[:32] = 0.4
    image = Image.new("RGB", (PIXELS, PIXELS), (90, 90, 90))
    draw_residual(image, plane_at(np.zeros(3)), residual, grid)
    colored = places_of(image, (90, 90, 90), plane_at(np.zeros(3)))
    inside = abs(colored[:, :2]).max(axis=1) < 30
    assert inside.any() and (colored[inside, 0] > -2.0).all()
