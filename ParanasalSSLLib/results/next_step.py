"""What a reader does next: one sentence from the verdict on the boxes and the decisions."""

from __future__ import annotations

from collections.abc import Sequence

from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.sinuses import Decision, Side

CHECK_BOXES = "check under “Where the boxes are” that each box holds its sinus"
USELESS = "where one does not, its scores say nothing"


def next_step(record: ScanRecord) -> str:
    """One sentence: the boxes first where they are in doubt, then what is suspected or scored."""
    steps = [] if record.quality.verdict == "ok" else [f"{CHECK_BOXES} ({USELESS})"]
    steps += _suspected(record) or _nothing_suspected(record)
    steps += _unknown(record)
    sentence = ", then ".join(steps)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _suspected(record: ScanRecord) -> list[str]:
    """What to look at of the sinuses with a suspected anomaly: where it is outlined, where not."""
    found = [side for side, sinus in record.sinuses.items() if sinus.decision == Decision.ANOMALY]
    outlined = [side for side in found if record.sinuses[side].opacity_ml]
    faint = [side for side in found if side not in outlined]
    steps = []
    if outlined:
        steps.append(
            f"look at the slices through the largest finding of {_named(outlined)}, and decide in the "
            "scan itself whether it is one or a false alarm"
        )
    if faint:
        steps.append(
            f"look through all slices of {_named(faint)} in the scan itself, since an anomaly is "
            "suspected there but nothing is outlined"
        )
    return steps


def _nothing_suspected(record: ScanRecord) -> list[str]:
    clear = [side for side, sinus in record.sinuses.items() if sinus.decision == Decision.CLEAR]
    outlined = [side for side in clear if record.sinuses[side].opacity_ml]
    if outlined:
        return [
            f"look at the slices through the largest finding of {_named(outlined)}: it is outlined, "
            "but too faint or small for the model to suspect an anomaly"
        ]
    if clear:
        return [
            f"look once at the slices of {_named(clear)}: the model suspects nothing there, but it "
            "misses small and faint findings"
        ]
    return []


def _unknown(record: ScanRecord) -> list[str]:
    """The sides of which nothing is said."""
    unjudged = [side for side in record.sinuses if side not in record.judged]
    missing = [side for side in Side if side not in record.sinuses]
    return [
        f"look in the scan itself at {_named(sides)}, which {_was(sides)} not {word}"
        for sides, word in ((unjudged, "judged"), (missing, "scored"))
        if sides
    ]


def _was(sides: Sequence[Side]) -> str:
    return "were" if len(sides) == 2 else "was"


def _named(sides: Sequence[Side]) -> str:
    return "both sinuses" if len(sides) == 2 else f"the {sides[0]} sinus"
