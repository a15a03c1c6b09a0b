"""The scans of a BIDS folder, and which line of `participants.tsv` belongs to each.

Ids are compared as they stand first. Spreadsheets change them (`sub-01` becomes 1, or 1.0): what finds
no partner so is compared by its number, where only one line and one folder can be meant. What is left
over is told by name; where both lines with labels and scans are left over, all is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paranasal_training.prepare.tables import (
    Line,
    Tell,
    labels_of,
    read_table,
    split_of,
    tell_no_labels,
)
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.bids import BIDS_FILE, NOT_RAW

SUFFIXES = ("FLAIR", "T1w", "T2w", "PDw")
PARTICIPANTS = "participants.tsv"
NO_LINE = f"{PARTICIPANTS} has no line of this patient, hence no label."
_NUMBER = re.compile(r"(?:sub-)?0*(\d+)(?:\.0*)?", re.IGNORECASE)


@dataclass(frozen=True)
class BidsScan:
    """One scan: its file, its patient's folder, its suffix, what `participants.tsv` says of it.

    line: None where there is none; remark: a sentence where there should be one.
    """

    path: Path
    patient: str
    suffix: str
    line: Line | None
    remark: str = ""


def find_bids_scans(folder: Path, suffix: str | None, tell: Tell) -> list[BidsScan]:
    """The raw scans of one suffix in the order of their names.

    Args:
        suffix: see `read_scans`.
        tell: is called with a sentence for whatever is left out.

    Raises:
        BadConfig: no such scan, several suffixes, or participants that do not fit the folders.
    """
    files = raw_files(folder, tell)
    chosen = _chosen_suffix(folder, suffix, {name: len(paths) for name, paths in files.items()})
    paths = sorted(files[chosen])
    scanned = list(dict.fromkeys(path.relative_to(folder).parts[0] for path in paths))
    folders = sorted(path.name for path in folder.glob("sub-*") if path.is_dir())
    _tell_names(tell, f"No {chosen} scan in", [name for name in folders if name not in scanned])
    participants = _participants(folder, tell)
    found = _partners(participants, folders, tell)
    if participants:
        lone = [line for line in participants if line not in found.values()]
        _tell_lone(lone, [name for name in scanned if name not in found], tell)
    return [_scan(path, folder, chosen, participants, found) for path in paths]


def _scan(
    path: Path, folder: Path, suffix: str, lines: list[Line], found: Mapping[str, Line]
) -> BidsScan:
    patient = path.relative_to(folder).parts[0]
    line = found.get(patient)
    return BidsScan(path, patient, suffix, line, NO_LINE if lines and line is None else "")


# -------------------------------------------------------------------------------------- files


def raw_files(folder: Path, tell: Tell) -> dict[str, list[Path]]:
    """Files of raw scans by their suffix; others beside them are told."""
    files: dict[str, list[Path]] = {}
    derived, strange = [], []
    for path in _images(folder):
        match = BIDS_FILE.fullmatch(path.name)
        if not match:
            strange.append(path.name)
        elif NOT_RAW.search(path.name) or _is_second_copy(path):
            derived.append(path.name)
        else:
            files.setdefault(match[1], []).append(path)
    why = "no raw scans (desc-, space- and the like), or unpacked beside the same scan"
    _tell_number(tell, why, derived)
    _tell_number(tell, "not named as BIDS names scans", strange)
    return files


def _images(folder: Path) -> list[Path]:
    found = [
        path
        for pattern in ("sub-*/anat/*.nii*", "sub-*/ses-*/anat/*.nii*")
        for path in folder.glob(pattern)
    ]
    return sorted(path for path in found if not path.name.startswith("."))


def _is_second_copy(path: Path) -> bool:
    """Whether an unpacked file lies beside the packed one of its name."""
    return path.suffix == ".nii" and path.with_name(f"{path.name}.gz").exists()


def _chosen_suffix(folder: Path, suffix: str | None, found: Mapping[str, int]) -> str:
    words = ", ".join(f"{name} ({n} files)" for name, n in sorted(found.items())) or "none"
    usual = [name for name in SUFFIXES if name in found]
    if suffix is None and ("FLAIR" in found or len(usual) == 1):
        return usual[0]
    if suffix is not None and suffix in found:
        return suffix
    if suffix is None and usual:
        raise BadConfig(f"{folder} holds no FLAIR, but {words}: choose one with suffix.")
    wanted = suffix or "FLAIR, T1w, T2w or PDw"
    raise BadConfig(
        f"{folder} holds no raw {wanted} scan (sub-*/[ses-*/]anat/sub-*_{suffix or 'FLAIR'}.nii.gz); "
        f"suffixes found: {words}."
    )


# -------------------------------------------------------------------------------- participants


def _participants(folder: Path, tell: Tell) -> list[Line]:
    """The lines of the table; none where there is no table, or no labels and splits in it."""
    path = folder / PARTICIPANTS
    if not path.exists():
        return []
    lines: dict[str, Line] = {}
    for line in read_table(path, ("participant_id",)):
        first = lines.setdefault(_id(line), line)
        if first is not line:
            raise BadConfig(f"{line.place}: {_id(line)} was on {first.place} already. Keep one.")
    tell_no_labels(list(lines.values()), path, tell)
    return [line for line in lines.values() if line.is_labelled]


def _id(line: Line) -> str:
    return line.cells["participant_id"]


def _partners(lines: Iterable[Line], folders: Collection[str], tell: Tell) -> dict[str, Line]:
    """The line of each folder that has one. Raises `BadConfig` where several could be meant."""
    by_id = {_id(line): line for line in lines}
    found = {name: by_id[name] for name in folders if name in by_id}
    ids, names = _by_number(by_id), _by_number(folders)
    changed = []
    for number in ids.keys() & names.keys():
        lone_ids = [name for name in ids[number] if name not in found]
        lone_names = [name for name in names[number] if name not in found]
        if not lone_ids or not lone_names:
            continue
        if len(ids[number]) > 1 or len(names[number]) > 1:
            raise BadConfig(
                f"{PARTICIPANTS}: {_listed(ids[number])} could mean {_listed(names[number])} in "
                "several ways (are leading zeros lost?). Write each participant_id as its folder."
            )
        found[lone_names[0]] = by_id[lone_ids[0]]
        changed.append(f"{lone_ids[0]} is {lone_names[0]}")
    _tell_names(tell, f"{PARTICIPANTS} writes ids otherwise than the folders; taken as", changed)
    return found


def _by_number(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that are equal but for "sub-", leading zeros, ".0" and capitals, together."""
    together: dict[str, list[str]] = {}
    for name in names:
        match = _NUMBER.fullmatch(name)
        key = match[1] if match else name.casefold().removeprefix("sub-")
        together.setdefault(key, []).append(name)
    return together


def _tell_lone(lines: list[Line], scanned: list[str], tell: Tell) -> None:
    """Name what has no partner. Raises `BadConfig` where both sides are left over."""
    ids = [_id(line) for line in lines]
    labelled = [_id(line) for line in lines if labels_of(line) or split_of(line, labels_of(line))]
    if labelled and scanned:
        raise BadConfig(
            f"{PARTICIPANTS} and the folders do not fit, labels would be lost. Lines without a "
            f"folder: {_listed(labelled)}. Scans without a line: {_listed(scanned)}. Write each "
            "participant_id as its folder; take out lines that have no scan, and add lines with "
            "n/a for scans that have no label."
        )
    _tell_names(tell, f"Lines of {PARTICIPANTS} without a folder, not used", ids)
    _tell_names(tell, f"Scans without a line in {PARTICIPANTS}, hence without labels", scanned)


def _tell_names(tell: Tell, what: str, names: Iterable[str]) -> None:
    if listed := _listed(names):
        tell(f"{what}: {listed}.")


def _tell_number(tell: Tell, why: str, files: list[str]) -> None:
    if files:
        tell(f"Images left out, {why}: {len(files)}, such as {files[0]}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
