"""The one progress protocol: work reports `Progress`, sinks (bar, JSON lines, panel) show it.

A sink is any callable that takes one `Progress`. To stop the work, it raises `errors.Cancelled`;
nothing is left half-done. Example:

    def show(progress: Progress) -> None:
        print(f"{progress.stage.words}: {progress.fraction:.0%}")

    predict_scan("head.nii.gz", bundle, progress=show)
"""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


class Stage(StrEnum):
    """What happens to one scan, in this order."""

    READ = "read"
    REGISTER = "register"
    CROP = "crop"
    ANALYSE = "analyse"
    WRITE = "write"
    DONE = "done"

    @property
    def words(self) -> str:
        """What a user reads while the stage runs."""
        return _WORDS[self]


_WORDS = {
    Stage.READ: "Reading the scan",
    Stage.REGISTER: "Finding the maxillary sinuses",
    Stage.CROP: "Cutting out the sinuses",
    Stage.ANALYSE: "Scoring the sinuses",
    Stage.WRITE: "Writing the results",
    Stage.DONE: "Done",
}
# Share of one scan's time that has passed when a stage starts (measured, 2 cores, 1 mm scan).
_STARTS = {
    Stage.READ: 0.0,
    Stage.REGISTER: 0.1,
    Stage.CROP: 0.6,
    Stage.ANALYSE: 0.65,
    Stage.WRITE: 0.75,
    Stage.DONE: 1.0,
}


CREEP_S = 0.5  # between two movements of the bar inside a stage
STAGE_S = 5.0  # a stage takes about so long


def _end_of(progress: Progress) -> float:
    """The fraction at which the next stage is due."""
    return min((start for start in _STARTS.values() if start > progress.fraction), default=1.0)


@dataclass(frozen=True)
class Progress:
    """`stage` has just begun; `fraction` (0..1) of the scan's expected time has passed."""

    stage: Stage
    fraction: float

    @classmethod
    def at(cls, stage: Stage) -> Progress:
        """The report that is due when `stage` begins."""
        return cls(stage, _STARTS[stage])


class ProgressSink(Protocol):
    """Takes reports; may raise `errors.Cancelled` to stop the work."""

    def __call__(self, progress: Progress, /) -> None: ...


def no_progress(progress: Progress) -> None:
    """The sink that shows nothing."""


class ProgressBar:
    """A tqdm bar on the terminal for one scan after the other; silent when it is no terminal.

    Its text is the scan's neutral id and the stage.
    """

    def __init__(self, scans: int, stream: TextIO | None = None) -> None:
        from tqdm import tqdm

        self._scans = scans
        self._done = 0
        self._title = ""
        self._stage_began = time.monotonic()
        self._from = self._to = 0.0  # of the stage, in scans
        self._bar: tqdm[Any] = tqdm(
            total=float(scans),
            file=stream or sys.stderr,
            disable=None,
            leave=False,
            bar_format="{l_bar}{bar}| {elapsed}",
        )
        self._closed = threading.Event()
        if not self._bar.disable:
            threading.Thread(target=self._creep, daemon=True, name="bar").start()

    def start(self, title: str) -> None:
        """The next scan begins."""
        self._title = title

    def __call__(self, progress: Progress) -> None:
        self._bar.set_description(f"{self._title} {progress.stage.words}", refresh=False)
        self._stage_began = time.monotonic()
        self._from, self._to = (self._done + f for f in (progress.fraction, _end_of(progress)))
        self._move_to(self._from)

    def finish(self) -> None:
        """The present scan is done or has failed."""
        self._done = min(self._done + 1, self._scans)
        self._from = self._to = self._done
        self._move_to(self._done)
        self._bar.clear()  # what is printed next starts on a clean line

    def close(self) -> None:
        """Stop the bar and its thread."""
        self._closed.set()
        self._bar.close()

    def _creep(self) -> None:
        """Show that a long stage is under way: ever slower towards the stage's end, never beyond."""
        while not self._closed.wait(CREEP_S):
            if self._to > self._from:
                passed = 1 - math.exp((self._stage_began - time.monotonic()) / STAGE_S)
                self._move_to(self._from + passed * (self._to - self._from))

    def _move_to(self, position: float) -> None:
        self._bar.n = position
        self._bar.refresh()
