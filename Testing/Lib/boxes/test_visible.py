"""How much of a sinus an image shows."""

from __future__ import annotations

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.visible import shown_grid, visible_fraction
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

VOLUME = Volume(np.ones((100, 100, 100), np.float32), np.eye(4))


@pytest.mark.parametrize(
    ("height", "expected"), [(50.0, 1.0), (-0.5, 0.5), (8.45, 0.84), (-30.0, 0.0)]
)
def test_a_sinus_at_the_lower_edge(height: float, expected: float) -> None:
    """An ellipsoid cut at t of its half height shows (2 + 3 t - t^3) / 4; t = 8.95 / 17.9."""
    box = SinusBox(Side.LEFT, np.array([50.0, 50.0, height]))
    assert visible_fraction(box, VOLUME) == pytest.approx(expected, abs=0.04)


def test_the_scan_s_axes_do_not_matter() -> None:
    affine = np.array([[0, -1.0, 0, 60], [0, 0, 2, -100], [1, 0, 0, -50], [0, 0, 0, 1]])
    volume = Volume(np.zeros((100, 120, 110), np.float32), affine)
    assert visible_fraction(SinusBox(Side.LEFT, volume.center_ras_mm), volume) == 1.0
    end = volume.center_ras_mm + np.array([0, 110, 0])  # of the third axis
    assert visible_fraction(SinusBox(Side.LEFT, end), volume) == pytest.approx(0.5, abs=0.04)


def test_slices_that_were_filled_up_show_nothing() -> None:
    data = np.random.default_rng(0).normal(size=(20, 20, 30)).astype(np.float32)
    data[:, :, :7] = 0.0
    shown = shown_grid(Volume(data, np.diag([2.0, 2.0, 2.0, 1.0])))
    assert shown.shape == (20, 20, 23)
    np.testing.assert_allclose(shown.to_world(np.zeros(3)), [0, 0, 14])


def test_an_image_of_one_value_is_left_as_it_is() -> None:
    assert shown_grid(VOLUME).shape == VOLUME.shape
