"""Many scans as a list: what each is called, how far it is, and which a person looks at first.

Shared by the overview of a results folder (`overview.py`) and the worklist of Slicer's panel. Imports
the standard library only, so that the panel can use it before anything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.results.reading import Reading
    from ParanasalSSLLib.results.record import ScanRecord

State = Literal["waiting", "running", "done", "failed", "left out"]
STATE_WORDS: dict[State, str] = {
    "waiting": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "left out": "left out",
}
_VERDICTS = ("review", "ok")  # in the order in which they are looked at


@dataclass(frozen=True)
class Entry:
    """One scan of a list.

    Attributes:
        identifier: what its results are called.
        path: where it is (private); empty where that is not known.
        state: how far it is.
        message: why it was not scored.
        title: what a table calls it, if not its file.
        series: which of the DICOM series there it is, where there are several.
        searched: whether it was found in a folder, so that nobody has said that it is a head.
    """

    identifier: str
    path: str
    state: State = "waiting"
    message: str = ""
    title: str = ""
    series: str = ""
    searched: bool = False

    @property
    def name(self) -> str:
        """What a table calls the scan."""
        return self.title or Path(self.path).name


@dataclass(frozen=True)
class Row:
    """What a table shows of an entry.

    record: None where it was not scored. reading: what a reader has said of it; None: nothing yet.
    """

    entry: Entry
    record: ScanRecord | None = None
    reading: Reading | None = None

    @property
    def is_read(self) -> bool:
        """Whether a reader has said something of it."""
        return self.reading is not None and not self.reading.is_empty

    @property
    def quality(self) -> str:
        """Verdict on the boxes; empty where there is none."""
        return self.record.quality.verdict if self.record is not None else ""

    def probability(self, side: Side) -> float | None:
        """0..1, of an anomaly; None for a side that was not scored or not judged."""
        sinus = self.record.sinuses.get(side) if self.record is not None else None
        return None if sinus is None else sinus.probability

    @property
    def highest_probability(self) -> float:
        """Of both sides; 0 where none was scored or judged."""
        return max(self.probability(side) or 0.0 for side in Side)

    @property
    def urgency(self) -> tuple[int, float]:
        """Sorts what a person must look at to the top: to review, then the highest probabilities.

        What a reader has read comes after all that nobody has.
        """
        if self.is_read:
            return len(_VERDICTS) + 1, -self.highest_probability
        known = self.quality in _VERDICTS
        place = _VERDICTS.index(self.quality) if known else len(_VERDICTS)
        return place, -self.highest_probability


def most_urgent_first(rows: Iterable[Row]) -> list[Row]:
    """The rows in the order in which a person looks at them; what was not scored comes last."""
    return sorted(rows, key=lambda row: row.urgency)


def harmless(text: str | None) -> str:
    """Free text as a cell of a table; an apostrophe before what spreadsheets run as a formula."""
    text = text or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
