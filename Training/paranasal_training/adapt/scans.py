"""Which scans there are, and which of them are of one person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paranasal_training.prepare.bids import SUFFIXES, Tell, raw_files
from paranasal_training.prepare.scans import read_scans
from ParanasalSSLLib.errors import BadConfig

TABLES = (".csv", ".tsv")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")


@dataclass(frozen=True)
class SiteScan:
    """One scan.

    name: what it is called in all that is written: p0001_1, ...
    person: p0001, ...
    path: private.
    modality: flair, t1, t2, pd or "" where unknown.
    """

    name: str
    person: str
    path: Path
    modality: str


def find_site_scans(sources: Sequence[Path], tell: Tell) -> list[SiteScan]:
    """All scans of a BIDS folder, of a table, or those given one by one; persons numbered.

    tell: is called with a sentence for whatever is left out.

    Raises:
        BadConfig: nothing is there, or a scan is given twice.
    """
    first = Path(sources[0])
    if len(sources) == 1 and first.suffix.lower() in TABLES:
        found = [(scan.path, scan.patient) for scan in read_scans(first)]
    elif len(sources) == 1 and first.is_dir() and any(first.glob("sub-*")):
        found = _of_bids(first, tell)
    else:
        found = _one_by_one(sources)
    if not found:
        raise BadConfig(f"{first} holds no scans (a BIDS folder, a table, or scans are wanted).")
    return _numbered(found)


def _of_bids(folder: Path, tell: Tell) -> list[tuple[Path, str]]:
    files = raw_files(folder, tell)
    paths = sorted(path for suffix in SUFFIXES for path in files.get(suffix, []))
    return [(path, path.relative_to(folder).parts[0]) for path in paths]


def _one_by_one(sources: Sequence[Path]) -> list[tuple[Path, str]]:
    paths = [Path(path).absolute() for path in sources]
    if missing := [path for path in paths if not path.exists()]:
        raise BadConfig(f"{missing[0]} does not exist.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadConfig("A scan is given twice. Keep one.")
    apart = len({path.parent for path in paths}) > 1
    return [(path, _person_of(path, apart)) for path in paths]


def _person_of(path: Path, apart: bool) -> str:
    """By `sub-...`, else by the folder where the scans lie in several, else each scan for itself."""
    if subject := _SUBJECT.search(str(path)):
        return subject[0]
    return str(path.parent if apart else path)


def _numbered(found: Sequence[tuple[Path, str]]) -> list[SiteScan]:
    persons = {p: f"p{n:04d}" for n, p in enumerate(dict.fromkeys(p for _, p in found), start=1)}
    scans: list[SiteScan] = []
    for path, source in found:
        person = persons[source]
        number = 1 + sum(scan.person == person for scan in scans)
        scans.append(SiteScan(f"{person}_{number}", person, path, _modality(path)))
    return scans


def _modality(path: Path) -> str:
    name = path.name.lower()
    return next((m for m in ("flair", "t1", "t2", "pd") if m in name), "")
