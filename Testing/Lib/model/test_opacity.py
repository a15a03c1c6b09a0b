"""Measures of a sinus from the network's maps, on shapes of known size."""

from __future__ import annotations

import numpy as np
import pytest

from ParanasalSSLLib.model.opacity import measure_sinus
from ParanasalSSLLib.sinuses import Grade

EVERYWHERE = np.ones((64, 64, 64), bool)


def box(low: int, high: int) -> np.ndarray:
    """A cube of probability 1 from `low` to `high` (not included) along each axis."""
    cube = np.zeros((64, 64, 64), np.float32)
    cube[low:high, low:high, low:high] = 1
    return cube


def test_volumes_depth_and_fraction_of_a_half_filled_cube() -> None:
    cavity = box(20, 40)
    opacity = cavity.copy()
    opacity[:, :, 30:] = 0
    measures = measure_sinus(cavity, opacity, EVERYWHERE)
    assert measures.cavity_ml == pytest.approx(8.0)
    assert measures.opacity_ml == pytest.approx(4.0)
    assert measures.filled_fraction == pytest.approx(0.5)
    assert measures.depth_mm == pytest.approx(10.0)
    assert measures.evidence > 0.95


def test_opacity_outside_the_cavity_counts_for_nothing() -> None:
    measures = measure_sinus(box(20, 40), box(45, 60), EVERYWHERE)
    assert measures.opacity_ml == 0
    assert measures.findings == ()
    assert measures.evidence < 0.05


def test_findings_come_largest_first_with_their_diameter() -> None:
    opacity = np.zeros((64, 64, 64), np.float32)
    opacity[20:30, 20:25, 20:25] = 1
    opacity[35:40, 35:40, 34:40] = 1
    first, second = measure_sinus(box(18, 42), opacity, EVERYWHERE).findings
    assert first.ml == pytest.approx(0.25)
    assert second.ml == pytest.approx(0.15)
    assert first.diameter_mm == pytest.approx(np.sqrt(9**2 + 4**2 + 4**2) + 1)
    assert first.centre == pytest.approx((24.5, 22.0, 22.0))


def test_what_the_image_does_not_show_is_not_measured() -> None:
    seen = EVERYWHERE.copy()
    seen[:, :, :30] = False
    measures = measure_sinus(box(20, 40), box(20, 40), seen)
    assert measures.cavity_ml == measures.opacity_ml == pytest.approx(4.0)


def test_no_cavity_no_measures() -> None:
    nothing = np.zeros((64, 64, 64), np.float32)
    measures = measure_sinus(nothing, nothing, EVERYWHERE)
    assert (measures.cavity_ml, measures.filled_fraction, measures.evidence) == (0, 0, 0)


def test_grade_never_contradicts_the_decision() -> None:
    full, half = box(20, 40), box(20, 40)
    half[:, :, 30:] = 0
    for opacity in (full, half, np.zeros_like(full)):
        measures = measure_sinus(box(20, 40), opacity, EVERYWHERE)
        assert measures.grade(anomalous=False) == Grade.CLEAR
        assert measures.grade(anomalous=True) > Grade.CLEAR


def test_grade_is_complete_only_where_hardly_any_air_is_left() -> None:
    cavity = box(20, 40)
    without_edge, with_pocket = box(21, 39), box(20, 40)
    with_pocket[30:40, 30:40, 30:40] = 0
    grades = [
        measure_sinus(cavity, opacity, EVERYWHERE).grade(anomalous=True)
        for opacity in (cavity, without_edge, with_pocket)
    ]
    assert grades == [Grade.COMPLETE, Grade.COMPLETE, Grade.PARTIAL]
