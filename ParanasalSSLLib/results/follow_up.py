"""Two results of one patient, earlier and later: what has changed, and what of it may be chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.results.record import ScanRecord, read_report
from ParanasalSSLLib.results.sinus_record import SinusRecord
from ParanasalSSLLib.scans.patient import patient_in
from ParanasalSSLLib.sinuses import Side

NORMAL_95 = 1.96  # standard deviations that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Change:
    """One number of one sinus.

    quantity: "opacity", "cavity", "depth" or "diameter" (of the largest finding). unit: ml or mm.
    sd: standard deviation that the difference has by the head's position alone, in the same unit;
    None where it was not measured.
    """

    side: Side
    quantity: str
    unit: str
    earlier: float
    later: float
    sd: float | None = None

    @property
    def difference(self) -> float:
        """Later less earlier."""
        return self.later - self.earlier

    @property
    def is_beyond_chance(self) -> bool | None:
        """Whether the position alone would make fewer than 5 % differ as much; None: not known.

        Another acquisition (slices, noise, scanner) may make more of a difference.
        """
        return None if self.sd is None else abs(self.difference) > NORMAL_95 * self.sd


def changes(earlier: ScanRecord, later: ScanRecord) -> list[Change]:
    """What has changed in each sinus that is judged in both results.

    Raises `UnsupportedScan`: two models made the results, or no sinus is judged in both.
    """
    if earlier.model.weights_sha256 != later.model.weights_sha256:
        raise UnsupportedScan(
            f"The results are of two models ({earlier.model.name} {earlier.model.version} and "
            f"{later.model.name} {later.model.version}), so their numbers cannot be compared. Score "
            "the earlier scan again."
        )
    sides = [side for side in Side if side in earlier.judged and side in later.judged]
    if not sides:
        raise UnsupportedScan("No sinus was judged in both results.")
    spread = later.model.repeatability or {}
    return [
        Change(side, quantity, unit, before, after, _sd(spread.get(percent), before, after))
        for side in sides
        for quantity, unit, percent, before, after in _pairs(
            earlier.judged[side], later.judged[side]
        )
    ]


def _pairs(
    earlier: SinusRecord, later: SinusRecord
) -> Iterator[tuple[str, str, str, float, float]]:
    """What both have: quantity, unit, name of its repeatability, earlier, later."""
    if earlier.opacity_ml is not None and later.opacity_ml is not None:
        yield "opacity", "ml", "opacity_percent", earlier.opacity_ml, later.opacity_ml
    if earlier.cavity_ml is not None and later.cavity_ml is not None:
        yield "cavity", "ml", "cavity_percent", earlier.cavity_ml, later.cavity_ml
    if earlier.depth_mm is not None and later.depth_mm is not None:
        yield "depth", "mm", "", earlier.depth_mm, later.depth_mm
    if earlier.findings is not None and later.findings is not None:
        yield "diameter", "mm", "", _diameter(earlier), _diameter(later)


def _diameter(sinus: SinusRecord) -> float:
    return max((one.diameter_mm for one in sinus.findings or ()), default=0.0)


def _sd(percent: float | None, earlier: float, later: float) -> float | None:
    """Of the difference of two numbers that each vary by so many per cent."""
    return None if percent is None else percent / 100 * math.hypot(earlier, later)


def doubts(earlier: ScanRecord, later: ScanRecord) -> list[str]:
    """Sentences on results whose boxes are to be reviewed: a sinus that is cut off seems to shrink."""
    results = {"earlier": earlier, "later": later}
    return [
        " ".join((f"The boxes of the {which} result are to be reviewed.", *record.quality.reasons))
        for which, record in results.items()
        if record.quality.verdict != "ok"
    ]


def patient_beside(path: Path) -> dict[str, str]:
    """What the DICOM objects of a result say of the patient, see `patient_in`; no other file does."""
    folder = path if path.is_dir() else path.parent
    return patient_in(sorted(folder.glob("*.dcm")))


def result_at(path: Path) -> ScanRecord:
    """The report of a result folder, or of its report.json. Raises `UnreadableScan`."""
    reports = sorted(path.glob("*_report.json")) if path.is_dir() else [path]
    if len(reports) != 1:
        raise UnreadableScan(f"{path} is no folder of one scan's results: give OUT/sub-0001.")
    try:
        return read_report(reports[0])
    except (OSError, ValueError) as error:
        raise UnreadableScan(f"{reports[0]} is no report of a scan, or cannot be read.") from error
