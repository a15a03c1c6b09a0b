"""Which scans and results a room shows: found once, told by neutral ids, never by a client's path."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.cli.key import read_key
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.results.layout import DATASET_DESCRIPTION, ScanFiles
from ParanasalSSLLib.results.listing import Entry, Row, State, most_urgent_first
from ParanasalSSLLib.results.record import ScanRecord, fingerprint, read_report
from ParanasalSSLLib.scans.find import find_scans
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source import ScanSource

if TYPE_CHECKING:
    from ParanasalSSLLib.results.reading import Reading

Place = tuple[str, str]  # of a scan: its path, and which series there
WORKLIST = "worklist.json"  # of the Slicer module, in a folder of results
_SEPARATOR = re.compile(r"[/\\]")
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"()]+[/\\])+")


@dataclass(eq=False)
class CaseList:
    """The cases of one room.

    out: folder of the results. scans: by the ids of their results. states, messages: of scans that
    were tried in this room, by id.
    """

    out: Path
    scans: dict[str, ScanSource]
    _states: dict[str, tuple[State, str]] = field(default_factory=dict, init=False)
    _records: dict[str, tuple[int, ScanRecord]] = field(default_factory=dict, init=False)

    def files(self, identifier: str) -> ScanFiles:
        """Where the results of a case are; raises `BadConfig` for one that the room does not have."""
        if identifier not in self.scans and identifier not in results_in(self.out):
            raise BadConfig("There is no such case in this room.")
        return ScanFiles.in_output(self.out, identifier)

    def told(self, words: str) -> str:
        """A sentence for the page: of paths only the last names, for folders bear patients' names."""
        if not _SEPARATOR.search(words):  # most have none, and the folders take long to list
            return words
        for folder in self._folders:
            words = words.replace(folder, "")
        return _FOLDERS.sub("", words)

    @cached_property
    def _folders(self) -> list[str]:
        """What paths of this room begin with, the longest first; their names may have spaces."""
        scans = self.scans.values()
        paths = {self.out, *(scan.path for scan in scans)}
        paths |= {path.resolve() for path in paths}
        for scan in scans:
            files = scan.files or scan.path.rglob("*")
            paths |= {file.parent for file in files}
        places = {place for path in paths for place in (path, *path.parents) if place.name}
        return sorted((f"{place}{os.sep}" for place in places), key=len, reverse=True)

    def change(self, identifier: str, state: State, message: str = "") -> None:
        """Note how far a scan is."""
        self._states[identifier] = state, self.told(message)

    def settle(self, identifier: str, ending: str, words: str) -> None:
        """The process has ended; a scan that it left in the middle is as it was, or has failed."""
        if self._states[identifier][0] != "running":
            return
        if ending == "cancelled":
            del self._states[identifier]
        else:
            self._states[identifier] = "failed", words

    def record(self, identifier: str) -> ScanRecord | None:
        """The numbers of a case; None where it was not scored, or is damaged."""
        path = ScanFiles.in_output(self.out, identifier).report_json
        with suppress(OSError, ValueError):
            changed = path.stat().st_mtime_ns
            known = self._records.get(identifier)
            if known is None or known[0] != changed:
                self._records[identifier] = changed, read_report(path)
            return self._records[identifier][1]
        return None

    def reading(self, identifier: str) -> Reading | None:
        """What a reader has said of the present numbers of a case."""
        from ParanasalSSLLib.results.reading import read_reading

        record = self.record(identifier)
        files = ScanFiles.in_output(self.out, identifier)
        return read_reading(files, record) if record is not None else None

    def rows(self) -> list[Row]:
        """All cases, the most urgent first."""
        return most_urgent_first(
            self._row(identifier) for identifier in sorted({*self.scans, *results_in(self.out)})
        )

    def _row(self, identifier: str) -> Row:
        record, source = self.record(identifier), self.scans.get(identifier)
        known: tuple[State, str] = ("done" if record else "waiting", "")
        if record is None and source is None:
            known = "failed", "This result is damaged, and its scan was not named."
        state, message = self._states.get(identifier, known)
        about = "" if source is None else source.about or source.path.name
        path = "" if source is None else str(source.path)
        entry = Entry(identifier, path, state, message, about)
        return Row(entry, record, self.reading(identifier))


