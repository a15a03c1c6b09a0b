"""The scans of a study that is scored in steps: which there are, and how far each is.

    WORK/plan.json             all scans with their ids and paths (private), in the order of the steps
    WORK/series/sub-0001.json  the files of a DICOM series that shares its folder with others
    WORK/outcomes/sub-0001.json   how a scan has ended; what has none is still to be scored
    WORK/steps/0000-20.done    a step whose scans all have ended: its number, and how many they are

Every file is written whole, so that a kill at any moment costs only the scan at hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ParanasalSSLLib.cli.events import Event, ScanDone, ScanFailed
from ParanasalSSLLib.cli.jobs import Job
from ParanasalSSLLib.cli.key import state_of
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import write_json
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.listing import Entry
from ParanasalSSLLib.scans.source import ScanSource

FORMAT, VERSION = "paranasal-study", 1


@dataclass(frozen=True)
class Study:
    """The plan of a study.

    work: its private folder. out: folder of the results. settings: how all scans are scored.
    scans: by the ids of their results; files of a series are read only when it is scored.
    scans_a_step: how many are scored by one process, one after another.
    """

    work: Path
    out: Path
    settings: dict[str, Any]
    scans: dict[str, ScanSource]
    scans_a_step: int

    @classmethod
    def read(cls, work: Path) -> Study | None:
        """The plan in a folder; None where there is none. Raises `BadConfig` for a damaged one."""
        path = work / "plan.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["version"]) != (FORMAT, VERSION):
                raise ValueError("another format")
            scans = {
                name: ScanSource(Path(where), (), about, searched)
                for name, where, about, searched in content["scans"]
            }
            out = Path(content["out"])
            return cls(work, out, content["settings"], scans, content["scans_a_step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadConfig(f"{path} is damaged. Remove it to plan anew.") from error

    def write(self) -> None:
        """Write the plan; the files of series are there already."""
        scans = [
            (name, os.fspath(scan.path), scan.about, scan.searched)
            for name, scan in self.scans.items()
        ]
        content = {"format": FORMAT, "version": VERSION, "out": os.fspath(self.out)}
        about = {"settings": self.settings, "scans_a_step": self.scans_a_step, "scans": scans}
        write_json(self.work / "plan.json", content | about)

    def with_scans(self, found: Iterable[ScanSource]) -> Study:
        """The plan with scans that are new in it, at its end; writes the files of their series."""
        known = {(scan.path, scan.about) for scan in self.scans.values()}
        scans = dict(self.scans)
        for scan in found:
            if (scan.path, scan.about) in known:
                continue
            name = f"sub-{len(scans) + 1:04d}"
            if scan.files:
                files = {"files": [os.fspath(path) for path in scan.files]}
                write_json(self.work / "series" / f"{name}.json", files)
            scans[name] = replace(scan, files=())
        return replace(self, scans=scans)

    def steps(self) -> list[str]:
        """The names of all steps: number, and how many scans they are, since a last one may grow."""
        size, total = self.scans_a_step, len(self.scans)
        starts = range(0, total, size)
        return [f"{n:04d}-{min(size, total - start)}" for n, start in enumerate(starts)]

    def jobs(self, step: str) -> list[Job]:
        """The scans of a step that have not ended yet."""
        number, size = (int(part) for part in step.split("-"))
        first = number * self.scans_a_step
        names = list(self.scans)[first : first + size]
        todo = [name for name in names if not self._outcome(name).exists()]
        total = len(self.scans)
        places = {name: place for place, name in enumerate(names, start=first + 1)}
        return [Job(places[name], total, self._source(name), name) for name in todo]

    def _source(self, name: str) -> ScanSource:
        path = self.work / "series" / f"{name}.json"
        if not path.exists():
            return self.scans[name]
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return replace(self.scans[name], files=tuple(map(Path, files)))

    def note(self, event: Event) -> None:
        """Keep how a scan has ended."""
        if isinstance(event, ScanDone):
            write_json(self._outcome(event.id), {"state": "done"})
        elif isinstance(event, ScanFailed):
            why = {"error": event.error, "message": event.message}
            write_json(self._outcome(event.id), {"state": state_of(event), **why})

    def ended(self) -> dict[str, Entry]:
        """The scans that have ended, by their ids; message: name of the error, as in the overview."""
        return {
            name: Entry(name, "", *self._told(name)) for name in self.scans if self._is_told(name)
        }

    def messages(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Why scans were not scored, with their paths."""
        for entry in entries:
            told = json.loads(self._outcome(entry.identifier).read_text(encoding="utf-8"))
            yield f"{self.scans[entry.identifier]}: {told['message']}"

    def _told(self, name: str) -> tuple[Any, str]:
        told = json.loads(self._outcome(name).read_text(encoding="utf-8"))
        return told["state"], told.get("error", "")

    def _is_told(self, name: str) -> bool:
        return self._outcome(name).exists()

    def _outcome(self, name: str) -> Path:
        return self.work / "outcomes" / f"{name}.json"

    def forget(self, names: Sequence[str]) -> None:
        """Let scans be scored again, in the steps that they belong to."""
        places = {name: place for place, name in enumerate(self.scans)}
        steps = self.steps()
        for name in names:
            self._outcome(name).unlink(missing_ok=True)
            self.marker(steps[places[name] // self.scans_a_step]).unlink(missing_ok=True)

    def lost(self) -> list[str]:
        """Scans that were scored and whose results are gone."""
        done = (entry.identifier for entry in self.ended().values() if entry.state == "done")
        return [
            name for name in done if not ScanFiles.in_output(self.out, name).report_json.exists()
        ]

    def marker(self, step: str) -> Path:
        """The file that says that all scans of a step have ended."""
        return self.work / "steps" / f"{step}.done"
