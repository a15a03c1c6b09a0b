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
    Stage.CROP: "Cropping",
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


@dataclass(frozen=True)
class _Running:
    """A scan under way: its stage, when that began, and the share of the scan that it takes."""

    title: str
    stage: Stage
    began: float
    start: float
    end: float

    @property
    def fraction(self) -> float:
        """Ever slower towards the stage's end, never beyond."""
        passed = 1 - math.exp((self.began - time.monotonic()) / STAGE_S)
        return self.start + passed * (self.end - self.start)


class ProgressBar:
    """A tqdm bar on the terminal for all scans of a call; silent when it is no terminal.

    Its text is the neutral id and the stage of the scan, or how many are under way at once.
    """

    def __init__(self, scans: int, stream: TextIO | None = None) -> None:
        from tqdm import tqdm

        self._scans = scans
        self._done = 0
        self._running: dict[int, _Running] = {}
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

    def report(self, number: int, title: str, progress: Progress) -> None:
        """A stage of a scan has begun. number: of the scan in the call, from 1."""
        self._running[number] = _Running(
            title, progress.stage, time.monotonic(), progress.fraction, _end_of(progress)
        )
        self._move()

    def finish(self, number: int | None) -> None:
        """Make room for lines; the scan of that number, if any, is done or has failed."""
        if number is not None:
            self._running.pop(number, None)
            self._done = min(self._done + 1, self._scans)
        self._move()
        self._bar.clear()  # what is printed next starts on a clean line

    def close(self) -> None:
        """Stop the bar and its thread."""
        self._closed.set()
        self._bar.close()

    def _creep(self) -> None:
        """Show that a long stage is under way."""
        while not self._closed.wait(CREEP_S):
            self._move()

    def _move(self) -> None:
        running = dict(self._running)
        words = [f"{one.title} {one.stage.words}" for one in running.values()]
        several = f"{self._done} of {self._scans} scans, {len(words)} at a time"
        self._bar.set_description(words[0] if len(words) == 1 else several, refresh=False)
        self._bar.n = min(self._scans, self._done + sum(one.fraction for one in running.values()))
        self._bar.refresh()
