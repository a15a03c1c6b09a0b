"""Slices that were missing in a scan and made up from their neighbours: what that means for a sinus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class GapLimits:
    """Which gaps are told (`near_mm`) and which are too wide to be bridged.

    The air of a sinus fills the middle 40 mm of its box. Models are trained on slices up to 7 mm
    apart: a gap up to that shows no less than such a scan does.
    """

    near_mm: float = 5.0
    sinus_mm: float = 40.0
    widest_mm: float = 7.0


GAP_LIMITS = GapLimits()


def judge_gaps(
    volume: Volume, boxes: Mapping[Side, SinusBox], limits: GapLimits = GAP_LIMITS
) -> Quality:
    """ "review" where a slice near a box was made up.

    Raises:
        UnsupportedScan: a gap within a sinus is too wide for it.
    """
    reasons = []
    for side, box in boxes.items():
        if _gaps_within(volume, box, limits.sinus_mm) and gap_mm(volume) > limits.widest_mm:
            raise UnsupportedScan(
                f"The series lacks a slice within the {side} maxillary sinus, and its neighbours are "
                f"{gap_mm(volume):.0f} mm apart: too far to fill it in. Export the whole series again."
            )
        number = _gaps_within(volume, box, box.edge_mm + 2 * limits.near_mm)
        if number:
            what = "1 slice" if number == 1 else f"{number} slices"
            reasons.append(
                f"{what} at the {side} box {'was' if number == 1 else 'were'} missing and made up "
                "from the neighbours: what only they showed is not there."
            )
    return Quality("review" if reasons else "ok", tuple(reasons))


def gap_mm(volume: Volume) -> float:
    """Distance between the two neighbours of a missing slice."""
    return 2 * volume.spacing_mm[2]


def _gaps_within(volume: Volume, box: SinusBox, edge_mm: float) -> int:
    """Made-up slices whose gap reaches into a cube of this edge, placed as the box."""
    index = volume.to_index(box.grid(1).corners(edge_mm / box.edge_mm / 2))[:, 2]
    filled = np.array(volume.provenance.interpolated_slices)
    return int(((filled + 1 > index.min()) & (filled - 1 < index.max())).sum())
