"""The two maxillary sinuses: names, colours and SNOMED CT codes, read from data/sinuses.json.

Needs no package, so that Slicer can load it before anything is installed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import NamedTuple


class Side(StrEnum):
    """The patient's side, never the viewer's."""

    LEFT = "left"
    RIGHT = "right"


class Kind(IntEnum):
    """What is in a sinus, in the classes of Bhattacharya 2024: 1 to 4 together are an anomaly."""

    NORMAL = 0
    THICKENING = 1
    POLYP = 2
    CYST = 3
    FULL = 4


KIND_NAMES = {int(kind): kind.name.lower() for kind in Kind}


class Wall(StrEnum):
    """A wall of a maxillary sinus."""

    LATERAL = "lateral"
    MEDIAL = "medial"
    BACK = "back"
    FRONT = "front"
    FLOOR = "floor"
    ROOF = "roof"


class Form(StrEnum):
    """What a finding looks like: a description, no diagnosis."""

    BAND = "band"
    DOME = "dome"
    LOBULATED = "lobulated"
    COMPLETE = "complete"


class Decision(StrEnum):
    """What a model says of a side; `NOT_JUDGED` where it recognises no sinus in the box."""

    ANOMALY = "anomaly"
    CLEAR = "clear"
    NOT_JUDGED = "not judged"


class Grade(IntEnum):
    """How much of a sinus is opacified, as in the maxillary item of Lund-Mackay."""

    CLEAR = 0
    PARTIAL = 1
    COMPLETE = 2


class Part(StrEnum):
    """What a segment of a sinus outlines: what fills it, or all inside its bony walls."""

    OPACITY = "opacity"
    CAVITY = "cavity"


class SnomedCode(NamedTuple):
    """A concept of SNOMED CT."""

    value: str
    meaning: str


@dataclass(frozen=True)
class SinusFacts:
    """What every output calls a sinus. Colours are RGB, 0..1.

    `snomed_code` / `snomed_side` together name a laterality modifier of the anatomical code
    `MAXILLARY_SINUS_SNOMED` as Slicer's terminologies express it.
    """

    name: str
    color: tuple[float, float, float]
    snomed_code: str
    snomed_side: str
    opacity_name: str
    opacity_color: tuple[float, float, float]
    cavity_name: str
    cavity_color: tuple[float, float, float]


def _load() -> tuple[dict[Side, SinusFacts], dict[str, SnomedCode]]:
    text = (Path(__file__).parent / "data" / "sinuses.json").read_text(encoding="utf-8")
    content = json.loads(text)
    facts = {}
    for side in Side:
        entry = dict(content[side.value])
        for name in ("color", "opacity_color", "cavity_color"):
            entry[name] = tuple(entry[name])
        facts[side] = SinusFacts(**entry)
    concepts = ("anatomy", "anatomy_category", "opacity_category", "opacity_type")
    return facts, {concept: SnomedCode(**content[concept]) for concept in concepts}


SINUSES, _CONCEPTS = _load()
MAXILLARY_SINUS_SNOMED = _CONCEPTS["anatomy"]
ANATOMY_CATEGORY = _CONCEPTS["anatomy_category"]
OPACITY_CATEGORY, OPACITY_TYPE = _CONCEPTS["opacity_category"], _CONCEPTS["opacity_type"]
SEGMENT_LABELS = {Side.LEFT: 1, Side.RIGHT: 2}  # voxel values in a segmentation, of either part


@dataclass(frozen=True)
class SegmentFacts:
    """What every output calls one segment; color: RGB, 0..1."""

    identifier: str
    name: str
    color: tuple[float, float, float]
    terminology: str


def segment_facts(side: Side, part: Part) -> SegmentFacts:
    """The segment of a sinus's opacity or cavity."""
    facts = SINUSES[side]
    if part == Part.CAVITY:
        identifier = f"{side.value}_maxillary_sinus_cavity"
        return SegmentFacts(identifier, facts.cavity_name, facts.cavity_color, _anatomy_entry(side))
    identifier = f"{side.value}_maxillary_sinus_residual"  # as scenes of earlier versions have it
    return SegmentFacts(identifier, facts.opacity_name, facts.opacity_color, _lesion_entry(side))


_SEGMENT_LIST = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGION_LIST = "Anatomic codes - DICOM master list"


def _lesion_entry(side: Side) -> str:
    """Slicer's terminology entry of an altered structure in that sinus (SNOMED CT)."""
    kind = (_SEGMENT_LIST, _sct(*OPACITY_CATEGORY), _sct(*OPACITY_TYPE), "^^")
    return "~".join((*kind, _REGION_LIST, _sct(*MAXILLARY_SINUS_SNOMED), _side(side)))


def _anatomy_entry(side: Side) -> str:
    """Slicer's terminology entry of that sinus itself."""
    kind = (_SEGMENT_LIST, _sct(*ANATOMY_CATEGORY), _sct(*MAXILLARY_SINUS_SNOMED), _side(side))
    return "~".join((*kind, _REGION_LIST, "^^", "^^"))


def _side(side: Side) -> str:
    return _sct(SINUSES[side].snomed_code, SINUSES[side].snomed_side)


def _sct(value: str, meaning: str) -> str:
    return f"SCT^{value}^{meaning}"


# What people read for what is decided and measured, the same everywhere.
DECISION_WORDS: dict[str, str] = {
    Decision.ANOMALY: "Anomaly suspected",
    Decision.CLEAR: "No anomaly suspected",
    Decision.NOT_JUDGED: "Not judged",
}
WALL_WORDS: dict[str | None, str] = {
    None: "no wall",
    Wall.LATERAL: "outer wall",
    Wall.MEDIAL: "medial wall",
    Wall.BACK: "back wall",
    Wall.FRONT: "front wall",
    Wall.FLOOR: "floor",
    Wall.ROOF: "roof",
}
FORM_WORDS: dict[str, str] = {
    Form.BAND: "band",
    Form.DOME: "dome",
    Form.LOBULATED: "lobulated",
    Form.COMPLETE: "fills the sinus",
}
GRADE_WORDS = {Grade.CLEAR: "clear", Grade.PARTIAL: "partial", Grade.COMPLETE: "complete"}


UNKNOWN = "–"  # in place of a number


def number_words(number: float | None, form: str) -> str:
    """A number in this form of `str.format`, where it is known."""
    return UNKNOWN if number is None else form.format(number)


def probability_words(probability: float | None) -> str:
    """A probability with two digits; never 0 or 1, since nothing is certain."""
    if probability is None:
        return UNKNOWN
    if probability < 0.01:
        return "< 0.01"
    return "> 0.99" if probability > 0.99 else f"{probability:.2f}"
