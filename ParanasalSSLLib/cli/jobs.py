"""The scans of one call, and what their results will be called."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.older import refuse_other_scan
from ParanasalSSLLib.scans.source import ScanSource

NUMBER = r"(?<=^sub-)\d{4,}$|x\d+$"  # what `_following` changes in an id
SUFFIXES = r"(\.seg)?\.(nii|nrrd|nhdr|mha|mhd|hdr|img|zip|dcm|tar)?(\.gz)?$"
LONGEST_LABEL = 46  # with a sum and a number behind it, an id has at most 64 letters


@dataclass(frozen=True)
class Job:
    """One scan of the call: its place in the list (from 1), where it is, what it will be called."""

    number: int
    of: int
    scan: ScanSource
    scan_id: str

    def about(self) -> dict[str, Any]:
        """The fields of `events` that say which scan is meant."""
        where = {"input": str(self.scan.path), "series": self.scan.about}
        return {"id": self.scan_id, "scan": self.number, "of": self.of, **where}


def check_ids(ids: Sequence[str], scans: int) -> None:
    """Raises `BadConfig` for ids that are not one for each scan, are equal, or make no folder."""
    if len(ids) != scans:
        raise BadConfig("give --id once for each scan")
    if len({name.casefold() for name in ids}) < len(ids):
        raise BadConfig("two scans cannot have the same --id")
    for name in ids:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            raise BadConfig(f"--id {name!r}: use letters, digits, - and _ only, 64 at most")


def plan_jobs(
    scans: Sequence[ScanSource | Path], keep_names: bool = False, ids: Sequence[str] | None = None
) -> list[Job]:
    """Give every scan a neutral id by its place in the list, or on request one from its name.

    ids: what the scans are to be called instead, in their order.
    """
    sources = [one if isinstance(one, ScanSource) else ScanSource(one) for one in scans]
    if ids is not None:
        pairs = zip(sources, ids, strict=True)
        return [Job(number, len(scans), *pair) for number, pair in enumerate(pairs, start=1)]
    jobs: list[Job] = []
    taken: set[str] = set()
    for number, scan in enumerate(sources, start=1):
        scan_id = f"sub-{number:04d}"
        if keep_names:
            scan_id = _unused(_id_from_name(scan.path) or scan_id, taken)
        taken.add(scan_id.casefold())
        jobs.append(Job(number, len(scans), scan, scan_id))
    return jobs


@dataclass(frozen=True, eq=False)
class Settled:
    """The ids that a call has given.

    out: the output folder. named: whether the user has said what the scans are called.
    """

    out: Path
    named: bool
    taken: set[str] = field(default_factory=set)

    def settle(self, job: Job, sha256: str | None, refused: bool = False) -> Job:
        """The job under its final id.

        Args:
            sha256: fingerprint of the scan, as in its report; None for one that could not be read.
            refused: its result could not be written under the id that it has now.

        Raises:
            UnsafeOutput: the user's id is that of another scan's result.
        """
        if refused:
            self.taken.discard(job.scan_id)
        if self.named and sha256 is not None:
            refuse_other_scan(ScanFiles.in_output(self.out, job.scan_id), sha256)
        elif not self.named:
            job = settle(job, self.out, sha256, self.taken)
        self.taken.add(job.scan_id)
        return job


def settle(job: Job, out: Path, sha256: str | None, taken: Collection[str]) -> Job:
    """The job under an id that no other scan has.

    The id that was planned stays where nothing of it is there yet, or an older result of the same
    scan; else an older result of that scan elsewhere is taken, else the next free id. A scan that could
    not be read gets a free one: what is there already is, as far as is known, another scan's.

    Args:
        out: the output folder.
        sha256: fingerprint of the scan, as in its report; None for one that could not be read.
        taken: ids of scans that this call has already written.
    """

    def is_mine(scan_id: str) -> bool:
        return scan_id not in taken and _sha256_of(out, scan_id) in (None, sha256)

    if is_mine(job.scan_id):
        return job
    older = [
        scan_id for scan_id in _series_in(out, job.scan_id) if _sha256_of(out, scan_id) == sha256
    ]
    mine = [scan_id for scan_id in older if scan_id not in taken]
    return replace(job, scan_id=mine[0] if mine else next(filter(is_mine, _following(job.scan_id))))


def _sha256_of(out: Path, scan_id: str) -> str | None:
    """Fingerprint of the scan whose result is there; None if nothing is there, "" if it says none."""
    from ParanasalSSLLib.results.record import read_report

    files = ScanFiles.in_output(out, scan_id)
    if not os.path.lexists(files.folder):
        return None
    try:
        return read_report(files.report_json).image.sha256 or ""
    except (OSError, ValueError):
        return ""


def _series_in(out: Path, scan_id: str) -> list[str]:
    """Ids in the output folder that `_following` gives, whatever their number."""
    stem = re.sub(NUMBER, "", scan_id)
    names = (path.name for path in out.glob(f"{glob.escape(stem)}*"))
    return sorted(name for name in names if re.sub(NUMBER, "", name) == stem)


def _following(scan_id: str) -> Iterator[str]:
    """sub-0008, sub-0009, ... after sub-0007; sub-headx2, sub-headx3, ... after sub-head."""
    numbered = re.fullmatch(r"sub-(\d{4,})", scan_id)
    if numbered:
        yield from (f"sub-{number:04d}" for number in count(int(numbered[1]) + 1))
    yield from (f"{scan_id}x{copy}" for copy in count(2))


def _id_from_name(source: Path) -> str | None:
    """An id that tells every two names apart: the name itself, a sum where letters had to go.

    None for a name without a letter or digit of ASCII.
    """
    name = source.resolve().name
    stem = name if os.path.isdir(source) else re.sub(SUFFIXES, "", name, flags=re.IGNORECASE)
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", stem.removeprefix("sub-")).strip("-_")[:LONGEST_LABEL]
    if not label:
        return None
    exact = stem in (label, f"sub-{label}")
    return f"sub-{label}" if exact else f"sub-{label}-{_short_sum(stem)}"


def _short_sum(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:6]


def _unused(scan_id: str, taken: Collection[str]) -> str:
    """The id, or one after it: some file systems do not tell a from A."""
    candidates = chain([scan_id], _following(scan_id))
    return next(one for one in candidates if one.casefold() not in taken)
