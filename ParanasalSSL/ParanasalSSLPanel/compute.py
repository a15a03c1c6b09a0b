"""The library behind the one interface that the panel's logic knows.

`SeparateProcess` registers inside Slicer (some seconds, no model) and scores in a process beside it.
Whatever takes its place (a fake in a test) offers the same methods.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.progress import Progress
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.record import ModelRecord, ScanRecord
    from ParanasalSSLLib.results.sinus_record import SinusRecord
    from ParanasalSSLLib.scans.volume import Volume

SCAN_ID = "scan"
AUTOMATIC = "auto"  # the device: a GPU if there is one


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
    """

    residual: np.ndarray
    masks: Mapping[Side, np.ndarray]
    sinuses: Mapping[Side, SinusRecord]
    quality: Quality
    notices: tuple[str, ...]
    model: str = ""
    cavities: Mapping[Side, np.ndarray] = field(default_factory=dict)


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
        model = ["--model", str(self.model)] if self.model else []
        how = ["--json-progress", "--end-with-input", "--device", self.device, *model]
        return ["predict", *map(str, scans.values()), "--output", str(out), *named, *how, *more]


@dataclass(frozen=True)
class Watcher:
    """Whom a run tells how it goes; of the last three exactly one is called, once.

    progress: at the start of every stage. log: a line of text.
    done: with what was found. failed: with a sentence for the user. cancelled: nothing was changed.
    """

    done: Callable[[Findings], None]
    failed: Callable[[str], None]
    cancelled: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda progress: None
    log: Callable[[str], None] = lambda line: None


class Work(Protocol):
    """A run under way."""

    def cancel(self) -> None:
        """Ask it to stop."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> None:
        """Return when it has ended."""


class Computation(Protocol):
    """What the panel needs computed."""

    def localize(self, volume: Volume) -> Placement:
        """Boxes by registration, with their quality. Raises `ParanasalError`s."""
        ...

    def start(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        settings: Settings,
        watcher: Watcher,
    ) -> Work:
        """Begin to score the sinuses in `boxes` (one or both sides)."""
        ...


class SeparateProcess:
    """Computes with `paranasal predict` in a process of its own."""

    def localize(self, volume: Volume) -> Placement:
        """Boxes by the library's registration."""
        from ParanasalSSLLib.boxes.registration import find_boxes

        return find_boxes(volume)

    def start(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        settings: Settings,
        watcher: Watcher,
    ) -> Work:
        """Score in a process of its own; returns at once."""
        from ParanasalSSLLib.boxes.placement import Placement, write_placement
        from ParanasalSSLLib.scans.volume import write_volume

        folder = Path(tempfile.mkdtemp(prefix="ParanasalSSL-", dir=slicer.app.temporaryPath))
        try:
            write_volume(volume, folder / "scan.nii")
            write_placement(Placement(boxes, quality), folder / "boxes.json")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ParanasalError(
                _("The folder for temporary files cannot be written ({reason}).").format(
                    reason=error.strerror or error
                )
            ) from error
        return _Run(folder, watcher).started(settings)


@dataclass(eq=False)
class _Run:
    """One scan in a process; its folder is gone at the end, whatever the end was."""

    folder: Path
    watcher: Watcher
    record: ScanRecord | None = None
    failure: str = ""
    process: LibraryProcess = field(init=False)

    def started(self, settings: Settings) -> LibraryProcess:
        self.process = LibraryProcess(Listener(self.onEvent, self.watcher.log, self.onEnd))
        scan, boxes = {SCAN_ID: self.folder / "scan.nii"}, self.folder / "boxes.json"
        self.process.start(settings.predict(scan, self.folder / "out", "--boxes", str(boxes)))
        return self.process

    def onEvent(self, event: Event) -> None:
        from ParanasalSSLLib.progress import Progress, Stage
        from ParanasalSSLLib.results.record import ScanRecord

        match event:
            case StageBegun():
                self.watcher.progress(Progress(Stage(event.stage), event.fraction))
            case ScanDone():
                self.record = ScanRecord.from_json(event.report)
            case ScanFailed() | CallFailed():
                self.failure = event.message

    def onEnd(self, ending: Ending, words: str) -> None:
        from ParanasalSSLLib.results.layout import ScanFiles

        try:
            if ending is Ending.CANCELLED:
                self.watcher.cancelled()
            elif ending is Ending.FINISHED and self.record is not None:
                files = ScanFiles.in_output(self.folder / "out", SCAN_ID)
                self.watcher.done(readFindings(files, self.record))
            else:
                without_result = _("The computation ended without a result. The log says more.")
                self.watcher.failed(self.failure or words or without_result)
        except ParanasalError as error:
            self.watcher.failed(str(error))
        except Exception:  # Qt would only print it, and the panel would wait for ever
            logging.exception("The results could not be shown.")
            self.watcher.failed(_("The results could not be shown (see View > Error Log)."))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def readFindings(files: ScanFiles, record: ScanRecord) -> Findings:
    """What `paranasal predict` has written of a scan. Raises `UnreadableScan`."""
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
    )


def _perSide(labels: np.ndarray, sides: Iterable[Side]) -> dict[Side, np.ndarray]:
    return {side: labels == SEGMENT_LABELS[side] for side in sides}


def modelName(model: ModelRecord) -> str:
    """Name and version of a model."""
    return f"{model.name} {model.version}"
