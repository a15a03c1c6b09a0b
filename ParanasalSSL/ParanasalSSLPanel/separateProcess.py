"""Computes for Slicer: boxes by registration, scores by `paranasal predict` in a process of its own."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, ScanDone, ScanFailed, StageBegun
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLPanel.compute import SCAN_ID, Settings, Watcher, Work, readFindings
from ParanasalSSLPanel.kept import newFolder
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.scans.volume import Volume
    from ParanasalSSLLib.sinuses import Side


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
                kept = ScanFiles(newFolder() / SCAN_ID, SCAN_ID)
                shutil.move(self.folder / "out" / SCAN_ID, kept.folder)
                self.watcher.done(replace(readFindings(kept, self.record), files=kept))
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
