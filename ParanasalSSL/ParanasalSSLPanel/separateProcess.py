"""Computes for Slicer in processes of its own: boxes by registration, scores by `paranasal predict`."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic

import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun, Summary
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLPanel.boxes import boxOptions
from ParanasalSSLPanel.compute import (
    SCAN_ID,
    Findings,
    Found,
    Settings,
    Watcher,
    Work,
    readFindings,
)
from ParanasalSSLPanel.kept import newFolder
from ParanasalSSLPanel.process import COMMANDS, Ending, LibraryProcess, Listener

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.scans.volume import Volume
    from ParanasalSSLLib.sinuses import Side

PLACE = "ParanasalSSLLib.cli.place"  # it needs no package that Slicer does not ship


class SeparateProcess:
    """A `Computation` that returns at once."""

    def place(self, volume: Volume, watcher: Watcher[Placement]) -> Work:
        """Boxes by the library's registration."""
        from ParanasalSSLLib.boxes.placement import read_placement
        from ParanasalSSLLib.scans.itk import write_itk

        with _folder() as folder:
            write_itk(volume, folder / "scan.nrrd")
        boxes = folder / "boxes.json"
        call = _Call(folder, watcher, lambda _event: read_placement(boxes))
        return call.started([str(folder / "scan.nrrd"), str(boxes)], PLACE)

    def start(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        settings: Settings,
        watcher: Watcher[Findings],
    ) -> Work:
        """Score the sinuses in their boxes."""
        from ParanasalSSLLib.scans.volume import write_volume

        with _folder() as folder:
            write_volume(volume, folder / "scan.nii")
            given = boxOptions(boxes, quality, folder / "boxes.json")
        scan = {SCAN_ID: folder / "scan.nii"}
        call = _Call(folder, watcher, lambda event: _findings(folder / "out", event))
        return call.started(settings.predict(scan, folder / "out", *given), COMMANDS)


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder for what a process reads; gone if that cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="ParanasalSSL-", dir=slicer.app.temporaryPath))
    try:
        yield folder
    except (OSError, RuntimeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise ParanasalError(
            _("The folder for temporary files cannot be written ({reason}).").format(reason=reason)
        ) from error


def _findings(out: Path, event: Event) -> Findings | None:
    """What a finished process has found, kept for this session; None of a scan that has failed."""
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.record import ScanRecord

    if not isinstance(event, ScanDone):
        return None
    kept = ScanFiles(newFolder() / SCAN_ID, SCAN_ID)
    shutil.move(out / SCAN_ID, kept.folder)
    return readFindings(kept, ScanRecord.from_json(event.report))


@dataclass(eq=False)
class _Call(Generic[Found]):
    """One scan in a process; its folder is gone at the end, whatever the end was.

    found: reads what the process has written, of the event that says so; None: nothing.
    """

    folder: Path
    watcher: Watcher[Found]
    found: Callable[[Event], Found | None]
    done: Event | None = None
    failure: str = ""
    process: LibraryProcess = field(init=False)

    def started(self, arguments: list[str], module: str) -> LibraryProcess:
        self.process = LibraryProcess(Listener(self.onEvent, self.watcher.log, self.onEnd))
        self.process.start(arguments, module)
        return self.process

    def onEvent(self, event: Event) -> None:
        from ParanasalSSLLib.progress import Progress, Stage

        match event:
            case StageBegun():
                self.watcher.progress(Progress(Stage(event.stage), event.fraction))
            case ScanFailed() | CallFailed():
                self.failure = event.message
            case ScanDone() | Summary():
                self.done = self.done or event

    def onEnd(self, ending: Ending, words: str) -> None:
        try:
            if ending is Ending.CANCELLED:
                self.watcher.cancelled()
            else:
                self.tell(ending, words)
        except ParanasalError as error:
            self.watcher.failed(str(error))
        except Exception:  # Qt would only print it, and the panel would wait for ever
            logging.exception("The results could not be shown.")
            self.watcher.failed(_("The results could not be shown (see View > Error Log)."))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, ending: Ending, words: str) -> None:
        finished = ending is Ending.FINISHED and self.done is not None and not self.failure
        found = self.found(self.done) if finished else None
        if found is not None:
            self.watcher.done(found)
        else:
            without_result = _("The computation ended without a result. The log says more.")
            self.watcher.failed(self.failure or words or without_result)
