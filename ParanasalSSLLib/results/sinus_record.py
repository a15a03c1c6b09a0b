"""What is written of one sinus: its numbers, its findings, its box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.sinuses import FORM_WORDS, SINUSES, WALL_WORDS, Decision

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.crop import SinusCrop
    from ParanasalSSLLib.model.card import BundleCard
    from ParanasalSSLLib.model.findings import Finding
    from ParanasalSSLLib.predict import SinusResult

Vector = tuple[float, ...]


@dataclass(frozen=True)
class BoxRecord:
    """A `SinusBox`, rounded. axes_ras: its x, y and z as unit vectors."""

    center_ras_mm: Vector
    axes_ras: tuple[Vector, ...]
    edge_mm: float
    origin: str

    @classmethod
    def of(cls, box: SinusBox) -> BoxRecord:
        """The box, its numbers rounded."""
        axes = tuple(rounded(axis, 6) for axis in box.rotation.T)
        return cls(rounded(box.center_ras_mm, 3), axes, float(box.edge_mm), box.origin)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BoxRecord:
        """The box of a `report.json`."""
        axes = tuple(tuple(axis) for axis in content["axes_ras"])
        return cls(**tupled(content) | {"axes_ras": axes})


@dataclass(frozen=True)
class FindingRecord:
    """A `Finding`, rounded. center_ras_mm: its middle in the scan; wall: None where it touches none."""

    ml: float
    diameter_mm: float
    depth_mm: float
    wall: str | None
    form: str
    center_ras_mm: Vector

    @classmethod
    def of(cls, finding: Finding, crop: SinusCrop) -> FindingRecord:
        """The finding, with its place in the scan."""
        return cls(
            ml=round(finding.ml, 3),
            diameter_mm=round(finding.diameter_mm, 1),
            depth_mm=round(finding.depth_mm, 1),
            wall=None if finding.wall is None else finding.wall.value,
            form=finding.form.value,
            center_ras_mm=rounded(crop.to_world(np.array(finding.centre)), 1),
        )

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"{self.ml:.1f} ml, {FORM_WORDS[self.form]}, {WALL_WORDS[self.wall]}, "
            f"{self.diameter_mm:.0f} mm across, {self.depth_mm:.0f} mm deep"
        )


@dataclass(frozen=True)
class SinusRecord:
    """One sinus.

    probability: calibrated, of an anomaly, 0..1. decision: `ANOMALY` where it reaches `threshold`, else
    `CLEAR`. opacity_ml: volume of what fills the sinus; opacity_fraction: of the box, 0..1.
    cavity_ml: volume inside the bony walls, air or not; filled_fraction: part of it that is opaque,
    0..1; depth_mm: greatest depth of the opacity from the wall; grade: 0, 1 or 2, see `Grade`;
    findings: the opacity's parts, the largest first. All that is measured is None where the side is not
    judged, and from cavity_ml on where the model outlines no cavity, grade and findings also in
    reports before format version 3.
    """

    name: str
    probability: float | None
    decision: Decision
    threshold: float
    opacity_ml: float | None
    opacity_fraction: float | None
    box: BoxRecord
    cavity_ml: float | None = None
    filled_fraction: float | None = None
    depth_mm: float | None = None
    grade: int | None = None
    findings: tuple[FindingRecord, ...] | None = None

    @classmethod
    def of(cls, sinus: SinusResult, card: BundleCard) -> SinusRecord:
        """The sinus that was scored, its numbers rounded."""
        return cls(
            name=SINUSES[sinus.side].name,
            decision=sinus.decision,
            threshold=round(card.decision_threshold, 4),
            box=BoxRecord.of(sinus.box),
            **_numbers(sinus, round(card.decision_threshold, 4)),
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SinusRecord:
        """The sinus of a `report.json` of this or an earlier format version.

        Raises KeyError, TypeError, ValueError or AttributeError for anything else.
        """
        known = {_NAMES_OF_VERSION_1.get(name, name): value for name, value in content.items()}
        decision = Decision(known["decision"])
        known |= {"decision": decision, "threshold": float(known["threshold"])}
        if decision != Decision.NOT_JUDGED:
            known |= {name: float(known[name]) for name in _OF_JUDGED}
        parts = known.get("findings")
        findings = None
        if isinstance(parts, list):  # version 2 has their number only
            findings = tuple(FindingRecord(**tupled(part)) for part in parts)
        return cls(**known | {"box": BoxRecord.from_json(content["box"]), "findings": findings})


def _numbers(sinus: SinusResult, threshold: float) -> dict[str, Any]:
    """What is measured of a side, rounded; a probability below the threshold stays below it."""
    if sinus.probability is None:
        return dict.fromkeys(_OF_JUDGED)
    probability = round(float(sinus.probability), 4)
    if probability >= threshold and not sinus.score.anomalous:
        probability = round(threshold - 1e-4, 4)
    numbers = {
        "probability": probability,
        "opacity_ml": round(float(sinus.opacity_ml), 3),
        "opacity_fraction": round(float(sinus.opacity_fraction), 5),
    }
    measures = sinus.score.measures
    if measures is None:
        return numbers
    return numbers | {
        "cavity_ml": round(measures.cavity_ml, 2),
        "filled_fraction": round(measures.filled_fraction, 4),
        "depth_mm": round(measures.depth_mm, 1),
        "grade": int(measures.grade(sinus.score.anomalous)),
        "findings": tuple(FindingRecord.of(one, sinus.crop) for one in measures.findings),
    }


def rounded(values: Any, digits: int = 4) -> Vector:
    """Numbers as they are written."""
    return tuple(round(float(value), digits) for value in np.asarray(values).ravel())


_OF_JUDGED = ("probability", "opacity_ml", "opacity_fraction")
_NAMES_OF_VERSION_1 = {"anomaly_ml": "opacity_ml", "share_of_cube": "opacity_fraction"}
