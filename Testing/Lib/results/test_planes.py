from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.results.planes import (
    AXIAL,
    CORONAL,
    ORIENTATIONS,
    SAGITTAL,
    Orientation,
    Plane,
)
from ParanasalSSLLib.sinuses import Side

TOWARDS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("axes", ["RAS", "LPI", "ASL"])
def test_letters_say_where_picture_points_lie(
    toolbox: Any, orientation: Orientation, axes: str
) -> None:
    """A lamp that lies towards a letter shines at that letter's edge of the picture."""
    left, right, top, bottom = orientation.letters
    edges = {left: (32, 8), right: (32, 56), top: (56, 32), bottom: (8, 32)}
    lamp = toolbox.head(axes)
    for letter, row_and_column in edges.items():
        away = np.zeros(3)
        away[TOWARDS[letter]] = 24.0 if letter in "RAS" else -24.0
        middle = lamp.center_ras_mm
        shining = distance_map(lamp, middle + away) < 4
        plane = Plane.through(middle, np.eye(3), orientation, field_mm=64.0)
        picture = plane.sample(shining.astype(np.float32), lamp, 64)
        brightest = np.argwhere(picture > 0.5).mean(axis=0)
        np.testing.assert_allclose(brightest, row_and_column, atol=1.5)


def test_radiological_convention() -> None:
    """The patient's right is on the viewer's left, the front is up; in sagittal planes left."""
    assert AXIAL.letters == ("R", "L", "A", "P")
    assert CORONAL.letters == ("R", "L", "S", "I")
    assert SAGITTAL.letters == ("A", "P", "S", "I")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_plane_cuts_a_box_of_its_own_frame_in_a_square(
    toolbox: Any, orientation: Orientation
) -> None:
    rotation = toolbox.turned(20, 0) @ toolbox.turned(10, 2)
    box = SinusBox(Side.LEFT, np.array([-20.0, 60.0, -50.0]), rotation)
    corners = Plane.through(box.center_ras_mm, rotation, orientation, 90.0).cut(box)
    assert corners.shape == (4, 2)
    np.testing.assert_allclose(np.abs(corners), 32.0, atol=1e-9)


def test_plane_beside_a_box_does_not_cut_it() -> None:
    box = SinusBox(Side.LEFT, np.zeros(3))
    plane = Plane.through(np.array([0.0, 0.0, 40.0]), np.eye(3), AXIAL, 90.0)
    assert len(plane.cut(box)) == 0


def test_oblique_plane_cuts_a_box_in_a_convex_polygon(toolbox: Any) -> None:
    box = SinusBox(Side.LEFT, np.zeros(3))
    corners = Plane.through(
        np.zeros(3), toolbox.turned(45, 0) @ toolbox.turned(35, 1), AXIAL, 90.0
    ).cut(box)
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    assert len(corners) == 6 and ((turns > 0).all() or (turns < 0).all())


def distance_map(volume: Any, ras: np.ndarray) -> np.ndarray:
    index = np.indices(volume.shape).reshape(3, -1)
    places = (volume.affine[:3, :3] @ index + volume.affine[:3, 3:]).T
    return np.linalg.norm(places - ras, axis=1).reshape(volume.shape)
