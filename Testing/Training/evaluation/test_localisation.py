"""Views of a head move its cavities with its image; the summary counts what is wrong and unsaid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from paranasal_training.evaluation.localisation import REFUSED, markdown, summarise
from paranasal_training.evaluation.moved_heads import CHILDREN, Head, views
from scipy import ndimage

from ParanasalSSLLib.geometry import apply_affine
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

CENTERS = {Side.LEFT: np.array([-22.0, 40, -30]), Side.RIGHT: np.array([22.0, 42, -31])}
FRAME = np.array([[1.0, 0, 0, 0], [0, 1, 0, 41], [0, 0, 1, -30.5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def head() -> Head:
    """Two balls of different brightness in a grid of 2 mm whose axes run to L, P, S."""
    affine = np.array([[-2.0, 0, 0, 99], [0, -2, 0, 119], [0, 0, 2, -79], [0, 0, 0, 1]])
    index = np.indices((100, 110, 90)).reshape(3, -1).T
    ras = apply_affine(affine, index)
    data = np.zeros(len(ras), np.float32)
    cavities = {}
    for side, value in ((Side.LEFT, 100.0), (Side.RIGHT, 200.0)):
        inside = np.linalg.norm(ras - CENTERS[side], axis=1) < 12
        data[inside], cavities[side] = value, ras[inside]
    return Head(Volume(data.reshape(100, 110, 90), affine), cavities, FRAME)


@pytest.mark.parametrize("name", views())
def test_a_view_moves_the_cavities_with_the_image(head: Head, name: str) -> None:
    view = views()[name](head)
    for side, value in ((Side.LEFT, 100.0), (Side.RIGHT, 200.0)):
        points = view.cavities[side]
        points = points[view.volume.contains(points)]
        index = view.volume.to_index(points).T
        sampled = ndimage.map_coordinates(view.volume.data, index, order=1, mode="nearest")
        assert np.median(sampled) == pytest.approx(value, rel=0.05)
    to_right = view.center(Side.RIGHT) - view.center(Side.LEFT)
    assert to_right @ view.frame[:3, 0] > 30
    middle = (view.center(Side.LEFT) + view.center(Side.RIGHT)) / 2
    if name not in CHILDREN:  # there the frame stays an adult's
        np.testing.assert_allclose(middle, view.frame[:3, 3], atol=1.0)


def test_a_cut_leaves_what_it_says(head: Head) -> None:
    for visible in (0.8, 0.4):
        view = views()[f"cut, {visible:.0%} visible"](head)
        parts = [view.visible(side) for side in Side]
        assert np.mean(parts) == pytest.approx(visible, abs=0.08)


def test_a_child_s_sinuses_lie_nearer_to_its_orbits(head: Head) -> None:
    heights = [view(head).frame[2, 3] for name, view in views().items() if name == "as is"]
    for name, child in CHILDREN.items():
        low = views()[name](head).center(Side.LEFT)[2] / child.size
        assert low > heights[0] - 1 + (1 - child.height) * 20


def test_proportions_have_a_way_back() -> None:
    points = np.random.default_rng(0).uniform(-90, 90, (200, 3))
    for child in CHILDREN.values():
        np.testing.assert_allclose(child.sources(child.moved(points)), points, atol=0.1)


def test_the_summary_counts_what_is_wrong_and_unsaid() -> None:
    table = pd.DataFrame(
        {
            "view": ["nods -30", "nods +30", "nods +30", "as is"],
            "verdict": ["ok", "review", REFUSED, "ok"],
            "registered_mm": [20.0, 20.0, 50.0, 3.0],
            "error_mm": [13.0, 14.0, 50.0, 2.0],
            "visible": [1.0, 1.0, 0.2, 1.0],
            "told": [1.0, 0.9, 0.1, 1.0],
        }
    )
    summary = summarise(table)
    nods = summary.loc["nods"]
    assert (nods["refused"], nods["over 12 mm, review"], nods["over 12 mm, ok"]) == (1, 1, 1)
    assert summary.loc["as is", "largest mm"] == 2.0 and summary.loc["all", "sides"] == 4
    assert markdown(summary).count("\n") == 5
