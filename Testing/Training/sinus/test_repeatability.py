"""Positions of a head, and what is said of the spread over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.sinus.repeatability import (
    AS_IT_IS,
    POSITIONS,
    against_as_it_is,
    between_contrasts,
    note_in_card,
    spread,
    summary,
)

from ParanasalSSLLib.model.card import Repeatability
from ParanasalSSLLib.scans.volume import Volume


def head() -> Volume:
    """Smooth, with one bright place at (7, -4, 5) mm."""
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (30, -30, -30)
    index = np.indices((32, 30, 28)).reshape(3, -1)
    ras = (affine[:3, :3] @ index + affine[:3, 3:]).T
    data = np.exp(-((ras - (7, -4, 5)) ** 2).sum(axis=1) / 50).reshape(32, 30, 28)
    return Volume(data, affine)


def bright_place(volume: Volume) -> np.ndarray:
    weights = volume.data**4
    index = [(axis * weights).sum() / weights.sum() for axis in np.indices(volume.shape)]
    return volume.to_world(np.array(index))


@pytest.mark.parametrize("name", POSITIONS)
def test_the_same_head_lies_where_the_position_says(name: str) -> None:
    moved = POSITIONS[name](head())
    place = bright_place(moved)
    middle = head().center_ras_mm
    if name == "mirrored":
        assert place == pytest.approx((-7, -4, 5), abs=0.1)
    elif "degrees" in name:
        assert np.linalg.norm(place - middle) == pytest.approx(
            np.linalg.norm(np.array((7, -4, 5)) - middle), abs=0.1
        )
        assert np.linalg.norm(place - (7, -4, 5)) > 0.5
    else:
        assert place == pytest.approx((7, -4, 5), abs=0.1)
    assert (moved.shape != head().shape) == (name in ("stored otherwise", "voxels a fifth larger"))


def table() -> pd.DataFrame:
    """Two scans of a head; the second position has 10 % more of everything."""
    rows = []
    for scan in ("sub-01_T1w", "sub-01_FLAIR"):
        for position, more in ((AS_IT_IS, 1.0), ("mirrored", 1.1)):
            for side in ("left", "right"):
                row = {"head": "sub-01", "scan": scan, "side": side, "position": position}
                painted = side == "left"
                numbers = (20 * more, 3 * more * painted, 0.5 * more)
                rows.append(row | {"painted": painted} | dict(zip(NAMES, numbers, strict=True)))
    return pd.DataFrame(rows)


NAMES = ("cavity_ml", "opacity_ml", "probability")


def test_spread_is_a_standard_deviation_in_per_cent() -> None:
    found = spread(table())
    expected = np.std([20, 22], ddof=1) / 21 * 100
    assert found.cavity_percent == found.opacity_percent == pytest.approx(expected, abs=0.05)
    assert found.probability == pytest.approx(np.std([0.5, 0.55], ddof=1), abs=0.001)


def test_differences_are_told_for_each_position_and_contrast() -> None:
    mirrored = against_as_it_is(table()).set_index("position").loc["mirrored"]
    assert mirrored["sides"] == 4
    assert mirrored["cavity_most"] == mirrored["opacity_mean"] == pytest.approx(10)
    assert between_contrasts(table())["scan"].tolist() == ["sub-01_T1w", "sub-01_FLAIR"]
    text = summary(table(), spread(table()))
    assert "| mirrored | 4 | 10.0 (10.0) |" in text and "| sub-01 | sub-01_FLAIR | 20.0 |" in text


def test_figures_go_into_a_bundles_card(tmp_path: Path) -> None:
    card = tmp_path / "bundle.json"
    card.write_text(json.dumps({"name": "x", "sinus": {"members": 1}}))
    note_in_card(tmp_path, Repeatability(4.0, 9.0, 0.05))
    assert json.loads(card.read_text()) == {
        "name": "x",
        "sinus": {
            "members": 1,
            "repeatability": {"cavity_percent": 4.0, "opacity_percent": 9.0, "probability": 0.05},
        },
    }
