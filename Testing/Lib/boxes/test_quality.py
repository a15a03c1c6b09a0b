"""Every threshold of the quality check: ok, review and failed, with words."""

from __future__ import annotations

import json
from dataclasses import replace
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


def judged(limits: QualityThresholds = THRESHOLDS, **changes: Any) -> Quality:
    return judge_evidence(Evidence(**(GOOD | changes)), limits)


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
        assert getattr(quality.evidence, figure) == value


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
    assert quality.visible_fraction == {Side.LEFT: 1.0, Side.RIGHT: 1.0}
    assert "by hand" in quality.reasons[0]


@pytest.mark.parametrize(("height", "verdict"), [(18, "ok"), (10, "review"), (-8, "failed")])
def test_a_hand_box_partly_outside(height: float, verdict: str) -> None:
    quality = judge_place(VOLUME, {Side.LEFT: hand_box(Side.LEFT, 50, 50, height)})
    assert quality.verdict == verdict
    assert set(quality.visible_fraction) == {Side.LEFT}
    assert any("ends within the left sinus" in reason for reason in quality.reasons) == (
        verdict != "ok"
    )


def test_what_is_visible_is_told_in_per_cent_for_each_side() -> None:
    boxes = {
        Side.LEFT: hand_box(Side.LEFT, 50, 50, 10),
        Side.RIGHT: hand_box(Side.RIGHT, 50, 50, 50),
    }
    quality = judge_place(VOLUME, boxes)
    assert quality.visible_fraction[Side.RIGHT] == 1.0
    percent = f"about {quality.visible_fraction[Side.LEFT]:.0%} of it"
    assert any("left" in reason and percent in reason for reason in quality.reasons)
    assert not any("right sinus" in reason for reason in quality.reasons)


def test_a_face_that_is_found_is_no_reason_to_refuse() -> None:
    """An affine cannot follow a child's proportions, its face can."""
    assert judged(stretch_ratio=1.4).verdict == "failed"
    assert judged(stretch_ratio=1.4, face_information=0.6).verdict == "review"
    assert judged(stretch_ratio=1.4, face_information=0.0).verdict == "failed"


def test_a_face_that_was_sought_and_not_found_is_to_be_looked_at() -> None:
    quality = judged(face_information=0.0)
    assert quality.verdict == "review" and "face" in quality.reasons[0]


@pytest.mark.parametrize(("scale", "small"), [((1, 1, 1), False), ((0.9, 0.92, 0.8), True)])
def test_a_child_s_head_is_small(scale: tuple[float, float, float], small: bool) -> None:
    evidence = judged(scale=scale).evidence
    assert evidence is not None and evidence.is_small == small


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
    assert given(placed(), REGISTERED) == replace(
        judged(), visible_fraction=dict.fromkeys(Side, 1.0)
    )
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


@pytest.mark.parametrize(
    ("degrees", "verdict"), [(40.0, "ok"), (50.0, "review"), (180.0, "review")]
)
def test_boxes_turned_against_the_head_are_reviewed(
    toolbox: Any, degrees: float, verdict: str
) -> None:
    box = SinusBox(Side.LEFT, CENTER[Side.LEFT], toolbox.turned(degrees, 2), origin="hand")
    quality = given(Placement({Side.LEFT: box}))
    assert quality.verdict == verdict
    assert any(f"turned by {degrees:.0f} degrees" in one for one in quality.reasons) == (
        verdict == "review"
    )


def test_a_failed_registration_refuses_no_boxes_by_hand() -> None:
    lost = Placement(REGISTERED.boxes, Quality("failed", ("No head.",)))
    assert given(placed(left=(0, 0, 4), right=(0, 0, 4)), lost).verdict == "ok"
    assert given(placed(judged()), lost).verdict == "review", "it went well where they come from"
    assert given(placed(), lost).verdict == "review"