def gather(
    paths: Iterable[Path],
    output: Path | None,
    key: Path | None,
    tell: Callable[[str], None] = lambda words: None,
) -> CaseList:
    """Find scans and results, and which belong together. Raises `ParanasalError`s."""
    named = [path.resolve() for path in paths]
    for path in named:
        if not path.exists():
            raise BadConfig(f"{path} does not exist. Check the path.")
    folders = [path for path in named if is_results(path)]
    out = output.resolve() if output is not None else _only(folders)
    scans = list(_scans(path for path in named if path not in (*folders, out)))
    return CaseList(out, _matched(out, scans, key, tell))


def is_results(folder: Path) -> bool:
    """Whether a folder holds results of `paranasal predict`."""
    listed = (folder / WORKLIST).is_file()
    return listed or ((folder / DATASET_DESCRIPTION).is_file() and bool(results_in(folder)))


def results_in(out: Path) -> list[str]:
    """The ids of the results in a folder; a link out of it is none."""
    reports = out.glob("[!.]*/*_report.json")
    inside = (path for path in reports if path.resolve().is_relative_to(out.resolve()))
    names = (path.parent.name for path in inside if path.name == f"{path.parent.name}_report.json")
    return sorted(names)


def _only(folders: list[Path]) -> Path:
    if len(folders) == 1:
        return folders[0]
    if folders:
        raise BadConfig("There are several folders of results. Name one, by --output.")
    raise BadConfig("There is no folder of results. Name one for new results, by --output.")


def _scans(paths: Iterable[Path]) -> Iterator[ScanSource]:
    for path in paths:
        if path.is_dir():
            yield from find_scans(path).scans or [ScanSource(path)]
        else:
            yield ScanSource(path)


def _matched(
    out: Path, scans: list[ScanSource], key: Path | None, tell: Callable[[str], None]
) -> dict[str, ScanSource]:
    """The scans by the ids of their results; those without any get ids of their own."""
    ids = results_in(out)
    told = [*_places_in_key(key), *_places_in_worklist(out)]
    known = _unmistakable(told, scans)
    open_ids = [identifier for identifier in ids if identifier not in known.values()]
    sums = {_sum_of(out, identifier): identifier for identifier in open_ids} if open_ids else {}
    for number, scan in enumerate(scans, start=1):
        if scan not in known and sums:
            tell(f"Reading scan {number} of {len(scans)} to find its result")
            with suppress(ParanasalError, OSError):
                identifier = sums.pop(fingerprint(read_volume(scan.path, scan.files)), None)
                known |= {scan: identifier} if identifier is not None else {}
    free = (name for n in count(1) if (name := f"sub-{n:04d}") not in (*ids, *(i for _, i in told)))
    return {known[scan] if scan in known else next(free): scan for scan in scans}


def _unmistakable(told: list[tuple[Place, str]], scans: list[ScanSource]) -> dict[ScanSource, str]:
    """The ids of scans whose place names one scan and one result: series may be called alike."""
    ids: dict[Place, set[str]] = defaultdict(set)
    for place, identifier in told:
        ids[place].add(identifier)
    places = {scan: (str(scan.path.resolve()), scan.about) for scan in scans}
    times = Counter(places.values())
    return {
        scan: next(iter(ids[place]))
        for scan, place in places.items()
        if times[place] == len(ids[place]) == 1
    }


def _sum_of(out: Path, identifier: str) -> str | None:
    with suppress(OSError, ValueError):
        return read_report(ScanFiles.in_output(out, identifier).report_json).image.sha256
    return None


def _places_in_key(key: Path | None) -> list[tuple[Place, str]]:
    """Those of scans that were scored: a result under the id of another is of some other scan."""
    rows = read_key(key).values() if key is not None else ()
    done = [row for row in rows if row["state"] == "done"]
    return [((str(Path(row["path"]).resolve()), row["series"]), row["id"]) for row in done]


def _places_in_worklist(out: Path) -> list[tuple[Place, str]]:
    try:
        content = json.loads((out / WORKLIST).read_text(encoding="utf-8"))
        return [
            ((str(Path(entry["path"]).resolve()), entry.get("series", "")), entry["identifier"])
            for entry in content["scans"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
