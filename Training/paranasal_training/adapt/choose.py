"""Which sides are taken as clear: by their shape first, then by the model.

Shape: the air has a plausible outline, which confirms the box too; it is about as large as the cavity
that the network sees (which it may leave by a few millimetres only), not much smaller than on
the other side, and as dark as in the site's other scans of that kind (fluid that fills a whole sinus
may be nearly as dark as air). Model: of each kind of scan, the part of the sides that may be diseased
is not taken, those that the bundle finds most suspicious; the others are, though it may suspect many
of them where it does not know that kind of scan. What it does not come near calling anomalous is
always taken, what it is sure of never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paranasal_training.adapt.look import SideFacts
from ParanasalSSLLib.sinuses import Side

LEAST_OF_OTHER = 0.55  # volume, as a fraction of the other side's
OF_CAVITY = (0.6, 1.6)  # volume of the air, as a fraction of the network's cavity
BRIGHTEST_AIR = 2.0  # times the median of the site's scans of that kind
NEAR = 0.5  # of the threshold: below it the model is not in doubt
SURE = 0.5  # of the way from the threshold to 1: from here on the model is sure
FEWEST = 6  # sides of a kind of scan; fewer say nothing of what is usual there
FAINTLY = 0.06  # of the tissue's level: air is not told from air by less


@dataclass(frozen=True)
class Choice:
    """One side, and why it is not taken as clear; no reasons where it is."""

    facts: SideFacts
    reasons: tuple[str, ...] = ()

    @property
    def used(self) -> bool:
        """Whether anything is learnt from it."""
        return not self.reasons


def choose(sides: Sequence[SideFacts], threshold: float, diseased: float) -> list[Choice]:
    """Judge all sides of a site.

    Args:
        sides: of all scans.
        threshold: the bundle's, of the probability.
        diseased: part of the sides that may be diseased, 0 to 1.
    """
    by_key = {(facts.scan, facts.side): facts for facts in sides}
    kinds = {facts.modality for facts in sides}
    levels = {kind: _usual_level(sides, kind) for kind in kinds}
    limits = {kind: _limit(sides, kind, threshold, diseased) for kind in kinds}
    choices = []
    for facts in sides:
        other = by_key.get((facts.scan, _other(facts.side)))
        reasons = _shape_reasons(facts, other, levels[facts.modality])
        if facts.probability > limits[facts.modality]:
            reasons.append("The model suspects an anomaly.")
        choices.append(Choice(facts, tuple(reasons)))
    return choices


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
    if facts.level > max(BRIGHTEST_AIR * usual, usual + FAINTLY):
        reasons.append("The air is brighter than in the site's other scans of this kind.")
    return reasons


def _limit(sides: Sequence[SideFacts], kind: str, threshold: float, diseased: float) -> float:
    """Probability up to which a side of this kind of scan is taken."""
    near = NEAR * threshold
    found = [facts.probability for facts in sides if facts.modality == kind]
    if len(found) < FEWEST:
        return near
    sure = threshold + SURE * (1 - threshold)
    return max(near, min(float(np.quantile(found, 1 - diseased)), sure))
