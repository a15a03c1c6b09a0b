"""Which sides are clear beyond doubt: by their shape first, then by the model.

Shape: the air has a plausible outline, which confirms the box too; it is about as large as the cavity
that the network sees (which it may leave by a few millimetres only), not much smaller than on
the other side, that cavity is dark all over, and the air is as dark as in the site's other scans of
that kind (fluid that fills a whole sinus may be nearly as dark as air). Model: the bundle does not
come near calling the side anomalous (its probability is below half of the threshold); where it comes
near that in more than half of the sides of a kind that have the shape of clear ones, it does not know
this kind of scan, and the half that it finds least suspicious is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paranasal_training.adapt.look import SideFacts
from ParanasalSSLLib.sinuses import Side

LEAST_OF_OTHER = 0.55  # volume, as a fraction of the other side's
OF_CAVITY = (0.6, 1.6)  # volume of the air, as a fraction of the network's cavity
LEAST_AIRY = 0.97
BRIGHTEST_AIR = 2.0  # times the median of the site's scans of that kind
NEAR = 0.5  # of the threshold: from here on the model is in doubt
FAINTLY = 0.06  # of the tissue's level: air is not told from air by less


@dataclass(frozen=True)
class Choice:
    """One side: why it is not clear beyond doubt; empty where it is.

    by_shape: reasons of its shape. by_model: reasons of the model.
    """

    facts: SideFacts
    by_shape: tuple[str, ...]
    by_model: tuple[str, ...] = ()

    @property
    def used(self) -> bool:
        """Whether anything is learnt from it."""
        return not self.by_shape and not self.by_model

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them, in words."""
        return self.by_shape + self.by_model


def choose(sides: Sequence[SideFacts], threshold: float) -> list[Choice]:
    """Judge all sides of a site; threshold: the bundle's, of the probability."""
    by_key = {(facts.scan, facts.side): facts for facts in sides}
    levels = {m: _usual_level(sides, m) for m in {facts.modality for facts in sides}}
    choices = []
    for facts in sides:
        other = by_key.get((facts.scan, _other(facts.side)))
        choices.append(Choice(facts, tuple(_shape_reasons(facts, other, levels[facts.modality]))))
    limits = {m: _limit(choices, m, threshold) for m in levels}
    return [_with_model(choice, limits[choice.facts.modality]) for choice in choices]


def _other(side: Side) -> Side:
    return Side.LEFT if side == Side.RIGHT else Side.RIGHT


def _usual_level(sides: Sequence[SideFacts], modality: str) -> float:
    levels = [f.level for f in sides if f.modality == modality and f.outline_ml > 0]
    return float(np.median(levels)) if levels else 0.0


def _shape_reasons(facts: SideFacts, other: SideFacts | None, usual: float) -> list[str]:
    if facts.outline_ml == 0:
        return ["No plausible outline of air was found."]
    reasons = []
    low, high = (factor * facts.cavity_ml for factor in OF_CAVITY)
    if not low < facts.outline_ml < high:
        reasons.append("Air and cavity are of different size.")
    if other is not None and facts.outline_ml < LEAST_OF_OTHER * other.outline_ml:
        reasons.append("The air is much smaller than that of the other side.")
    if facts.airy < LEAST_AIRY:
        reasons.append("Part of the cavity is not dark.")
    if facts.level > max(BRIGHTEST_AIR * usual, usual + FAINTLY):
        reasons.append("The air is brighter than in the site's other scans of this kind.")
    return reasons


def _limit(choices: Sequence[Choice], modality: str, threshold: float) -> float:
    """Probability up to which a side of this kind of scan is taken."""
    shaped = [
        c.facts.probability for c in choices if c.facts.modality == modality and not c.by_shape
    ]
    near = NEAR * threshold
    return max(near, float(np.median(shaped))) if shaped else near


def _with_model(choice: Choice, limit: float) -> Choice:
    if choice.facts.probability < limit:
        return choice
    return Choice(choice.facts, choice.by_shape, ("The model suspects an anomaly.",))
