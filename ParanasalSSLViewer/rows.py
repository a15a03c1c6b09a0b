"""A row of the worklist in words, as the overview page says them."""

from __future__ import annotations

from typing import Any

from ParanasalSSLLib.results.listing import STATE_WORDS, Row
from ParanasalSSLLib.sinuses import DECISION_WORDS, Decision, Side, probability_words

SIDES = (Side.RIGHT, Side.LEFT)  # as in the pictures


def row_for_page(row: Row) -> dict[str, Any]:
    """What the page shows of a case; one of which the room has no scan waits for nothing."""
    state = row.entry.state
    return {
        "id": row.entry.identifier,
        "name": row.entry.name,
        "state": STATE_WORDS[state],
        "waits": state in ("waiting", "failed") and row.entry.path != "",
        "scored": row.record is not None,
        "message": row.entry.message,
        "quality": row.quality,
        "read": row.is_read,
        "sides": [_side(row, side) for side in SIDES],
    }


def _side(row: Row, side: Side) -> dict[str, Any]:
    sinus = row.record.sinuses.get(side) if row.record is not None else None
    if sinus is None:
        return {"side": side.value, "words": "", "probability": "", "suspected": False}
    return {
        "side": side.value,
        "words": DECISION_WORDS[sinus.decision],
        "probability": probability_words(sinus.probability),
        "suspected": sinus.decision == Decision.ANOMALY,
    }
