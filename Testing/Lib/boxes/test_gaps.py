"""Made-up slices: told where they touch a sinus, refused where they cannot stand for what is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.gaps import GAP_LIMITS, judge_gaps
from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.volume import Provenance, Volume
from ParanasalSSLLib.sinuses import Side

BOX = SinusBox(Side.LEFT, np.array([0.0, 0.0, 0.0]))


def scan(step_mm: float, *filled: int, axis: int = 2) -> Volume:
    """Slices from -100 mm upwards along a RAS axis."""
    slices = round(200 / step_mm)
    affine = np.zeros((4, 4))
    affine[axis, 2], affine[(axis + 1) % 3, 0], affine[(axis + 2) % 3, 1] = step_mm, 10, 10
    affine[:3, 3], affine[3, 3] = -100.0, 1.0
    source = Provenance("DICOM", "MR", interpolated_slices=filled)
    return Volume(np.zeros((20, 20, slices)), affine, source)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("height_mm", "verdict"),
    [(0, "review"), (36, "review"), (-36, "review"), (42, "ok"), (-42, "ok"), (90, "ok")],
)
def test_a_gap_counts_near_the_box(height_mm: int, verdict: str, axis: int) -> None:
    quality = judge_gaps(scan(2, (height_mm + 100) // 2, axis=axis), {Side.LEFT: BOX})
    assert quality.verdict == verdict
    assert bool(quality.reasons) == (verdict == "review")


def test_each_side_is_judged_apart() -> None:
    right = SinusBox(Side.RIGHT, np.array([0.0, 0.0, 80.0]))
    quality = judge_gaps(scan(2, 49, 51), {Side.LEFT: BOX, Side.RIGHT: right})
    assert quality.reasons == (
        "2 slices at the left box were missing and made up from the neighbours: what only they "
        "showed is not there.",
    )


def test_a_wide_gap_within_the_sinus_is_refused_and_beside_it_told() -> None:
    step = GAP_LIMITS.widest_mm / 2
    assert judge_gaps(scan(step, round(100 / step)), {Side.LEFT: BOX}).verdict == "review"
    with pytest.raises(UnsupportedScan, match="left maxillary sinus"):
        judge_gaps(scan(5, 20), {Side.LEFT: BOX})
    assert judge_gaps(scan(5, 26), {Side.LEFT: BOX}).verdict == "review"


def test_a_large_box_is_judged_too() -> None:
    box = SinusBox(Side.LEFT, np.zeros(3), edge_mm=128)
    assert judge_gaps(scan(2, 80), {Side.LEFT: box}).verdict == "review"


def test_a_scan_without_gaps_is_ok_without_words() -> None:
    quality = judge_gaps(scan(2), {Side.LEFT: BOX})
    assert (quality.verdict, quality.reasons) == ("ok", ())


def test_a_block_of_a_scan_knows_its_made_up_slices(toolbox: Any) -> None:
    block = scan(2, 10, 40).cut(np.array([0, 0, 20]), np.array([20, 20, 60]))
    assert block.provenance.interpolated_slices == (20,)
