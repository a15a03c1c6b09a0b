"""The one sentence that says what to do next."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from ParanasalSSLLib.results.next_step import CHECK_BOXES, next_step
from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def scored(toolbox: Any) -> ScanRecord:
    return ScanRecord.of(toolbox.result(toolbox.head()), toolbox.card, "sub-0001")


def saying(scored: ScanRecord, verdict: str = "ok", **said: tuple[str, float]) -> ScanRecord:
    """said: decision and opacity in ml, by side; a side that is not named was not scored."""
    sinuses = {
        Side(side): replace(scored.sinuses[Side(side)], decision=decision, opacity_ml=ml)
        for side, (decision, ml) in said.items()
    }
    quality = replace(scored.quality, verdict=verdict)  # type: ignore[arg-type]
    return replace(scored, sinuses=sinuses, quality=quality)


def test_it_is_one_sentence(scored: ScanRecord) -> None:
    states = [("clear", 0.0), ("clear", 0.4), ("anomaly", 0.0), ("anomaly", 2.0)]
    for verdict, left, right in product(("ok", "review"), states, states):
        sentence = next_step(saying(scored, verdict, left=left, right=right))
        assert sentence[0].isupper() and sentence.count(".") == 1 and sentence.endswith(".")


def test_doubtful_boxes_are_checked_first(scored: ScanRecord) -> None:
    doubtful = next_step(saying(scored, "review", left=("anomaly", 2.0)))
    sure = next_step(saying(scored, "ok", left=("anomaly", 2.0)))
    assert doubtful.lower().startswith(CHECK_BOXES.lower()) and "largest finding" in doubtful
    assert CHECK_BOXES.lower() not in sure.lower()


def test_the_slices_of_the_suspected_side_are_named(scored: ScanRecord) -> None:
    sentence = next_step(saying(scored, left=("clear", 0.0), right=("anomaly", 2.0)))
    assert "largest finding of the right sinus" in sentence and "left" not in sentence


def test_a_suspicion_without_outline_sends_to_the_whole_sinus(scored: ScanRecord) -> None:
    sentence = next_step(saying(scored, left=("anomaly", 0.0), right=("clear", 0.0)))
    assert "all slices of the left sinus" in sentence and "nothing is outlined" in sentence


def test_clear_sinuses_are_not_called_healthy(scored: ScanRecord) -> None:
    sentence = next_step(saying(scored, left=("clear", 0.0), right=("clear", 0.0)))
    assert "slices of both sinuses" in sentence and "misses" in sentence


def test_what_is_outlined_below_the_threshold_is_looked_at(scored: ScanRecord) -> None:
    sentence = next_step(saying(scored, left=("clear", 0.4), right=("clear", 0.0)))
    assert "largest finding of the left sinus" in sentence and "right" not in sentence


def test_a_side_that_was_not_scored_is_named(scored: ScanRecord) -> None:
    sentence = next_step(saying(scored, right=("clear", 0.0)))
    assert "slices of the right sinus" in sentence
    assert "the left sinus, which was not scored" in sentence
