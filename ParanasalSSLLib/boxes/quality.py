"""Whether the boxes of a scan are to be trusted: evidence, thresholds, a verdict in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

Verdict = Literal["ok", "review", "failed"]


@dataclass(frozen=True)
class QualityThresholds:
    """When boxes are reviewed by a person (`review_`) and when the scan is not scored (`failed_`).

    They follow from anatomy: adult heads differ by less than 25 % in size from the mean head; the
    air of a sinus fills the middle 40 mm of its 64 mm box, so that a box with 85 % inside shows it
    whole; two searches that end 6 mm apart leave the sinus within the training's localisation
    error. The other two were set by eight real scans in many simulated poses: whole heads that were
    found keep the template's proportions (stretch ratio up to 1.22), fits to a head without face or
    skull do not (1.35 and more); fits that put the sinuses more than 20 mm off had a mutual
    information of at most 0.6, right ones 0.53 to 0.85, noise 0.02.
    """

    review_mutual_information: float = 0.6
    failed_mutual_information: float = 0.3
    review_agreement_mm: float = 6.0
    failed_agreement_mm: float = 25.0
    review_scale: tuple[float, float] = (0.78, 1.28)
    failed_scale: tuple[float, float] = (0.6, 1.6)
    review_stretch_ratio: float = 1.25
    failed_stretch_ratio: float = 1.3
    review_rotation_deg: float = 45.0
    failed_rotation_deg: float = 75.0
    review_inside_fraction: float = 0.88
    failed_inside_fraction: float = 0.6
    review_tissue_share: float = 0.72
    failed_tissue_share: float = 0.5


THRESHOLDS = QualityThresholds()


@dataclass(frozen=True)
class Quality:
    """The evidence and the verdict.

    Attributes:
        verdict: "ok"; "review": scored, to be looked at; "failed": not scored.
        metric: mutual information with the template (nats, higher is better).
        start_agreement_mm: largest distance between box centres of the two best searches.
        scale: of the scan's head relative to the template along R, A, S.
        shear: largest off-diagonal stretch of the affine (part of the ratio below).
        rotation_deg: angle between template and scan axes.
        inside_fraction: share of each box inside the image, 0..1.
        tissue_share: share of the template's tissue around the sinuses that has signal in the scan.
        stretch_ratio: of the head's largest to its smallest stretch in any direction; 1 for the
            template's proportions.
        reasons: sentences for users; empty for "ok".
    """

    verdict: Verdict
    metric: float
    start_agreement_mm: float
    scale: tuple[float, float, float]
    shear: float
    rotation_deg: float
    inside_fraction: dict[Side, float]
    tissue_share: float = 1.0
    stretch_ratio: float = 1.0
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded, for `report.json`."""
        content = asdict(self)
        content["inside_fraction"] = {
            side.value: round(share, 3) for side, share in self.inside_fraction.items()
        }
        content["scale"] = [round(s, 3) for s in self.scale]
        content["reasons"] = list(self.reasons)
        figures = ("metric", "start_agreement_mm", "shear", "rotation_deg")
        for key in (*figures, "tissue_share", "stretch_ratio"):
            content[key] = round(float(content[key]), 3)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Quality:
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        inside = {Side(side): float(share) for side, share in content["inside_fraction"].items()}
        return cls(**tupled(content) | {"inside_fraction": inside})


@dataclass(frozen=True)
class Evidence:
    """One measured figure with its two thresholds and the sentence that explains a bad one."""

    badness: float  # grows with trouble
    review: float
    failed: float
    sentence: str


