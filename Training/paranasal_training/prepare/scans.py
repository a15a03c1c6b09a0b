"""Which scans there are and what is known of them: a BIDS folder, or a table of paths."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paranasal_training.prepare.bids import find_bids_scans
from paranasal_training.prepare.tables import (
    SinusLabel,
    Tell,
    labels_of,
    read_table,
    split_of,
    tell_no_labels,
)
from ParanasalSSLLib.boxes.placement import Placement, read_placement
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class Scan:
    """One scan of the cohort.

    number: from 1, in the order of the table, or of the BIDS file names
    name: path as the table gives it, or within the BIDS folder (private)
    patient: the source's own id (private)
    place: where an error is to be put right
    labels: of the sides that have one
    modality: BIDS suffix, empty where unknown
    remark: a sentence on what is not known of it
    """

    number: int
    path: Path
    name: str
    patient: str
    place: str
    labels: Mapping[Side, SinusLabel] = field(default_factory=dict)
    split: str | None = None
    modality: str = ""
    remark: str = ""


def read_scans(
    source: Path, suffix: str | None = None, tell: Tell = lambda words: None
) -> list[Scan]:
    """List the scans of a BIDS folder or of a table (.csv or .tsv), checked.

    Args:
        source: folder with `sub-*/[ses-*/]anat/*_<suffix>.nii[.gz]`, or a table with the columns
            `path` (relative to the table, or absolute) and `patient`.
        suffix: which BIDS files; by default FLAIR, or else the only one of `SUFFIXES` there is.
        tell: is called with a sentence for whatever is left out or was guessed.

    Raises:
        BadConfig: nothing to read, or a contradiction; names the line or file.
    """
    if source.is_dir():
        scans = _from_bids(source, suffix, tell)
    elif not source.exists():
        raise BadConfig(f"{source} does not exist. Give a BIDS folder, or a table (.csv or .tsv).")
    elif source.suffix.lower() not in (".csv", ".tsv"):
        raise BadConfig(f"{source} is no BIDS folder and no table (.csv or .tsv).")
    elif suffix is not None:
        raise BadConfig(f"suffix {suffix} chooses files of a BIDS folder; {source} is a table.")
    else:
        scans = _from_table(source, tell)
    _refuse_missing(scans)
    _refuse_twice(scans)
    _refuse_two_spellings(scans)
    _refuse_contradictions(scans)
    return scans


def read_hand_boxes(folder: Path | None, scans: list[Scan]) -> dict[int, Placement]:
    """Boxes placed by hand, by scan number; none without a folder.

    Files are `<patient>.mrk.json` or `.json`, or, where a patient has several scans, named as the
    scan's file; Slicer saves the sides apart, so `_left` and `_right` may follow the name.

    Raises:
        BadConfig: no folder, a file that fits no scan or several.
        BadBoxes: a damaged file.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise BadConfig(f"boxes: {folder} is no folder.")
    named: dict[str, set[int]] = {}
    for scan in scans:
        for name in (scan.patient, re.split(r"\.(nii|nrrd|nhdr|mh[ad]|zip)", scan.path.name)[0]):
            named.setdefault(name, set()).add(scan.number)
    files: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("*.json")):
        name = re.sub(r"(\.mrk)?\.json$", "", path.name)
        fits = named.get(name) or named.get(re.sub(r"_(left|right)$", "", name)) or set()
        if len(fits) != 1:
            what = "several scans" if fits else "no patient and no scan"
            raise BadConfig(
                f"{path} fits {what}. Name it <patient>.mrk.json, or after the scan's own file "
                "where a patient has several scans."
            )
        files.setdefault(min(fits), []).append(path)
    return {number: read_placement(*paths) for number, paths in files.items()}


def _from_table(path: Path, tell: Tell) -> list[Scan]:
    scans = []
    lines = read_table(path, ("path", "patient"))
    tell_no_labels(lines, path, tell)
    for number, line in enumerate(lines, start=1):
        name, patient = line.cells["path"], line.cells["patient"]
        if not name or not patient:
            raise BadConfig(f"{line.place}: {'path' if not name else 'patient'} is empty.")
        labels = labels_of(line)
        split = split_of(line, labels)
        scans.append(Scan(number, path.parent / name, name, patient, line.place, labels, split))
    return scans


def _from_bids(folder: Path, suffix: str | None, tell: Tell) -> list[Scan]:
    scans = []
    for number, found in enumerate(find_bids_scans(folder, suffix, tell), start=1):
        labels = labels_of(found.line) if found.line else {}
        scans.append(
            Scan(
                number,
                found.path,
                str(found.path.relative_to(folder)),
                found.patient,
                str(found.path),
                labels,
                split_of(found.line, labels) if found.line else None,
                found.suffix,
                found.remark,
            )
        )
    return scans


# ------------------------------------------------------------------------------------- checks


def _refuse_missing(scans: list[Scan]) -> None:
    """A link that leads nowhere (git-annex) is one scan's trouble, told with the others' later."""
    there = [scan for scan in scans if scan.path.exists()]
    missing = [scan for scan in scans if not there or not os.path.lexists(scan.path)]
    if missing:
        first = missing[0]
        what = (
            "leads nowhere (git-annex: get it first)"
            if first.path.is_symlink()
            else "does not exist"
        )
        raise BadConfig(
            f"{first.place}: {first.path} {what}"
            + (f", nor do the files of {len(missing) - 1} other scans" if missing[1:] else "")
            + ". Put the path right (relative ones start at the table), or take the scan out."
        )


def _refuse_twice(scans: list[Scan]) -> None:
    seen: dict[str, Scan] = {}
    for scan in filter(lambda scan: scan.path.exists(), scans):
        first = seen.setdefault(os.path.realpath(scan.path), scan)
        if first is not scan:
            raise BadConfig(f"{scan.place}: {scan.name} was on {first.place} already. Keep one.")


def _refuse_two_spellings(scans: list[Scan]) -> None:
    """Ids that differ in capitals alone are one patient's, who might be trained on and tested."""
    first: dict[str, Scan] = {}
    for scan in scans:
        before = first.setdefault(scan.patient.casefold(), scan)
        if before.patient != scan.patient:
            raise BadConfig(
                f"{scan.place}: patient {scan.patient} is written {before.patient} on {before.place}. "
                "Write every id in one way."
            )


def _refuse_contradictions(scans: list[Scan]) -> None:
    """A patient is in one split, and all scans of a patient have the same labels, where known."""
    known: dict[tuple[str, Side], tuple[Scan, SinusLabel]] = {}
    split: dict[str, Scan] = {}
    for scan in scans:
        for side, label in scan.labels.items():
            first, before = known.setdefault((scan.patient, side), (scan, label))
            if before != label:
                raise BadConfig(
                    f"{scan.place}: the {side} label of patient {scan.patient} contradicts that "
                    f"on {first.place}. Put one right, or give the patients different names."
                )
        other = split.setdefault(scan.patient, scan)
        if other.split != scan.split:
            raise BadConfig(
                f"{scan.place}: patient {scan.patient} is in the split {scan.split or '(none)'}, "
                f"but in {other.split or '(none)'} on {other.place}. A patient has one split."
            )
