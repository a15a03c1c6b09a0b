from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ParanasalSSLLib.results.pictures import head_picture, side_picture
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_head_is_drawn_with_boxes_in_colour(toolbox: Any) -> None:
    picture = pixels(head_picture(toolbox.result(toolbox.head())))
    assert picture.std() > 20
    assert (np.ptp(picture, axis=2) > 60).sum() > 300


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_the_intensities_does_not_show(toolbox: Any, unit: float) -> None:
    head = toolbox.head()
    scaled = Volume(np.float32(unit) * (head.data + 50), head.affine)
    for draw in (head_picture, lambda result: side_picture(result, Side.LEFT)):
        one, other = (pixels(draw(toolbox.result(volume))) for volume in (head, scaled))
        assert abs(one - other).max() <= 8 and abs(one - other).mean() < 0.1


def test_residual_and_outline_are_drawn_below_the_scan_alone(toolbox: Any) -> None:
    picture = pixels(side_picture(toolbox.result(toolbox.head()), Side.LEFT))
    assert picture.std() > 20
    colored = np.ptp(picture, axis=2) > 60
    half = len(picture) // 2
    assert colored[half:].sum() > 10 * colored[:half].sum() > 0  # above: letters only
