"""What lies in an output folder before anything is written there: nothing of it may be lost.

A result folder is replaced only if it is one, of the same scan, and holds no input; what users put
into it, or changed in it, goes into the new one. Anything else is refused in words. Needs no package.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.files import keep_users_files
from ParanasalSSLLib.results.layout import (
    DATASET_DESCRIPTION,
    FINDINGS,
    FINDINGS_BEGIN,
    GENERATOR,
    OVERVIEW,
    TABLE,
    TABLE_BEGINS,
    ScanFiles,
)

_REPORT_FORMAT = "paranasal-report"
_SOFTWARE = "ParanasalSSL"
REPORT_SUM = "report_sha256"  # the field of a report that holds its `report_sum`


def refuse_unsafe_output(out: str | Path, ids: Sequence[str], sources: Iterable[Path]) -> None:
    """Refuse, before any work begins, results that would replace or mix with what is not ours.

    Whether an older result belongs to the same scan can be told only once that was read: see
    `refuse_other_scan`, which `write_scan` asks too.

    Args:
        out: the output folder, as the user gave it.
        ids: what the scans will be called.
        sources: all inputs of the call, files and folders.

    Raises:
        UnsafeOutput: no folder was named; `out` is a file or another data set; a folder of a scan is
            there and no result, or a link; an input lies in, is or holds such a folder.
    """
    if not str(out).strip():
        raise UnsafeOutput("The output folder has no name (is a variable empty?). Name a folder.")
    out = Path(out)
    if os.path.lexists(out) and not out.is_dir():
        what = "a link that leads nowhere" if out.is_symlink() else "a file"
        raise UnsafeOutput(f"{out} is {what}. Name a folder for the results.")
    refuse_foreign_dataset(out)
    results = [ScanFiles.in_output(out, scan_id) for scan_id in ids]
    _refuse_inputs(out, results, list(sources))
    for files in results:
        if os.path.lexists(files.folder):
            _read_own_report(files)


def refuse_foreign_dataset(out: Path) -> None:
    """Raise `UnsafeOutput` where `out` is a data set that another program, or nobody, made."""
    path = out / DATASET_DESCRIPTION
    if not os.path.lexists(path):
        return
    makers = read_object(path).get("GeneratedBy")
    names = (
        [m.get("Name") for m in makers if isinstance(m, dict)] if isinstance(makers, list) else []
    )
    if _SOFTWARE not in names:
        raise UnsafeOutput(
            f"{out} is another data set: its {DATASET_DESCRIPTION} was not written by {_SOFTWARE}. "
            f"Choose another folder, for example {out / 'derivatives' / 'paranasal'}."
        )


def refuse_foreign_overview(out: Path) -> None:
    """Raise `UnsafeOutput` where a file that is not ours has the name of a table or the page."""
    for name, mark in ((TABLE, TABLE_BEGINS), (FINDINGS, FINDINGS_BEGIN), (OVERVIEW, GENERATOR)):
        path = out / name
        if not os.path.lexists(path):
            continue
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                ours = mark in file.read(1000)
        except OSError:
            ours = False
        if not ours:
            raise UnsafeOutput(
                f"{path} was not written by {_SOFTWARE}, and an overview of the results would take its "
                "place. Choose another output folder, or move it away."
            )


def refuse_other_scan(files: ScanFiles, scan_sha256: str | None) -> None:
    """Raise `UnsafeOutput` where the folder is there and holds no result of this very scan.

    scan_sha256: its `record.fingerprint`.
    """
    if not os.path.lexists(files.folder):
        return
    image = _read_own_report(files).get("image")
    known = image.get("sha256") if isinstance(image, dict) else None
    if known is None or known != scan_sha256:
        what = (
            "a result of an earlier version, which does not say of which scan it is"
            if known is None
            else "another scan's result"
        )
        raise UnsafeOutput(f"{files.folder} holds {what}. {_MOVE_AWAY}")


_MOVE_AWAY = "Choose another output folder or another id, or move it away."


def keep_what_users_made(files: ScanFiles, new: Path) -> None:
    """Bring into `new` what users put into the older result `files`, or changed in it."""
    report = _read_own_report(files)
    checksums = report.get("checksums")
    written: dict[str, str | None] = dict(checksums) if isinstance(checksums, dict) else {}
    edited = REPORT_SUM in report and report[REPORT_SUM] != report_sum(report)
    written[files.report_json.name] = "edited" if edited else None
    keep_users_files(files.folder, new, written)


def report_sum(report: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of a report's content but for this sum: tells whether a user edited it."""
    rest = {key: value for key, value in report.items() if key != REPORT_SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _refuse_inputs(out: Path, results: Iterable[ScanFiles], sources: list[Path]) -> None:
    holders: dict[tuple[int, int], Path] = {}  # every input and every folder above it
    for source in sources:
        holders |= dict.fromkeys(_identities(source), source)
    for files in results:
        known = _identity(files.folder)
        if known in holders:
            raise UnsafeOutput(
                f"The results would take the place of {files.folder}, where the scan "
                f"{holders[known]} lies. Choose another output folder."
            )
    above = _identities(out)
    for source in sources:
        if _identity(source) in above:
            raise UnsafeOutput(
                f"The results would lie in {source}, among the files of the scan. Choose "
                "another output folder."
            )
        _refuse_raw_data(out, source)


def _refuse_raw_data(out: Path, source: Path) -> None:
    """Raise `UnsafeOutput` where a scan is out/sub-X/anat/...: results would be taken for raw."""
    try:
        inside = source.resolve().relative_to(out.resolve()).parts
    except ValueError:
        return
    if inside and inside[0].startswith("sub-") and "anat" in inside:
        raise UnsafeOutput(
            f"{out} is the data set of the scan {source}; results do not go among raw data. "
            f"Choose another folder, for example {out / 'derivatives' / 'paranasal'}."
        )


def _identities(path: Path) -> set[tuple[int, int]]:
    """What the system knows a file and all folders above it by, as named and with links followed."""
    named = Path(os.path.abspath(path))
    places = {named, *named.parents, *(real := path.resolve()).parents, real}
    return {known for place in places if (known := _identity(place)) is not None}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:  # it is not there
        return None
    return stat.st_dev, stat.st_ino


def _read_own_report(files: ScanFiles) -> dict[str, Any]:
    """The content of the folder's report; raises `UnsafeOutput` where it is no result of ours."""
    folder = files.folder
    if folder.is_symlink() or not folder.is_dir():
        raise UnsafeOutput(f"{folder} is a {_kind(folder)}, no folder of results. {_MOVE_AWAY}")
    report = read_object(files.report_json)
    if report.get("format") != _REPORT_FORMAT or report.get("scan") != files.scan_id:
        raise UnsafeOutput(
            f"{folder} is there already and is no result of {_SOFTWARE} (it has no report of its "
            f"own). {_MOVE_AWAY}"
        )
    return report


def _kind(path: Path) -> str:
    return "link" if path.is_symlink() else "file"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
