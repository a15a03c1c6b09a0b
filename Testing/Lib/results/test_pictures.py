from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from ParanasalSSLLib.results.pictures import head_picture, side_picture
from ParanasalSSLLib.sinuses import Side


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_head_is_drawn_with_boxes_in_colour(toolbox: Any) -> None:
    picture = pixels(head_picture(toolbox.result(toolbox.head())))
    assert picture.std() > 20
    assert (np.ptp(picture, axis=2) > 60).sum() > 300


def test_residual_and_outline_are_drawn_below_the_scan_alone(toolbox: Any) -> None:
    picture = pixels(side_picture(toolbox.result(toolbox.head()), Side.LEFT))
    assert picture.std() > 20
    colored = np.ptp(picture, axis=2) > 60
    half = len(picture) // 2
    assert colored[half:].sum() > 10 * colored[:half].sum() > 0  # above: letters only
