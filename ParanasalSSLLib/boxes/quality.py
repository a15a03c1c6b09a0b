"""Whether the boxes of a scan are to be trusted: evidence, thresholds, a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.visible import visible_fraction
from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.scans.volume import Provenance

Verdict = Literal["ok", "review", "failed"]
VERDICTS: tuple[Verdict, ...] = ("failed", "review", "ok")  # the worst first


@dataclass(frozen=True)
class QualityThresholds:
    """When boxes are reviewed by a person (`review_`) and when the scan is not scored (`failed_`).

    They follow from anatomy: adult heads differ by less than 25 % in size from the mean head; two
    searches that end 6 mm apart leave the sinus within the training's localisation error. What an
    image shows is reckoned from a mean sinus in the middle of the box, which lies up to 6 mm off: 4 %
    less than the whole may be none, and below 35 % less than half is visible. Then more of the sinus
    is unknown than known, its floor, where most disease lies, among it. Two were set by eight real
    scans in many simulated poses: whole heads that were found keep the template's proportions
    (stretch ratio up to 1.22), fits to a head without face or skull do not (1.35 and more); fits that
    put the sinuses more than 20 mm off had a mutual information of at most 0.6, right ones 0.53 to
    0.85, noise 0.02.

    The distance of boxes that are given (placed by hand, or read from a file) from those of the
    registration: the registration finds sinuses within 10 mm, and the centres of 99 % of all sinuses
    lie within 14 mm of where it aims (standard deviations between heads of 2 to 5 mm along each axis).
    So a box beyond 15 mm is either a rare head or not on its sinus, and a person has to look. One that
    is turned by more than 45 degrees shows the networks a sinus as none of their training lies.

    A head below `small_scale` (geometric mean) may be a child's, whose face is small below its skull:
    a network has to look a second time.
    """

    review_mutual_information: float = 0.6
    failed_mutual_information: float = 0.3
    review_start_distance_mm: float = 6.0
    failed_start_distance_mm: float = 25.0
    review_scale: tuple[float, float] = (0.78, 1.28)
    failed_scale: tuple[float, float] = (0.6, 1.6)
    review_stretch_ratio: float = 1.25
    failed_stretch_ratio: float = 1.3
    review_rotation_deg: float = 45.0
    failed_rotation_deg: float = 75.0
    review_visible_fraction: float = 0.96
    failed_visible_fraction: float = 0.35
    review_tissue_fraction: float = 0.72
    failed_tissue_fraction: float = 0.5
    review_box_distance_mm: float = 15.0
    review_box_turn_deg: float = 45.0
    small_scale: float = 0.93


THRESHOLDS = QualityThresholds()


@dataclass(frozen=True)
class Evidence:
    """What a registration measured.

    Attributes:
        mutual_information: with the template (nats, higher is better).
        start_distance_mm: largest distance between box centres of the two best searches.
        scale: of the scan's head relative to the template along R, A, S.
        shear: largest off-diagonal stretch of the affine (part of the ratio below).
        rotation_deg: angle between template and scan axes.
        tissue_fraction: of the template's tissue around the sinuses, 0..1, that has signal in the scan.
        stretch_ratio: of the head's largest to its smallest stretch in any direction; 1 for the
            template's proportions.
        face_information: of the face alone with the template's (nats); 0 where it was not found, None
            where nothing spoke for looking.
        face_shift_mm: how far the face, aligned alone, moved the boxes.
    """

    mutual_information: float
    start_distance_mm: float
    scale: tuple[float, float, float]
    shear: float
    rotation_deg: float
    tissue_fraction: float
    stretch_ratio: float
    face_information: float | None = None
    face_shift_mm: float = 0.0

    @property
    def is_small(self) -> bool:
        """Whether the head may be a child's."""
        return float(np.prod(np.maximum(self.scale, 0))) < THRESHOLDS.small_scale**3

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded."""
        figures = asdict(self) | {"scale": [round(float(s), 3) for s in self.scale]}
        return {
            name: value if name == "scale" else round(float(value), 3)
            for name, value in figures.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evidence | None:
        """What `to_json` or an earlier version wrote; None where something is missing."""
        known = {_OLD_NAMES.get(name, name): value for name, value in content.items()}
        figures = {name: known[name] for name in cls.__dataclass_fields__ if name in known}
        try:
            return cls(**tupled(figures))
        except TypeError:
            return None


_OLD_NAMES = {
    "metric": "mutual_information",
    "start_agreement_mm": "start_distance_mm",
    "tissue_share": "tissue_fraction",
}


@dataclass(frozen=True)
class Quality:
    """How far boxes are to be trusted.

    Attributes:
        verdict: "ok"; "review": scored, to be looked at; "failed": not scored.
        reasons: sentences for users; for "ok" at most a remark.
        evidence: of the registration that placed the boxes; None for boxes placed by hand.
        visible_fraction: of each sinus, 0..1, that lies inside the image, as far as measured.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    evidence: Evidence | None = None
    visible_fraction: Mapping[Side, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded; no entry for what was not measured."""
        content: dict[str, Any] = {"verdict": self.verdict, "reasons": list(self.reasons)}
        if self.evidence is not None:
            content["evidence"] = self.evidence.to_json()
        if self.visible_fraction:
            visible = self.visible_fraction.items()
            content["visible_fraction"] = {side.value: round(part, 3) for side, part in visible}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Quality:
        """What `to_json` or an earlier version wrote.

        Earlier versions put the evidence beside the verdict, all zero for boxes placed by hand; the
        part of the box inside the image, which they held, is not read.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: anything else.
        """
        verdict = content["verdict"]
        if verdict not in VERDICTS:
            raise ValueError(f"{verdict!r} is no verdict")
        invented = content.get("metric") == 0
        return cls(
            verdict,
            tuple(str(reason) for reason in content["reasons"]),
            None if invented else Evidence.from_json(content.get("evidence", content)),
            {Side(side): float(part) for side, part in content.get("visible_fraction", {}).items()},
        )


SIDES_IN_DOUBT = (
    "Which side is left is not certain from the file of this scan (see the notices): compare it with "
    "the original."
)
SLICES_LOST = (
    "Slices of the series are lost and it cannot be said which (see the notices): compare the scan "
    "with the original."
)
NOT_JUDGED = Quality("review", ("How well the boxes were placed is not known.",))


def worst_of(qualities: Sequence[Quality]) -> Quality:
    """One quality for boxes that were judged apart: the worst verdict, every reason once.

    The evidence is that of the worst (the first of them) that has any; what was measured of a box
    later replaces what was measured before.
    """
    ordered = sorted(qualities, key=lambda quality: VERDICTS.index(quality.verdict))
    reasons = dict.fromkeys(reason for quality in qualities for reason in quality.reasons)
    evidence = next((q.evidence for q in ordered if q.evidence is not None), None)
    visible = {side: part for q in qualities for side, part in q.visible_fraction.items()}
    return Quality(ordered[0].verdict, tuple(reasons), evidence, visible)


def judge_source(source: Provenance) -> Quality:
    """ "review" for a scan that leaves in doubt which side is left, or whether it is whole.

    Its notices say why.
    """
    doubts = {SIDES_IN_DOUBT: source.sides_in_doubt, SLICES_LOST: source.lost_slices > 0}
    reasons = tuple(reason for reason, applies in doubts.items() if applies)
    return Quality("review" if reasons else "ok", reasons)


# -------------------------------------------------------------------------------- registration


@dataclass(frozen=True)
class _Figure:
    """One measured figure with its two thresholds and the sentence that explains a bad one."""

    badness: float  # grows with trouble
    review: float
    failed: float
    sentence: str


def judge_evidence(evidence: Evidence, limits: QualityThresholds = THRESHOLDS) -> Quality:
    """Weigh what a registration measured."""
    troubles = [
        f for f in _figures(evidence, limits) if not f.badness <= f.review
    ]  # NaN is trouble
    verdict: Verdict = "review" if troubles else "ok"
    if any(not f.badness <= f.failed for f in troubles):
        verdict = "failed"
    return Quality(verdict, tuple(f.sentence for f in troubles), evidence)


def _figures(evidence: Evidence, limits: QualityThresholds) -> list[_Figure]:
    scale, turned = evidence.scale, evidence.rotation_deg
    smallest = max(min(scale), 1e-6)  # an affine that turns the head inside out has less
    too_odd = min(
        limits.failed_scale[1] / limits.review_scale[1],
        limits.review_scale[0] / limits.failed_scale[0],
    )
    # A face that is found was neither removed nor is it an extracted brain's: nothing below fails then
    # because an affine cannot follow a child's proportions.
    return [
        _Figure(
            -evidence.mutual_information,
            -limits.review_mutual_information,
            -limits.failed_mutual_information,
            "The scan resembles the head template only weakly.",
        ),
        _Figure(
            evidence.start_distance_mm,
            limits.review_start_distance_mm,
            limits.failed_start_distance_mm,
            f"Two searches for the sinuses ended {evidence.start_distance_mm:.0f} mm apart.",
        ),
        _Figure(
            max(max(scale) / limits.review_scale[1], limits.review_scale[0] / smallest),
            1.0,
            np.inf if evidence.face_information else too_odd,
            "The head seems to be of unusual size.",
        ),
        _Figure(
            evidence.stretch_ratio,
            limits.review_stretch_ratio,
            np.inf if evidence.face_information else limits.failed_stretch_ratio,
            "The head seems to be distorted (face removed or brain extracted?).",
        ),
        _Figure(
            float(evidence.face_information == 0),
            0.5,
            np.inf,
            "The face does not resemble that of the template: the boxes may lie too high or too low.",
        ),
        _Figure(
            turned,
            limits.review_rotation_deg,
            limits.failed_rotation_deg,
            f"The head is turned by {turned:.0f} degrees.",
        ),
        _Figure(
            -evidence.tissue_fraction,
            -limits.review_tissue_fraction,
            -limits.failed_tissue_fraction,
            f"Only {evidence.tissue_fraction:.0%} of the face around the sinuses shows signal "
            "(face removed or brain extracted?).",
        ),
    ]


# -------------------------------------------------------------------------- boxes that are given


def judge_place(
    grid: Grid, boxes: Mapping[Side, SinusBox], limits: QualityThresholds = THRESHOLDS
) -> Quality:
    """Quality of boxes by where they lie alone: how much is visible, and which a hand placed.

    grid: of the image, as far as it shows anything (`shown_grid`).
    """
    visible = {side: visible_fraction(box, grid) for side, box in boxes.items()}
    quality = judge_visible(visible, limits)
    return replace(quality, reasons=(*_by_hand(boxes), *quality.reasons))


def judge_visible(visible: Mapping[Side, float], limits: QualityThresholds = THRESHOLDS) -> Quality:
    """Quality by the part of each sinus that the image shows, 0..1."""
    cut = {side: part for side, part in visible.items() if part < limits.review_visible_fraction}
    verdict: Verdict = "review" if cut else "ok"
    if min(cut.values(), default=1.0) < limits.failed_visible_fraction:
        verdict = "failed"
    reasons = tuple(_cut_off(side, part) for side, part in cut.items())
    return Quality(verdict, reasons, visible_fraction=dict(visible))


def _cut_off(side: Side, visible: float) -> str:
    if visible < 0.005:
        return f"The {side} box lies outside the image."
    return (
        f"The image ends within the {side} sinus: about {visible:.0%} of it is visible. "
        "The rest is not judged."
    )


def _by_hand(boxes: Mapping[Side, SinusBox]) -> tuple[str, ...]:
    placed = [side for side, box in boxes.items() if box.origin == "hand"]
    if len(placed) == 2:
        return ("The boxes were placed by hand.",)
    return tuple(f"The {side} box was placed by hand." for side in placed)


def judge_distance(
    boxes: Mapping[Side, SinusBox],
    registered: Mapping[Side, SinusBox],
    limits: QualityThresholds = THRESHOLDS,
) -> Quality:
    """ "review" for boxes far from where the registration of the same scan puts them, or turned."""
    reasons = []
    for side, box in boxes.items():
        mm = float(np.linalg.norm(box.center_ras_mm - registered[side].center_ras_mm))
        degrees = box.turn_deg(registered[side])
        if mm > limits.review_box_distance_mm:
            where = "where the registration finds that sinus"
            reasons.append(f"The {side} box lies {mm:.0f} mm from {where}.")
        if degrees > limits.review_box_turn_deg:
            reasons.append(f"The {side} box is turned by {degrees:.0f} degrees against the head.")
    return Quality("review" if reasons else "ok", tuple(reasons))
