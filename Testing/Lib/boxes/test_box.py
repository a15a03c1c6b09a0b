"""The box's geometry, and which side it says it is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.boxes.box import SinusBox, refuse_swapped_sides
from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.sinuses import Side

CENTERS = {Side.LEFT: (-24.5, 61.0, -55.25), Side.RIGHT: (21.0, 60.0, -57.5)}


def turn(x: float = 8.0, y: float = -5.0, z: float = 12.0) -> np.ndarray:
    """(3, 3) rotation, degrees."""
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(euler.GetMatrix()).reshape(3, 3)


def test_swapped_sides_follow_the_head_not_the_room() -> None:
    lying = turn(0, 0, 180)  # the head's right is the room's left
    boxes = {side: SinusBox(side, lying @ np.array(CENTERS[side]), lying) for side in Side}
    refuse_swapped_sides(boxes, "boxes")
    swapped = {side: SinusBox(side, boxes[other].center_ras_mm, lying) for side, other in
               zip(Side, reversed(Side), strict=True)}  # fmt: skip
    with pytest.raises(BadBoxes, match="patient's"):
        refuse_swapped_sides(swapped, "boxes")


def test_corners_and_transform() -> None:
    box = SinusBox(Side.LEFT, np.array(CENTERS[Side.LEFT]), turn())
    corners = box.corners_ras_mm()
    in_box = np.linalg.inv(box.box_to_ras) @ np.column_stack([corners, np.ones(8)]).T
    assert {tuple(c) for c in np.rint(in_box[:3].T).astype(int).tolist()} == {
        (x, y, z) for x in (-32, 32) for y in (-32, 32) for z in (-32, 32)
    }


def test_a_box_is_where_it_is_within_what_files_can_hold() -> None:
    box = SinusBox(Side.LEFT, np.array(CENTERS[Side.LEFT]), turn())
    rounded = SinusBox(Side.LEFT, box.center_ras_mm.round(3), box.rotation.round(6))
    assert box.is_at(rounded)
    assert not box.is_at(SinusBox(Side.LEFT, box.center_ras_mm + 0.1, box.rotation))
    assert not box.is_at(SinusBox(Side.LEFT, box.center_ras_mm, turn(9.0)))
