"""What the panel needs computed, and what comes of it; free of Qt, for whatever shows it.

`separateProcess.SeparateProcess` does it for Slicer; what takes its place offers the same methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.geometry import Grid
    from ParanasalSSLLib.progress import Progress
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.record import ModelRecord, ScanRecord
    from ParanasalSSLLib.results.sinus_record import SinusRecord
    from ParanasalSSLLib.scans.volume import Volume

SCAN_ID = "sub-slicer"  # until a user names it
AUTOMATIC = "auto"  # the device: a GPU if there is one
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Findings:
    """What a run found, in the scan's own grid.

    Attributes:
        residual: float32 (I, J, K), 0..1, 0 outside the boxes.
        masks: per side, bool (I, J, K): what fills the sinus.
        sinuses: per side, the numbers of its report.
        quality: of the boxes, as the run has judged them: compared with the scan's registration.
        notices: sentences that must stand beside the numbers.
        model: name and version of the model.
        cavities: per side, bool (I, J, K): all inside the bony walls; empty where none is outlined.
        files: where all this is written; None where it is not.
        grid: the scan's, as its files tell it; None where there are none.
        boxes: per side, where it was scored: boxes that a registration placed move onto the cavity.
    """

    residual: np.ndarray
    masks: Mapping[Side, np.ndarray]
    sinuses: Mapping[Side, SinusRecord]
    quality: Quality
    notices: tuple[str, ...]
    model: str = ""
    cavities: Mapping[Side, np.ndarray] = field(default_factory=dict)
    files: ScanFiles | None = None
    grid: Grid | None = None
    boxes: Mapping[Side, SinusBox] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How a scan is scored.

    device: "auto", or one of `paranasal devices`.
    model: folder of a bundle; None is the shipped one.
    """

    device: str = AUTOMATIC
    model: Path | None = None

    def predict(self, scans: Mapping[str, Path | str], out: Path, *more: str) -> list[str]:
        """Arguments of `paranasal predict` for a process that this Slicer watches.

        scans: by the ids of their results. more: further options.
        """
        named = [part for name in scans for part in ("--id", name)]
        return ["predict", *map(str, scans.values()), *named, *self._how(out), *more]

    def predictListed(self, listed: Path, out: Path, *more: str) -> list[str]:
        """As `predict`, for the scans in a file of `cli.scan_list`."""
        return ["predict", "--scan-list", str(listed), *self._how(out), *more]

    def _how(self, out: Path) -> list[str]:
        model = ["--model", str(self.model)] if self.model else []
        told = ["--json-progress", "--end-with-input"]
        return ["--output", str(out), *told, "--device", self.device, *model]


@dataclass(frozen=True)
class Watcher(Generic[Found]):
    """Whom a computation tells how it goes; `done`, `failed` or `cancelled` is called once, last.

    progress: at the start of every stage. log: a line of text.
    done: with what was found. failed: with a sentence for the user. cancelled: nothing was changed.
    """

    done: Callable[[Found], None]
    failed: Callable[[str], None]
    cancelled: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda progress: None
    log: Callable[[str], None] = lambda line: None


class Work(Protocol):
    """A computation under way."""

    def cancel(self) -> None:
        """Ask it to stop."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> None:
        """Return when it has ended."""


class Computation(Protocol):
    """What the panel needs computed."""

    def place(self, volume: Volume, watcher: Watcher[Placement]) -> Work:
        """Begin to find both sinuses by registration."""
        ...

    def start(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        settings: Settings,
        watcher: Watcher[Findings],
    ) -> Work:
        """Begin to score the sinuses in `boxes` (one or both sides); see `areAutomatic`."""
        ...


def readFindings(files: ScanFiles, record: ScanRecord) -> Findings:
    """What `paranasal predict` has written of a scan. Raises `UnreadableScan`."""
    from ParanasalSSLLib.boxes.placement import read_placement
    from ParanasalSSLLib.results.maps import read_maps

    maps, sides = read_maps(files), record.sinuses
    cavities = {} if maps.cavities is None else _perSide(maps.cavities, sides)
    quality = record.quality
    reasons = quality.reasons if quality.verdict == "review" else ()
    return Findings(
        residual=maps.residual,
        masks=_perSide(maps.labels, sides),
        sinuses=sides,
        quality=quality,
        notices=(*reasons, record.notice, *record.model.notices),
        model=modelName(record.model),
        cavities=cavities,
        files=files,
        grid=maps.grid,
        boxes=read_placement(files.boxes).boxes,
    )


def _perSide(labels: np.ndarray, sides: Iterable[Side]) -> dict[Side, np.ndarray]:
    return {side: labels == SEGMENT_LABELS[side] for side in sides}


def modelName(model: ModelRecord) -> str:
    """Name and version of a model."""
    return f"{model.name} {model.version}"
