"""Which scans there are, and which of them are of one person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paranasal_training.prepare.bids import SUFFIXES, raw_files
from paranasal_training.prepare.scans import read_scans
from paranasal_training.prepare.tables import Tell
from ParanasalSSLLib.cli.scan_list import read_scan_list
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.source import ScanSource

TABLES = (".csv", ".tsv")
ALL_APART = (
    "Each scan is taken for one of another person. If some are of the same one, the figures after "
    "the adaptation flatter: give a table with the columns path and patient."
)
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_WORD = r"((?<![a-z])|(?<=[23]d))"  # what follows begins a word


@dataclass(frozen=True)
class SiteScan:
    """One scan.

    name: what it is called in all that is written: p0001_1, ...
    person: p0001, ...
    source: where it is; private.
    modality: flair, t1, t2, pd or "" where unknown.
    """

    name: str
    person: str
    source: ScanSource
    modality: str


def find_site_scans(sources: Sequence[Path], tell: Tell) -> list[SiteScan]:
    """All scans of a BIDS folder, of a table, or those given one by one; persons numbered.

    tell: is called with a sentence for whatever is left out, and where every scan of several that
        are given one by one is taken for another person's.

    Raises:
        BadConfig: nothing is there, or a scan is given twice.
    """
    first = Path(sources[0])
    if len(sources) == 1 and first.suffix.lower() in TABLES:
        found = [(ScanSource(scan.path), scan.patient) for scan in read_scans(first)]
    elif len(sources) == 1 and first.is_dir() and any(first.glob("sub-*")):
        found = _of_bids(first, tell)
    else:
        found = _one_by_one([ScanSource(Path(path).absolute()) for path in sources])
        if 1 < len({person for _, person in found}) == len(found):
            tell(ALL_APART)
    if not found:
        raise BadConfig(f"{first} holds no scans (a BIDS folder, a table, or scans are wanted).")
    return _numbered(found)


def listed_site_scans(path: Path) -> list[SiteScan]:
    """The scans in a file of `cli.scan_list`; persons numbered.

    Raises:
        BadConfig: a damaged or empty list, a scan that is not there or is listed twice.
    """
    found = _one_by_one(list(read_scan_list(path).values()))
    if not found:
        raise BadConfig(f"{path} lists no scans.")
    return _numbered(found)


def _of_bids(folder: Path, tell: Tell) -> list[tuple[ScanSource, str]]:
    files = raw_files(folder, tell)
    paths = sorted(path for suffix in SUFFIXES for path in files.get(suffix, []))
    return [(ScanSource(path), path.relative_to(folder).parts[0]) for path in paths]


def _one_by_one(scans: Sequence[ScanSource]) -> list[tuple[ScanSource, str]]:
    if missing := [scan.path for scan in scans if not scan.path.exists()]:
        raise BadConfig(f"{missing[0]} does not exist.")
    if len({(scan.path.resolve(), scan.files) for scan in scans}) < len(scans):
        raise BadConfig("A scan is given twice. Keep one.")
    apart = len({scan.path.parent for scan in scans}) > 1
    return [(scan, _person_of(scan.path, apart)) for scan in scans]


def _person_of(path: Path, apart: bool) -> str:
    """By `sub-...`, else by the folder where the scans lie in several, else by the path.

    The series of one DICOM folder have the same path.
    """
    if subject := _SUBJECT.search(str(path)):
        return subject[0]
    return str(path.parent if apart else path)


def _numbered(found: Sequence[tuple[ScanSource, str]]) -> list[SiteScan]:
    persons = {p: f"p{n:04d}" for n, p in enumerate(dict.fromkeys(p for _, p in found), start=1)}
    scans: list[SiteScan] = []
    for source, patient in found:
        person = persons[patient]
        number = 1 + sum(scan.person == person for scan in scans)
        scans.append(SiteScan(f"{person}_{number}", person, source, _modality(source)))
    return scans


def _modality(source: ScanSource) -> str:
    """By its name, or what its DICOM files say: `T1w`, `3dt1`, `t2_flair`, but not `patient1`."""
    words = f"{source.path.name} {source.about}".lower()
    return next(
        (m for m in ("flair", "t1", "t2", "pd") if re.search(_WORD + m + r"(?!\d)", words)), ""
    )
