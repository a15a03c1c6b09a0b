"""Threshold and calibration from left-out persons, and what has changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paranasal_training.adapt.choose import Choice
from paranasal_training.adapt.learn import AFTER, BEFORE
from paranasal_training.release.sinus_bundle import fit_calibration, fit_threshold, judged_at
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.opacity import evidence_margin

DOUBTFUL = 0.5  # evidence in a side as it is, of a network that has not learnt from that person


@dataclass(frozen=True)
class SideOutcome:
    """One side before and after; after: by the network that has not learnt from its person.

    doubtful: it was used, but is no longer clear beyond doubt, so that it sets no threshold.
    """

    choice: Choice
    before: float
    after: float
    called_before: bool
    called_after: bool
    opacity_ml: float
    doubtful: bool


@dataclass(frozen=True)
class Outcome:
    """Of an adaptation.

    Attributes:
        calibration, threshold: of the new bundle.
        sides: all that were looked at.
        painted: figures on painted samples of left-out persons, before and after, each at the
            threshold that calls the same fraction of their clear sides clear; see `judged_at`.
    """

    calibration: Calibration
    threshold: float
    sides: tuple[SideOutcome, ...]
    painted: Mapping[str, Mapping[str, Any]]

    @property
    def shaped(self) -> list[SideOutcome]:
        """The sides that have the shape of clear ones, whatever the model says of them."""
        return [side for side in self.sides if not side.choice.by_shape]


def outcome_of(
    choices: Sequence[Choice],
    scored: pd.DataFrame,
    clear: pd.DataFrame,
    as_is: pd.DataFrame,
    threshold_before: float,
    specificity: float,
) -> Outcome:
    """Fit threshold and calibration, and compare.

    Args:
        choices: all sides.
        scored: painted samples of left-out persons, with the column `when`.
        clear: samples of their chosen sides as they are, likewise.
        as_is: the sides as they are, after.
        threshold_before: of the bundle that was adapted.
        specificity: fraction of clear sides to be called clear.

    Raises:
        BadConfig: the samples lack clear or diseased sinuses, or no side is left.
    """
    again = {(row["scan"], row["side"]): row for row in as_is.to_dict("records")}
    doubtful = {
        (choice.facts.scan, choice.facts.side.value)
        for choice in choices
        if choice.used and _evidence(again, choice) > DOUBTFUL
    }
    painted = {}
    for when in (BEFORE, AFTER):
        ill, healthy = (_sure(table[table["when"] == when], doubtful) for table in (scored, clear))
        calibration = fit_calibration(ill)
        threshold = fit_threshold(healthy, calibration, specificity)
        painted[when] = judged_at(threshold, calibration, ill, healthy)
    sides = []
    for choice in choices:
        facts = choice.facts
        row = again[facts.scan, facts.side.value]
        after = calibration.probability(evidence_margin(float(row["evidence"])))
        sides.append(
            SideOutcome(
                choice=choice,
                before=facts.probability,
                after=after,
                called_before=facts.probability >= threshold_before,
                called_after=after >= threshold,
                opacity_ml=float(row["opacity_ml"]),
                doubtful=(facts.scan, facts.side.value) in doubtful,
            )
        )
    return Outcome(calibration, threshold, tuple(sides), painted)


def _sure(table: pd.DataFrame, doubtful: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Without the samples of doubtful sides."""
    sides = zip(table["scan"], table["side"], strict=True)
    kept = table[[side not in doubtful for side in sides]]
    if kept.empty:
        raise BadConfig("No sinus is clear beyond doubt after the adaptation. Give more scans.")
    return kept


def _evidence(again: Mapping[tuple[str, str], Any], choice: Choice) -> float:
    return float(again[choice.facts.scan, choice.facts.side.value]["evidence"])


def called(sides: Sequence[SideOutcome]) -> tuple[int, int]:
    """How many are called anomalous before and after."""
    return sum(s.called_before for s in sides), sum(s.called_after for s in sides)
