"""`paranasal follow-up`: what has changed between two results of one patient."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.cli.views import say

if TYPE_CHECKING:
    from ParanasalSSLLib.results.follow_up import Change


@dataclass(frozen=True)
class FollowUpConfig:
    """Compares two results of one patient, in ml and mm; research use only.

    The error bar is one standard deviation that the head's position alone makes, as it was measured for
    the model; a change counts as beyond chance where it exceeds 1.96 of them. Another scanner or other
    slices are not in it. Results hold no identity: that they may be of two patients is told only where
    both have DICOM objects.
    """

    earlier: Path
    """Folder of the earlier result (OUT/sub-0001), or its report.json."""
    later: Path
    """Folder of the later result, or its report.json."""
    json: bool = False
    """Print one JSON object and nothing else."""


def run_follow_up(config: FollowUpConfig) -> None:
    """Print a line for each number of each sinus."""
    from ParanasalSSLLib.results.follow_up import changes, doubts, patient_beside, result_at
    from ParanasalSSLLib.scans.patient import two_patients_words

    results = result_at(config.earlier), result_at(config.later)
    found = changes(*results)
    patients = two_patients_words(patient_beside(config.earlier), patient_beside(config.later))
    notices = [*filter(None, [patients]), *doubts(*results)]
    if config.json:
        rows = [asdict(one) | _derived(one) for one in found]
        say(json.dumps({"changes": rows, "notices": notices}))
        return
    if notices:
        say(*notices, error=True)
    say(*map(_line, found))


def _derived(change: Change) -> dict[str, float | bool | None]:
    return {
        "difference": round(change.difference, 4),
        "is_beyond_chance": change.is_beyond_chance,
    }


def _line(change: Change) -> str:
    error = "" if change.sd is None else f" ± {change.sd:.2f}"
    chance = {None: "", True: ", beyond chance", False: ", may be chance"}[change.is_beyond_chance]
    values = f"{change.earlier:.2f} -> {change.later:.2f} {change.unit}"
    return (
        f"{change.side.value:<6} {change.quantity:<9} {values}: "
        f"{change.difference:+.2f}{error} {change.unit}{chance}"
    )
