"""Every threshold of the quality check: ok, review and failed, with words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox, read_boxes, write_boxes
from ParanasalSSLLib.boxes.quality import (
    THRESHOLDS,
    Quality,
    QualityThresholds,
    inside_fraction,
    judge,
    judge_given_boxes,
    judge_hand_boxes,
    read_placed_quality,
)
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

GOOD: dict[str, Any] = {
    "metric": 0.7,
    "start_agreement_mm": 1.0,
    "scale": (1.0, 1.05, 0.97),
    "shear": 0.02,
    "rotation_deg": 8.0,
    "inside_fraction": {Side.LEFT: 1.0, Side.RIGHT: 0.98},
    "tissue_share": 0.9,
    "stretch_ratio": 1.1,
}


def judged(**changes: Any) -> Quality:
    return judge(**(GOOD | changes))


def both(share: float) -> dict[Side, float]:
    return {Side.LEFT: 1.0, Side.RIGHT: share}


T = THRESHOLDS
# figure, still ok, to be reviewed, failed, a word of the sentence
CASES = [
    (
        "metric",
        T.review_mutual_information + 0.01,
        (T.review_mutual_information + T.failed_mutual_information) / 2,
        T.failed_mutual_information - 0.01,
        "resembles",
    ),
    (
        "start_agreement_mm",
        T.review_agreement_mm - 0.5,
        T.review_agreement_mm + 0.5,
        T.failed_agreement_mm + 0.5,
        "mm apart",
    ),
    ("scale", (1, 1, 1.27), (1, 1, 1.30), (1, 1, 1.62), "unusual size"),
    ("scale", (0.79, 1, 1), (0.77, 1, 1), (0.59, 1, 1), "unusual size"),
    ("stretch_ratio", 1.24, 1.26, 1.31, "distorted"),
    ("rotation_deg", 44.0, 46.0, 76.0, "turned by"),
    ("inside_fraction", both(0.89), both(0.87), both(0.59), "right box"),
    ("tissue_share", 0.73, 0.71, 0.49, "face"),
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
        assert getattr(quality, figure) == value


@pytest.mark.parametrize(
    "figure", ["metric", "start_agreement_mm", "stretch_ratio", "rotation_deg"]
)
def test_a_figure_that_is_no_number_fails(figure: str) -> None:
    quality = judged(**{figure: float("nan")})
    assert quality.verdict == "failed" and len(quality.reasons) == 1


def test_all_reasons_are_told_and_the_worst_decides() -> None:
    quality = judged(stretch_ratio=1.28, rotation_deg=50.0, tissue_share=0.3)
    assert quality.verdict == "failed"
    assert len(quality.reasons) == 3


def test_thresholds_can_be_changed() -> None:
    strict = QualityThresholds(review_rotation_deg=5.0)
    assert judged(limits=strict).verdict == "review"


@pytest.mark.parametrize("scale", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0)])
def test_collapsed_or_mirrored_heads_fail(scale: tuple[float, float, float]) -> None:
    assert judged(scale=scale).verdict == "failed"


def test_json_holds_plain_rounded_numbers() -> None:
    quality = judged(metric=np.float64(0.71234), shear=np.float32(0.02), scale=(1.00049, 1, 1))
    content = json.loads(json.dumps(quality.to_json(), allow_nan=False))
    assert content["metric"] == 0.712
    assert content["scale"] == [1.0, 1, 1]
    assert content["inside_fraction"] == {"left": 1.0, "right": 0.98}
    assert (content["verdict"], content["reasons"]) == ("ok", [])


# ------------------------------------------------------------------------------- hand boxes

VOLUME = Volume(np.zeros((100, 100, 100), np.float32), np.eye(4))


def hand_box(side: Side, *center: float) -> SinusBox:
    return SinusBox(side, np.array(center), origin="hand")


def test_hand_boxes_inside_are_ok_and_called_hand_made() -> None:
    boxes = {side: hand_box(side, 50, 50, 50) for side in Side}
    quality = judge_hand_boxes(VOLUME, boxes)
    assert quality.verdict == "ok"
    assert quality.inside_fraction == {Side.LEFT: 1.0, Side.RIGHT: 1.0}
    assert "by hand" in quality.reasons[0]


@pytest.mark.parametrize(("height", "verdict"), [(31.5, "ok"), (20, "review"), (5, "failed")])
def test_a_hand_box_partly_outside(height: float, verdict: str) -> None:
    quality = judge_hand_boxes(VOLUME, {Side.LEFT: hand_box(Side.LEFT, 50, 50, height)})
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


# ---------------------------------------------------------------- boxes placed before, some moved


def test_boxes_nobody_moved_keep_the_quality_of_their_registration() -> None:
    boxes = {side: SinusBox(side, np.full(3, 50.0)) for side in Side}
    placed = judged()
    assert judge_given_boxes(VOLUME, boxes, placed) is placed


def test_a_moved_box_is_judged_where_it_lies_and_the_other_as_it_was_placed() -> None:
    boxes = {
        Side.LEFT: hand_box(Side.LEFT, 50, 50, 20),
        Side.RIGHT: SinusBox(Side.RIGHT, np.full(3, 50.0)),
    }
    placed = judged()
    quality = judge_given_boxes(VOLUME, boxes, placed)
    assert quality.verdict == "review"
    assert quality.metric == placed.metric
    assert quality.inside_fraction[Side.RIGHT] == placed.inside_fraction[Side.RIGHT]
    assert 0.6 < quality.inside_fraction[Side.LEFT] < 0.88
    assert quality.reasons[0] == "The left box was placed by hand."


def test_a_failed_registration_is_mended_only_by_moving_both_boxes() -> None:
    failed = replace(judged(), verdict="failed")
    boxes = {
        Side.LEFT: hand_box(Side.LEFT, 50, 50, 50),
        Side.RIGHT: SinusBox(Side.RIGHT, np.full(3, 50.0)),
    }
    assert judge_given_boxes(VOLUME, boxes, failed).verdict == "failed"
    boxes[Side.RIGHT] = hand_box(Side.RIGHT, 50, 50, 50)
    assert judge_given_boxes(VOLUME, boxes, failed).verdict == "ok"


def test_the_quality_of_the_registration_travels_with_the_boxes(tmp_path: Path) -> None:
    boxes = {
        side: SinusBox(side, np.array([x, 0, 0.0])) for side, x in zip(Side, (-25, 25), strict=True)
    }
    quality = Quality.from_json(judged().to_json())
    write_boxes(boxes, tmp_path / "boxes.json", quality)
    assert read_placed_quality(tmp_path / "boxes.json") == quality
    assert set(read_boxes(tmp_path / "boxes.json")) == set(Side)
    write_boxes(boxes, tmp_path / "plain.json")
    assert read_placed_quality(tmp_path / "plain.json") is None
    assert read_placed_quality(tmp_path / "missing.json") is None