def judge(
    metric: float,
    start_agreement_mm: float,
    scale: tuple[float, float, float],
    shear: float,
    rotation_deg: float,
    inside_fraction: dict[Side, float],
    tissue_share: float,
    stretch_ratio: float,
    limits: QualityThresholds = THRESHOLDS,
) -> Quality:
    """Weigh the evidence of a registration; see `Quality` for the arguments."""
    inside = min(inside_fraction.values())
    smallest = max(min(scale), 1e-6)  # an affine that turns the head inside out has less
    worst_side = min(inside_fraction, key=lambda side: inside_fraction[side])
    evidence = [
        Evidence(
            -metric,
            -limits.review_mutual_information,
            -limits.failed_mutual_information,
            "The scan resembles the head template only weakly.",
        ),
        Evidence(
            start_agreement_mm,
            limits.review_agreement_mm,
            limits.failed_agreement_mm,
            f"Two searches for the sinuses ended {start_agreement_mm:.0f} mm apart.",
        ),
        Evidence(
            max(max(scale) / limits.review_scale[1], limits.review_scale[0] / smallest),
            1.0,
            min(
                limits.failed_scale[1] / limits.review_scale[1],
                limits.review_scale[0] / limits.failed_scale[0],
            ),
            "The head seems to be of unusual size.",
        ),
        Evidence(
            stretch_ratio,
            limits.review_stretch_ratio,
            limits.failed_stretch_ratio,
            "The head seems to be distorted (face removed or brain extracted?).",
        ),
        Evidence(
            rotation_deg,
            limits.review_rotation_deg,
            limits.failed_rotation_deg,
            f"The head is turned by {rotation_deg:.0f} degrees.",
        ),
        Evidence(
            -inside,
            -limits.review_inside_fraction,
            -limits.failed_inside_fraction,
            f"Only {inside:.0%} of the {worst_side} box lie inside the image.",
        ),
        Evidence(
            -tissue_share,
            -limits.review_tissue_share,
            -limits.failed_tissue_share,
            f"Only {tissue_share:.0%} of the face around the sinuses shows signal "
            "(face removed, brain extracted, or outside the image?).",
        ),
    ]
    verdict, reasons = _verdict(evidence)
    return Quality(
        verdict,
        metric,
        start_agreement_mm,
        scale,
        shear,
        rotation_deg,
        inside_fraction,
        tissue_share,
        stretch_ratio,
        reasons,
    )


def _verdict(evidence: list[Evidence]) -> tuple[Verdict, tuple[str, ...]]:
    troubles = [e for e in evidence if not e.badness <= e.review]  # NaN is trouble
    if any(not e.badness <= e.failed for e in troubles):
        return "failed", tuple(e.sentence for e in troubles)
    return ("review" if troubles else "ok"), tuple(e.sentence for e in troubles)


def judge_hand_boxes(
    volume: Volume, boxes: Mapping[Side, SinusBox], limits: QualityThresholds = THRESHOLDS
) -> Quality:
    """Quality of boxes that a user has placed: only that they lie inside the image is checked."""
    who = "boxes were" if len(boxes) > 1 else f"{next(iter(boxes))} box was"
    inside = {side: inside_fraction(box, volume) for side, box in boxes.items()}
    worst = min(inside.values())
    reasons = [f"The {who} placed by hand."]
    verdict: Verdict = "ok"
    if worst < limits.review_inside_fraction:
        verdict = "failed" if worst < limits.failed_inside_fraction else "review"
        reasons.append(f"Only {worst:.0%} of a box lie inside the image.")
    return Quality(verdict, 0.0, 0.0, (1.0, 1.0, 1.0), 0.0, 0.0, inside, reasons=tuple(reasons))


def judge_given_boxes(
    volume: Volume, boxes: Mapping[Side, SinusBox], placed: Quality | None = None
) -> Quality:
    """Quality of boxes of an earlier placing, some of which a user may have moved since.

    Boxes of origin "hand" are judged by where they lie; the others are as good as the registration
    that placed them.

    Args:
        placed: quality of that registration; None when it is not known: then all boxes are judged
            by where they lie.
    """
    hand = {side: box for side, box in boxes.items() if box.origin == "hand"}
    if placed is None or len(hand) == len(boxes):
        return judge_hand_boxes(volume, boxes)
    if not hand or placed.verdict == "failed":
        return placed
    moved = judge_hand_boxes(volume, hand)
    verdicts: tuple[Verdict, ...] = ("failed", "review", "ok")
    return replace(
        placed,
        verdict=next(v for v in verdicts if v in (placed.verdict, moved.verdict)),
        inside_fraction=placed.inside_fraction | moved.inside_fraction,
        reasons=placed.reasons + moved.reasons,
    )


def read_placed_quality(path: str | Path) -> Quality | None:
    """The quality that `write_boxes` put beside boxes in a `.json`; None if the file has none.

    A file of another version, which recorded other evidence, has none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return Quality.from_json(content["quality"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def inside_fraction(box: SinusBox, volume: Volume, samples: int = 17) -> float:
    """Share (0..1) of the box that lies inside the image, on a grid of `samples`^3 points."""
    axis = (np.arange(samples) + 0.5) / samples - 0.5
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1) * box.edge_mm
    points = box.rotation @ grid + box.center_ras_mm[:, None]
    to_index = np.linalg.inv(volume.affine)
    index = to_index[:3, :3] @ points + to_index[:3, 3:]
    size = np.array(volume.shape)[:, None]
    return float(((index >= -0.5) & (index <= size - 0.5)).all(axis=0).mean())
