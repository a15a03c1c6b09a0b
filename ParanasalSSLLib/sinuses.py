"""The two maxillary sinuses: names, colours and SNOMED CT codes, read from data/sinuses.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Side(StrEnum):
    """The patient's side, never the viewer's."""

    LEFT = "left"
    RIGHT = "right"


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
    residual_name: str
    residual_color: tuple[float, float, float]


def _load() -> tuple[dict[Side, SinusFacts], dict[str, SnomedCode]]:
    text = (Path(__file__).parent / "data" / "sinuses.json").read_text(encoding="utf-8")
    content = json.loads(text)
    facts = {}
    for side in Side:
        entry = dict(content[side.value])
        entry["color"] = tuple(entry["color"])
        entry["residual_color"] = tuple(entry["residual_color"])
        facts[side] = SinusFacts(**entry)
    concepts = ("anatomy", "residual_category", "residual_type")
    return facts, {concept: SnomedCode(**content[concept]) for concept in concepts}


SINUSES, _CONCEPTS = _load()
MAXILLARY_SINUS_SNOMED = _CONCEPTS["anatomy"]
RESIDUAL_CATEGORY, RESIDUAL_TYPE = _CONCEPTS["residual_category"], _CONCEPTS["residual_type"]
