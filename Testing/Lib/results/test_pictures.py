from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.panels import CAVITY, OPACITY, OUTSIDE
from ParanasalSSLLib.results.pictures import (
    GAP,
    PIXELS,
    STRIP,
    Row,
    draw_pictures,
    write_key_images,
)
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


def count(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == color).all(axis=2).sum())


def panel(row: Row, orientation: str, line: int, column: int) -> Image.Image:
    """One of the pictures within a picture of both sides; line 0 is the upper one."""
    left, top = column * (PIXELS + GAP), STRIP + line * (PIXELS + GAP)
    return dict(row.pictures)[orientation].crop((left, top, left + PIXELS, top + PIXELS))


def test_head_is_drawn_with_boxes_in_colour(toolbox: Any) -> None:
    drawn = draw_pictures(toolbox.result(toolbox.head())).boxes
    words = [words for words, _ in drawn.pictures]
    assert words == ["Axial", "Coronal", "Sagittal, right", "Sagittal, left"]
    for _, image in drawn.pictures:
        colored = np.ptp(np.asarray(image).astype(int), axis=2) > 60
        assert colored.sum() > 300


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_the_intensities_does_not_show(toolbox: Any, unit: float) -> None:
    head = toolbox.head()
    scaled = Volume(np.float32(unit) * (head.data + 50), head.affine)
    drawn = [draw_pictures(toolbox.result(volume)) for volume in (head, scaled)]
    for row, other in ((drawn[0].boxes, drawn[1].boxes), (drawn[0].residual, drawn[1].residual)):
        for (_, one), (_, two) in zip(row.pictures, other.pictures, strict=True):
            apart = abs(np.asarray(one).astype(int) - np.asarray(two))
            assert apart.max() <= 12 and apart.mean() < 0.2


def test_outlines_are_drawn_below_the_scan_alone_on_the_side_of_the_finding(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head())
    result.sinuses[Side.LEFT].opacity[:] = False
    (middle, _), (level, row) = draw_pictures(result).levels
    assert middle.finding is None and level.finding is Side.RIGHT
    for orientation in ("Axial", "Coronal", "Sagittal"):
        assert count(panel(row, orientation, 1, 0), OPACITY) > 100  # the patient's right is left
        for line, column in ((0, 0), (0, 1), (1, 1)):
            assert count(panel(row, orientation, line, column), OPACITY) == 0


def test_above_and_below_show_the_same_at_the_same_size(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head())
    for sinus in result.sinuses.values():
        sinus.opacity[:] = False
    ((_, row),) = draw_pictures(result).levels
    for orientation, _ in row.pictures:
        for column in (0, 1):
            above, below = (panel(row, orientation, line, column) for line in (0, 1))
            assert above.tobytes() == below.tobytes()


def test_a_bundle_that_outlines_no_cavity_speaks_of_none(toolbox: Any) -> None:
    for _, row in draw_pictures(toolbox.result(toolbox.head())).levels:
        assert not any(count(image, CAVITY) for _, image in row.pictures)


@pytest.mark.parametrize("side", list(Side))
def test_the_side_that_was_not_scored_keeps_its_place(toolbox: Any, side: Side) -> None:
    drawn = draw_pictures(toolbox.result(toolbox.head(), sides=(side,)))
    column = 0 if side is Side.RIGHT else 1
    (_, _), (level, row) = drawn.levels
    assert level.finding is side
    assert count(panel(row, "Axial", 1, column), OPACITY) > 100
    assert count(panel(row, "Axial", 1, 1 - column), OPACITY) == 0
    assert [w for w, _ in drawn.boxes.pictures] == ["Axial", "Coronal", f"Sagittal, {side}"]


def test_a_scan_that_ends_in_the_sinus_shows_where(toolbox: Any) -> None:
    head = toolbox.head()
    cut = Volume(head.data[:, :, 18:], head.affine @ shifted_up(18))
    ((_, row), *_) = draw_pictures(toolbox.result(cut)).levels
    assert count(panel(row, "Coronal", 0, 0), OUTSIDE) > 1000
    assert count(panel(row, "Axial", 0, 0), OUTSIDE) == 0


def shifted_up(voxels: int) -> np.ndarray:
    shift = np.eye(4)
    shift[2, 3] = voxels
    return shift


def test_key_images_are_whole_files_of_the_pictures_side_by_side(
    toolbox: Any, tmp_path: Path
) -> None:
    files = ScanFiles(tmp_path, "sub-0001")
    drawn = draw_pictures(toolbox.result(toolbox.head()))
    write_key_images(drawn, files)
    names = ["boxes", "leftfinding", "middle", "rightfinding"]
    assert sorted(tmp_path.iterdir()) == [files.slices(name) for name in names]
    for level, row in drawn.levels:
        with Image.open(files.slices(level.name)) as image:
            image.load()
            assert image.format == "PNG"
            assert image.width >= sum(picture.width for _, picture in row.pictures)
            assert image.height >= row.pictures[0][1].height
            assert not image.info.get("Software") and not image.getexif()
