"""Threshold and calibration from left-out persons, and what has changed."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
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
class DecisionRule:
    """From the logit of a sinus's evidence to a decision."""

    calibration: Calibration
    threshold: float

    def probability(self, evidence: float) -> float:
        """Calibrated, 0..1."""
        return self.calibration.probability(evidence_margin(evidence))

    def judged(self, scored: pd.DataFrame, clear: pd.DataFrame) -> dict[str, Any]:
        """`judged_at` of samples."""
        return judged_at(self.threshold, self.calibration, scored, clear)


@dataclass(frozen=True)
class SideOutcome:
    """One side before and after; after: by the network that has not learnt from its person.

    doubtful: it was used, but that network sees an anomaly, so that it sets no threshold.
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
        rule: of the new bundle.
        sides: all that were looked at.
        painted: figures on painted samples of left-out persons and on their clear sinuses, before
            and after, as either bundle decides, of doubtful sides none; see `judged_at`.
    """

    rule: DecisionRule
    sides: tuple[SideOutcome, ...]
    painted: Mapping[str, Mapping[str, Any]]


def outcome_of(
    choices: Sequence[Choice],
    scored: pd.DataFrame,
    clear: pd.DataFrame,
    as_is: pd.DataFrame,
    before: DecisionRule,
    specificity: float,
) -> Outcome:
    """Fit threshold and calibration, and compare.

    Args:
        choices: all sides.
        scored: painted samples of left-out persons, with the column `when`.
        clear: samples of their chosen sides as they are, likewise.
        as_is: the sides as they are, after.
        before: of the bundle that was adapted.
        specificity: fraction of clear sides to be called clear.

    Raises:
        BadConfig: the samples lack clear or diseased sinuses, or no side is left.
    """
    again = {(row["scan"], row["side"]): row for row in as_is.to_dict("records")}
    doubtful = {
        _key(choice)
        for choice in choices
        if choice.used and float(again[_key(choice)]["evidence"]) > DOUBTFUL
    }
    ill, healthy = (_sure(table[table["when"] == AFTER], doubtful) for table in (scored, clear))
    after = fit_rule(ill, healthy, before, specificity)
    of_before = (_sure(table[table["when"] == BEFORE], doubtful) for table in (scored, clear))
    painted = {BEFORE: before.judged(*of_before), AFTER: after.judged(ill, healthy)}
    sides = [
        _side(choice, again[_key(choice)], before, after, _key(choice) in doubtful)
        for choice in choices
    ]
    return Outcome(after, tuple(sides), painted)


def fit_rule(
    ill: pd.DataFrame, healthy: pd.DataFrame, before: DecisionRule, specificity: float
) -> DecisionRule:
    """Calibration of the samples, and a threshold that is never below the old one in evidence.

    Sides are chosen because little is seen in them: that fraction of them may lie lower than the same
    fraction of all clear sides of the site does.

    Args:
        ill: painted samples, clear ones among them; see `fit_calibration`.
        healthy: clear sides as they are.
        before: of the bundle that was adapted.
        specificity: fraction of clear sides to be called clear.
    """
    calibration = fit_calibration(ill)
    lowest = before.calibration.margin(before.threshold)
    return DecisionRule(calibration, fit_threshold(healthy, calibration, specificity, lowest))


def _side(
    choice: Choice,
    row: Mapping[Hashable, Any],
    before: DecisionRule,
    after: DecisionRule,
    doubtful: bool,
) -> SideOutcome:
    probability = after.probability(float(row["evidence"]))
    return SideOutcome(
        choice=choice,
        before=choice.facts.probability,
        after=probability,
        called_before=choice.facts.probability >= before.threshold,
        called_after=probability >= after.threshold,
        opacity_ml=float(row["opacity_ml"]),
        doubtful=doubtful,
    )


def _key(choice: Choice) -> tuple[str, str]:
    return choice.facts.scan, choice.facts.side.value


def _sure(table: pd.DataFrame, doubtful: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Without the samples of doubtful sides."""
    sides = zip(table["scan"], table["side"], strict=True)
    kept = table[[side not in doubtful for side in sides]]
    if kept.empty:
        raise BadConfig(
            "The adapted model sees an anomaly in every sinus that was taken as clear. Give more scans."
        )
    return kept


def called(sides: Sequence[SideOutcome]) -> tuple[int, int]:
    """How many are called anomalous before and after."""
    return sum(s.called_before for s in sides), sum(s.called_after for s in sides)
