"""The one progress protocol: work reports `Progress`, sinks (bar, JSON lines, panel) show it.

A sink is any callable that takes one `Progress`. To stop the work, it raises `errors.Cancelled`;
nothing is left half-done. Example:

    def show(progress: Progress) -> None:
        print(f"{progress.stage.words}: {progress.fraction:.0%}")

    predict_scan("head.nii.gz", bundle, progress=show)
"""

from __future__ import annotations

import json
import sys
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
        self._bar: tqdm[Any] = tqdm(
            total=float(scans),
            file=stream or sys.stderr,
            disable=None,
            leave=False,
            bar_format="{l_bar}{bar}| {elapsed}",
        )

    def start(self, title: str) -> None:
        """The next scan begins."""
        self._title = title

    def __call__(self, progress: Progress) -> None:
        self._bar.set_description(f"{self._title} {progress.stage.words}", refresh=False)
        self._move_to(self._done + progress.fraction)

    def finish(self) -> None:
        """The present scan is done or has failed."""
        self._done = min(self._done + 1, self._scans)
        self._move_to(self._done)
        self._bar.clear()  # what is printed next starts on a clean line

    def close(self) -> None:
        self._bar.close()

    def _move_to(self, position: float) -> None:
        self._bar.n = position
        self._bar.refresh()


class JsonLines:
    """Writes one JSON object per line and nothing else, for programs that run `paranasal`.

    Every object has `event`; the events, in the order of their coming, for each scan:

    - `stage`: `id`, `scan` (1..), `of`, `input` (as the user gave it), `stage`
      (read, register, crop, analyse, write, done), `fraction` (0..1 of this scan)
    - `scan_done`: `id`, `scan`, `of`, `input`, `folder`, `replaced` (an older result), `seconds`,
      `report` (the content of `report.json`; its `files` has `dicom_sr` where `--dicom-out` wrote a
      structured report, and `dicom_seg` where it wrote a segmentation)
    - `scan_failed`: `id`, `scan`, `of`, `input`, `error` (name of the error's class, for example
      `UnreadableScan`), `message`, `older_result` (an older result of that id was left in place)

    and at the end, once:

    - `summary`: `done`, `failed` (numbers of scans), `out` (folder), `exit_status`

    or, if what all scans need is not there (boxes, highdicom, device, model), instead of it:
    `failed`: `error`, `message`, `exit_status`. A model is noticed to be missing or broken only
    after the first scan's stages `read` and `register`.

    `id` is what `--id` or `--keep-names` gave to the scan, or else sub-0001, sub-0002, ... A call
    that is stopped (by Ctrl-C, or with `--end-with-input` by the end of standard input) ends after
    any event, with exit status 130; wrong usage gives no events, and 2. Readers should ignore
    fields and events that they do not know.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._scan: dict[str, Any] = {}

    def start(self, **scan: Any) -> None:
        """The next scan begins; its facts are repeated in each of its events."""
        self._scan = scan

    def __call__(self, progress: Progress) -> None:
        self.scan_event("stage", stage=progress.stage.value, fraction=round(progress.fraction, 3))

    def scan_event(self, event: str, **fields: Any) -> None:
        """An event of the present scan."""
        self.event(event, **self._scan, **fields)

    def event(self, event: str, **fields: Any) -> None:
        self._stream.write(json.dumps({"event": event, **fields}) + "\n")
        self._stream.flush()
