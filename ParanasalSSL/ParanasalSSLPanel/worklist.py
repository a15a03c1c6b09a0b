"""Many scans, scored one after another in the background; their list is a file beside the results.

FOLDER/worklist.json                 which scans, and how far they are (this file has their paths)
FOLDER/worklist.series/sub-0001.json the files of a DICOM series (paths, too)
FOLDER/sub-0001/sub-0001_report.json ... the results, free of names, as `paranasal predict` writes them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import (
    CallFailed,
    Event,
    ScanDone,
    ScanFailed,
    ScanLeftOut,
    StageBegun,
)
from ParanasalSSLLib.cli.scan_list import read_scan_list, write_scan_list
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.files import write_json
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.listing import Entry, Row, State, most_urgent_first
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel.compute import Settings
from ParanasalSSLPanel.folders import freeIdentifier, unwritableWords
from ParanasalSSLPanel.kept import newFolder
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener

if TYPE_CHECKING:
    from ParanasalSSLLib.results.record import ScanRecord

LIST, FORMAT, VERSION = "worklist.json", "paranasal-worklist", 1
SERIES = "worklist.series"  # folder of lists of files, which are read only when they are needed


class Worklist:
    """The list of one folder; every change is written at once. A damaged list raises `BadConfig`.

    Another Slicer may have the same folder: a change is made to what the file says by then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self._records: dict[str, ScanRecord] = {}  # read once
        self._read()
        # What was running when Slicer was closed has to run again.
        self.entries = {
            name: replace(entry, state="waiting") if entry.state == "running" else entry
            for name, entry in self.entries.items()
        }

    def _read(self) -> None:
        """What the file says, if there is one."""
        if not (self.folder / LIST).is_file():
            return
        path = self.folder / LIST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["version"] != VERSION:
                raise ValueError("another format")
            entries = [Entry(**entry) for entry in content["scans"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadConfig(
                _("{path} is damaged. Choose another folder, or remove this file.").format(
                    path=path
                )
            ) from error
        self.entries = {entry.identifier: entry for entry in entries}

    def _write(self) -> None:
        scans = [asdict(entry) for entry in self.entries.values()]
        content = {"format": FORMAT, "version": VERSION, "scans": scans}
        try:
            write_json(self.folder / LIST, content)
        except OSError as error:
            raise BadConfig(unwritableWords(self.folder, error)) from error

    def add(self, scans: Mapping[ScanSource, str]) -> int:
        """Add scans (with their titles) that are not in the list yet; returns how many were new."""
        self._read()
        known = {(entry.path, entry.series) for entry in self.entries.values()}
        new = {s: title for s, title in scans.items() if (str(s.path), s.about) not in known}
        for scan, title in new.items():
            identifier = freeIdentifier(self.folder, self.entries)
            self.entries[identifier] = Entry(
                identifier, str(scan.path), title=title, series=scan.about, searched=scan.searched
            )
            if scan.files:
                self._writeFiles(identifier, scan)
        if new:
            self._write()
        return len(new)

    def _writeFiles(self, identifier: str, scan: ScanSource) -> None:
        path = self.folder / SERIES / f"{identifier}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_scan_list(path, {identifier: scan})
        except OSError as error:
            raise BadConfig(unwritableWords(self.folder, error)) from error

    def sourceOf(self, entry: Entry) -> ScanSource:
        """Where the scan is, with the files of its series. Raises `BadConfig` for a damaged list."""
        path = self.folder / SERIES / f"{entry.identifier}.json"
        if path.is_file():
            return read_scan_list(path)[entry.identifier]
        return ScanSource(Path(entry.path), (), entry.series, entry.searched)

    def change(self, identifier: str, state: State, message: str = "") -> None:
        """Note how far a scan is."""
        known = self.entries[identifier]
        self._read()
        latest = self.entries.get(identifier, known)
        self.entries[identifier] = replace(latest, state=state, message=message)
        self._records.pop(identifier, None)
        self._write()

    def forget(self) -> None:
        """Read all results anew when they are next asked for."""
        self._records.clear()

    def tryAgain(self) -> None:
        """Let what has failed wait once more."""
        self._read()
        for row in self.rows():
            if row.entry.state == "failed":
                waiting = replace(row.entry, state="waiting", message="")
                self.entries[row.entry.identifier] = waiting
        self._write()

    def waiting(self) -> list[Entry]:
        """What is still to be scored."""
        return [entry for entry in self.entries.values() if entry.state == "waiting"]

    def rows(self) -> list[Row]:
        """All scans with their results, the most urgent first."""
        return most_urgent_first(self._row(entry) for entry in self.entries.values())

    def _row(self, entry: Entry) -> Row:
        from ParanasalSSLLib.results.reading import read_reading

        if entry.state != "done":
            return Row(entry)
        try:
            record = self._recordOf(entry)
            files = ScanFiles.in_output(self.folder, entry.identifier)
            return Row(entry, record, read_reading(files, record))
        except (OSError, ValueError):
            lost = _("The results are missing or damaged. Score the scan again.")
            return Row(replace(entry, state="failed", message=lost))

    def _recordOf(self, entry: Entry) -> ScanRecord:
        from ParanasalSSLLib.results.record import read_report

        name = entry.identifier
        if name not in self._records:
            self._records[name] = read_report(ScanFiles.in_output(self.folder, name).report_json)
        return self._records[name]


@dataclass(eq=False)
class WorklistRun:
    """Scores what is waiting as `paranasal predict` scores a folder, several scans at a time.

    changed: called whenever an entry has changed. ended: once, with a sentence if it broke, else "".
    more: further options of `paranasal predict`.
    """

    worklist: Worklist
    settings: Settings
    changed: Callable[[], None]
    log: Callable[[str], None]
    ended: Callable[[str], None]
    more: tuple[str, ...] = ()
    _process: LibraryProcess | None = field(default=None, init=False)
    _failure: str = field(default="", init=False)
    _moved: bool = field(default=False, init=False)  # whether this process has done anything
    _own: set[str] = field(default_factory=set, init=False)  # ids of what this process has begun

    def start(self) -> None:
        """Begin with the scans that wait; `ended` follows at once if there are none."""
        entries = self.worklist.waiting()
        if not entries:
            self.ended("")
            return
        listed = newFolder() / "scans.json"
        sources = {entry.identifier: self.worklist.sourceOf(entry) for entry in entries}
        write_scan_list(listed, sources)
        self._moved = False
        self._process = LibraryProcess(Listener(self._onEvent, self.log, self._onEnd))
        self._process.start(self.settings.predictListed(listed, self.worklist.folder, *self.more))

    def cancel(self) -> None:
        """Stop; the scan at hand waits again, finished ones stay finished."""
        if self._process is not None:
            self._process.cancel()

    def wait(self) -> None:
        """Return when the process has ended."""
        if self._process is not None:
            self._process.wait()

    def _onEvent(self, event: Event) -> None:
        match event:
            case StageBegun():
                self._move(event.id, "running")
            case ScanDone():
                self._move(event.id, "done")
            case ScanLeftOut():
                self._move(event.id, "left out", event.message)
            case ScanFailed():
                self._move(event.id, "failed", event.message)
            case CallFailed():
                self._failure = event.message

    def _move(self, identifier: str, state: State, message: str = "") -> None:
        entry = self.worklist.entries.get(identifier)
        if entry is None or entry.state == state:
            return
        self._moved = True
        self._own.add(identifier)
        self._change(entry, state, message)
        self.changed()

    def _change(self, entry: Entry, state: State, message: str) -> None:
        """A folder that cannot be written any more ends the run, with a sentence."""
        try:
            self.worklist.change(entry.identifier, state, message)
        except BadConfig as error:
            self._failure = str(error)
            self.cancel()  # of a process that has ended: nothing

    def _onEnd(self, ending: Ending, words: str) -> None:
        # A scan on which the process broke is not tried again without being asked.
        stopped = ending is Ending.CANCELLED or bool(self._failure)
        running = [e for e in self.worklist.entries.values() if e.state == "running"]
        for entry in [e for e in running if e.identifier in self._own]:
            self._change(entry, "waiting" if stopped else "failed", words)
        self.changed()
        if self._moved and not self._failure and ending is not Ending.CANCELLED:
            self._goOn()
        else:
            self.ended(self._failure or words)

    def _goOn(self) -> None:
        """With those that are left; nobody waits here to hear of an error."""
        try:
            self.start()
        except (ParanasalError, OSError) as error:
            self.ended(str(error))
