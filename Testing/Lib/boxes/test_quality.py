"""Every threshold of the quality check: ok, review and failed, with words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, judge_given
from ParanasalSSLLib.boxes.quality import (
    NOT_JUDGED,
    THRESHOLDS,
    Evidence,
    Quality,
    QualityThresholds,
    inside_fraction,
    judge_evidence,
    judge_place,
    worst_of,
)
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

GOOD: dict[str, Any] = {
    "mutual_information": 0.7,
    "start_distance_mm": 1.0,
    "scale": (1.0, 1.05, 0.97),
    "shear": 0.02,
    "rotation_deg": 8.0,
    "tissue_fraction": 0.9,
    "stretch_ratio": 1.1,
}


INSIDE = {Side.LEFT: 1.0, Side.RIGHT: 0.98}


def judged(
    inside_fraction: dict[Side, float] = INSIDE,
    limits: QualityThresholds = THRESHOLDS,
    **changes: Any,
) -> Quality:
    return judge_evidence(Evidence(**(GOOD | changes)), inside_fraction, limits)


def both(share: float) -> dict[Side, float]:
    return {Side.LEFT: 1.0, Side.RIGHT: share}


T = THRESHOLDS
# figure, still ok, to be reviewed, failed, a word of the sentence
CASES = [
    (
        "mutual_information",
        T.review_mutual_information + 0.01,
        (T.review_mutual_information + T.failed_mutual_information) / 2,
        T.failed_mutual_information - 0.01,
        "resembles",
    ),
    (
        "start_distance_mm",
        T.review_start_distance_mm - 0.5,
        T.review_start_distance_mm + 0.5,
        T.failed_start_distance_mm + 0.5,
        "mm apart",
    ),
    ("scale", (1, 1, 1.27), (1, 1, 1.30), (1, 1, 1.62), "unusual size"),
    ("scale", (0.79, 1, 1), (0.77, 1, 1), (0.59, 1, 1), "unusual size"),
    ("stretch_ratio", 1.24, 1.26, 1.31, "distorted"),
    ("rotation_deg", 44.0, 46.0, 76.0, "turned by"),
    ("inside_fraction", both(0.89), both(0.87), both(0.59), "right box"),
    ("tissue_fraction", 0.73, 0.71, 0.49, "face"),
]


def test_good_evidence_is_ok_without_words() -> None:
    quality = judged()
    assert (quality.verdict, quality.reasons) == ("ok", ())


@pytest.mark.parametrize(("figure", "fine", "doubtful", "bad", "word"), CASES)
def test_each_threshold(figure: str, fine: Any, doubtful: Any, bad: Any, word: str) -> None:
    assert judged(**{figure: fine}).verdict == "ok"
    for value, verdict in ((doubtful, "review"), (bad, "failed")):
        quality = judged(**{figure: value})
        assert quality.verdict == verdict
        assert len(quality.reasons) == 1
        assert word in quality.reasons[0] and quality.reasons[0].endswith(".")
        measured = quality if figure == "inside_fraction" else quality.evidence
        assert getattr(measured, figure) == value


@pytest.mark.parametrize(
    "figure", ["mutual_information", "start_distance_mm", "stretch_ratio", "rotation_deg"]
)
def test_a_figure_that_is_no_number_fails(figure: str) -> None:
    quality = judged(**{figure: float("nan")})
    assert quality.verdict == "failed" and len(quality.reasons) == 1


def test_all_reasons_are_told_and_the_worst_decides() -> None:
    quality = judged(stretch_ratio=1.28, rotation_deg=50.0, tissue_fraction=0.3)
    assert quality.verdict == "failed"
    assert len(quality.reasons) == 3


def test_thresholds_can_be_changed() -> None:
    strict = QualityThresholds(review_rotation_deg=5.0)
    assert judged(limits=strict).verdict == "review"


@pytest.mark.parametrize("scale", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0)])
def test_collapsed_or_mirrored_heads_fail(scale: tuple[float, float, float]) -> None:
    assert judged(scale=scale).verdict == "failed"


def test_json_holds_plain_rounded_numbers() -> None:
    quality = judged(
        mutual_information=np.float64(0.71234), shear=np.float32(0.02), scale=(1.00049, 1, 1)
    )
    content = json.loads(json.dumps(quality.to_json(), allow_nan=False))
    assert content["evidence"]["mutual_information"] == 0.712
    assert content["evidence"]["shear"] == 0.02
    assert content["evidence"]["scale"] == [1.0, 1, 1]
    assert content["inside_fraction"] == {"left": 1.0, "right": 0.98}
    assert (content["verdict"], content["reasons"]) == ("ok", [])


def test_json_says_nothing_of_what_was_not_measured() -> None:
    content = Quality("ok", ("The boxes were placed by hand.",)).to_json()
    assert content == {"verdict": "ok", "reasons": ["The boxes were placed by hand."]}
    assert Quality.from_json(content) == Quality("ok", ("The boxes were placed by hand.",))


def test_the_worst_of_several_has_every_reason_once() -> None:
    ok, review = judged(), judged(rotation_deg=50.0)
    failed = Quality("failed", ("Nothing there.", *review.reasons))
    worst = worst_of([ok, review, failed])
    assert worst.verdict == "failed"
    assert worst.reasons == (*review.reasons, "Nothing there.")
    assert worst.evidence == review.evidence


# ------------------------------------------------------------------------------- hand boxes

VOLUME = Volume(np.zeros((100, 100, 100), np.float32), np.eye(4))


def hand_box(side: Side, *center: float) -> SinusBox:
    return SinusBox(side, np.array(center), origin="hand")


def test_hand_boxes_inside_are_ok_and_called_hand_made() -> None:
    boxes = {side: hand_box(side, 50, 50, 50) for side in Side}
    quality = judge_place(VOLUME, boxes)
    assert quality.verdict == "ok"
    assert quality.inside_fraction == {Side.LEFT: 1.0, Side.RIGHT: 1.0}
    assert "by hand" in quality.reasons[0]


@pytest.mark.parametrize(("height", "verdict"), [(31.5, "ok"), (20, "review"), (5, "failed")])
def test_a_hand_box_partly_outside(height: float, verdict: str) -> None:
    quality = judge_place(VOLUME, {Side.LEFT: hand_box(Side.LEFT, 50, 50, height)})
    assert quality.verdict == verdict
    assert set(quality.inside_fraction) == {Side.LEFT}
    assert any("inside the image" in reason for reason in quality.reasons) == (verdict != "ok")


def test_inside_fraction_is_a_share_of_the_box() -> None:
    assert inside_fraction(hand_box(Side.LEFT, 50, 50, 50), VOLUME) == 1.0
    assert inside_fraction(hand_box(Side.LEFT, 50, 50, -0.5), VOLUME) == pytest.approx(
        0.5, abs=0.04
    )
    assert inside_fraction(hand_box(Side.LEFT, 50, -0.5, -0.5), VOLUME) == pytest.approx(
        0.25, abs=0.04
    )
    assert inside_fraction(hand_box(Side.LEFT, 500, 50, 50), VOLUME) == 0.0


def test_inside_fraction_follows_the_scan_s_axes() -> None:
    affine = np.array([[0, -1.0, 0, 60], [0, 0, 2, -100], [1, 0, 0, -50], [0, 0, 0, 1]])
    volume = Volume(np.zeros((100, 120, 110), np.float32), affine)
    assert inside_fraction(SinusBox(Side.LEFT, volume.center_ras_mm), volume) == 1.0
    beyond = volume.center_ras_mm + np.array([0, 110, 0])  # on the third axis' end
    assert inside_fraction(SinusBox(Side.LEFT, beyond), volume) == pytest.approx(0.5, abs=0.04)


# -------------------------------------------------- boxes placed before, some moved, some far off

CENTER = {side: np.array([50.0 + x, 50, 50]) for side, x in ((Side.LEFT, -2), (Side.RIGHT, 2))}
REGISTERED = Placement({side: SinusBox(side, CENTER[side]) for side in Side}, judged())


def placed(quality: Quality = NOT_JUDGED, **by_hand: tuple[float, float, float]) -> Placement:
    """Boxes of the registration, but for those that a hand has moved (mm)."""
    moved = {
        Side(side): hand_box(Side(side), *CENTER[Side(side)] + shift)
        for side, shift in by_hand.items()
    }
    return Placement({**REGISTERED.boxes, **moved}, quality)


def given(placement: Placement, registered: Placement = REGISTERED) -> Quality:
    return judge_given(VOLUME, placement, registered).quality


@pytest.mark.parametrize("verdict", ["ok", "review", "failed"])
def test_boxes_nobody_moved_keep_the_verdict_that_they_were_given(verdict: Any) -> None:
    quality = given(placed(Quality(verdict, ("So it was.",))))
    assert (quality.verdict, quality.reasons) == (verdict, ("So it was.",))


def test_boxes_of_unknown_quality_are_as_good_as_the_scan_s_own_registration() -> None:
    doubtful = Placement(REGISTERED.boxes, judged(rotation_deg=50.0))
    assert given(placed(), REGISTERED) == judged(inside_fraction=dict.fromkeys(Side, 1.0))
    assert given(placed(), doubtful).verdict == "review"


def test_a_moved_box_is_judged_where_it_lies_and_the_other_as_it_was_placed() -> None:
    quality = given(placed(judged(rotation_deg=50.0), left=(0, 0, 4)))
    assert quality.verdict == "review"
    assert quality.evidence == judged(rotation_deg=50.0).evidence
    assert quality.reasons[-1] == "The left box was placed by hand."


def test_a_failed_registration_is_mended_only_by_moving_both_boxes() -> None:
    failed = Quality("failed", ("Not found.",))
    assert given(placed(failed, left=(1, 2, 3))).verdict == "failed"
    mended = given(placed(failed, left=(1, 2, 3), right=(1, 2, 3)))
    assert (mended.verdict, mended.evidence) == ("ok", None)
    assert mended.reasons == ("The boxes were placed by hand.",)


@pytest.mark.parametrize(("shift_mm", "verdict"), [(14.0, "ok"), (16.0, "review")])
@pytest.mark.parametrize("hand", [True, False])
def test_boxes_far_from_where_the_registration_puts_them_are_reviewed_with_the_distance(
    hand: bool, shift_mm: float, verdict: str
) -> None:
    """Those of another patient, say, whatever was said of them there."""
    origin = "hand" if hand else "registration"
    boxes = {side: SinusBox(side, CENTER[side] + (0, 0, shift_mm), origin=origin) for side in Side}
    quality = given(Placement(boxes, judged()))
    assert quality.verdict == verdict
    told = [f"{side} box lies {shift_mm:.0f} mm from" for side in Side]
    assert all(any(t in r for r in quality.reasons) for t in told) == (verdict == "review")


def test_a_failed_registration_refuses_no_boxes_by_hand() -> None:
    lost = Placement(REGISTERED.boxes, Quality("failed", ("No head.",)))
    assert given(placed(left=(0, 0, 4), right=(0, 0, 4)), lost).verdict == "ok"
    assert given(placed(judged()), lost).verdict == "review", "it went well where they come from"
    assert given(placed(), lost).verdict == "review"
