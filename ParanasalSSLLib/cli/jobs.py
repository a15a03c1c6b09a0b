"""The scans of one call, and what their results will be called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class Job:
    """One scan of the call: its place in the list (from 1), where it is, what it will be called."""

    number: int
    of: int
    source: Path
    scan_id: str

    def about(self) -> dict[str, Any]:
        """The fields of `events` that say which scan is meant."""
        return {"id": self.scan_id, "scan": self.number, "of": self.of, "input": str(self.source)}


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
    scans: Sequence[Path], keep_names: bool = False, ids: Sequence[str] | None = None
) -> list[Job]:
    """Give every scan a neutral id by its place in the list, or on request one from its name.

    ids: what the scans are to be called instead, in their order.
    """
    if ids is not None:
        pairs = zip(scans, ids, strict=True)
        return [Job(number, len(scans), *pair) for number, pair in enumerate(pairs, start=1)]
    jobs: list[Job] = []
    taken: set[str] = set()
    for number, source in enumerate(scans, start=1):
        scan_id = f"sub-{number:04d}"
        if keep_names:
            scan_id = _unused(_id_from_name(source) or scan_id, taken)
        taken.add(scan_id.casefold())
        jobs.append(Job(number, len(scans), source, scan_id))
    return jobs


def _id_from_name(source: Path) -> str | None:
    """`sub-01_ses-2` of a BIDS name, else `sub-` and the name's letters and digits."""
    name = source.resolve().name
    bids = re.match(r"sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?(?=[_.]|$)", name)
    if bids:
        return bids.group()
    stem = name if source.is_dir() else name.split(".")[0]
    label = re.sub(r"[^A-Za-z0-9]", "", stem)
    return f"sub-{label}" if label else None


def _unused(scan_id: str, taken: set[str]) -> str:
    candidate, copy = scan_id, 1
    while candidate.casefold() in taken:  # some file systems do not tell a from A
        copy += 1
        candidate = f"{scan_id}x{copy}"
    return candidate
