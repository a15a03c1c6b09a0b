"""Which scans there are and what is known of them: a BIDS folder, or a table of paths.

Both name labels in the same way, a table in its own columns, a BIDS folder in `participants.tsv`:

- `left_class` and `right_class`: 0 normal, 1 thickening, 2 polyp, 3 cyst, 4 full; or
- `left_label` and `right_label`: 0 normal, 1 anomalous.

Left and right are the patient's. An empty cell or `n/a` means no label; without these columns no
sinus has one. A column `split` (train, validation, test) is optional; other columns are ignored.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.boxes.placement import Placement, read_placement
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Kind, Side

SUFFIXES = ("FLAIR", "T1w", "T2w", "PDw")
SPLITS = ("train", "validation", "test")
LABEL_COLUMNS = {
    "class": {Side.LEFT: "left_class", Side.RIGHT: "right_class"},
    "label": {Side.LEFT: "left_label", Side.RIGHT: "right_label"},
}
LARGEST = {"class": 4, "label": 1}
LABEL_HELP = (
    "Labels are in left_class and right_class (0 normal, 1 thickening, 2 polyp, 3 cyst, 4 full) or "
    "in left_label and right_label (0 normal, 1 anomalous); empty or n/a where there is none."
)
MISSING = ("", "n/a")
_SIDE = r"(l|r|lt|rt|left|right|links|rechts)"
_WHAT = r"(side|sinus|class|label|maxillary|ms)"
_SIDE_LIKE = re.compile(rf"{_SIDE}([ _.-]?{_WHAT})*|({_WHAT}[ _.-]?)+{_SIDE}", re.IGNORECASE)
_BIDS_FILE = re.compile(
    r"sub-[A-Za-z0-9]+(?:_[A-Za-z0-9]+-[A-Za-z0-9]+)*_([A-Za-z0-9]+)\.nii(\.gz)?"
)


@dataclass(frozen=True)
class SinusLabel:
    """What a reader said of one sinus: anomalous or not, and which class where that is known."""

    label: int
    kind: int | None = None

    @property
    def words(self) -> str:
        """For people: "normal", "anomalous" or "anomalous, cyst"."""
        if self.label == 0:
            return "normal"
        return f"anomalous, {Kind(self.kind).name.lower()}" if self.kind else "anomalous"


@dataclass(frozen=True)
class Scan:
    """One scan of the cohort.

    number: from 1, in the order of the table, or of the BIDS file names
    name: path as the table gives it, or within the BIDS folder (private)
    patient: the source's own id (private)
    place: where an error is to be put right
    labels: of the sides that have one
    modality: BIDS suffix, empty where unknown
    """

    number: int
    path: Path
    name: str
    patient: str
    place: str
    labels: Mapping[Side, SinusLabel] = field(default_factory=dict)
    split: str | None = None
    modality: str = ""


def read_scans(source: Path, suffix: str | None = None) -> list[Scan]:
    """List the scans of a BIDS folder or of a table (.csv or .tsv), checked.

    Args:
        source: folder with `sub-*/[ses-*/]anat/*_<suffix>.nii[.gz]`, or a table with the columns
            `path` (relative to the table, or absolute) and `patient`.
        suffix: which BIDS files; by default FLAIR, or else the only one of `SUFFIXES` there is.

    Raises:
        BadConfig: nothing to read, or a contradiction; names the line or file.
    """
    if source.is_dir():
        scans = _from_bids(source, suffix)
    elif not source.exists():
        raise BadConfig(f"{source} does not exist. Give a BIDS folder, or a table (.csv or .tsv).")
    elif source.suffix.lower() not in (".csv", ".tsv"):
        raise BadConfig(f"{source} is no BIDS folder and no table (.csv or .tsv).")
    elif suffix is not None:
        raise BadConfig(f"suffix {suffix} chooses files of a BIDS folder; {source} is a table.")
    else:
        scans = _from_table(source)
    _refuse_missing(scans)
    _refuse_twice(scans)
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


# ------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class _Line:
    """One line of a table; `place` names it in errors."""

    place: str
    cells: Mapping[str, str]


def _read_table(path: Path, required: Iterable[str]) -> list[_Line]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    lines: list[_Line] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=separator, restkey="", strict=True)
            columns = [str(name).strip() for name in reader.fieldnames or []]
            _check_columns(columns, required, path)
            reader.fieldnames = columns
            for row in reader:
                place = f"line {reader.line_num} of {path.name}"
                if "" in row or None in row.values():
                    raise BadConfig(f"{place} has not the {len(columns)} cells of the first line.")
                cells = {name: cell.strip() for name, cell in row.items()}
                if any(cells.values()):
                    lines.append(_Line(place, cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadConfig(f"{path} cannot be read as a table (UTF-8): {error}.") from error
    if not lines:
        raise BadConfig(f"{path} is empty: there is no line below the names of the columns.")
    return lines


def _check_columns(columns: list[str], required: Iterable[str], path: Path) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        word = "tabs" if path.suffix.lower() == ".tsv" else "commas"
        raise BadConfig(
            f"{path} lacks the column {' and '.join(missing)}; found between {word}: {found}."
        )
    if "" in columns or len(set(columns)) < len(columns):
        raise BadConfig(f"{path} has a column without a name, or two of one name: {columns}.")
    known = {name for sides in LABEL_COLUMNS.values() for name in sides.values()}
    strange = [name for name in columns if name not in known and _SIDE_LIKE.fullmatch(name)]
    if strange:
        raise BadConfig(f"{path}: the column {strange[0]} is not known. {LABEL_HELP}")
    found_known = known & set(columns)
    if found_known and found_known not in [set(s.values()) for s in LABEL_COLUMNS.values()]:
        raise BadConfig(
            f"{path}: {', '.join(sorted(found_known))} do not go together. {LABEL_HELP}"
        )


def _labels(line: _Line) -> dict[Side, SinusLabel]:
    labels = {}
    for form, sides in LABEL_COLUMNS.items():
        for side, column in sides.items():
            text = line.cells.get(column, "")
            if text.lower() not in MISSING:
                value = _whole(text, LARGEST[form])
                if value is None:
                    raise BadConfig(f"{line.place}: {column} is {text!r}. {LABEL_HELP}")
                labels[side] = (
                    SinusLabel(int(value > 0), value) if form == "class" or value == 0
                    else SinusLabel(value)
                )  # fmt: skip
    return labels


def _whole(text: str, largest: int) -> int | None:
    """The number 0..largest that the text is ("3", or "3.0" as spreadsheets write), or None."""
    match = re.fullmatch(r"(\d)(\.0*)?", text)
    value = int(match[1]) if match else None
    return value if value is not None and value <= largest else None


def _split(line: _Line, labels: Mapping[Side, SinusLabel]) -> str | None:
    split = line.cells.get("split", "")
    if split.lower() in MISSING:
        return None
    if split not in SPLITS:
        raise BadConfig(f"{line.place}: split is {split!r}; choose {', '.join(SPLITS)}, or empty.")
    if not labels:
        raise BadConfig(
            f"{line.place} is in the split {split}, but has no label. Leave split empty."
        )
    return split


def _from_table(path: Path) -> list[Scan]:
    scans = []
    for number, line in enumerate(_read_table(path, ("path", "patient")), start=1):
        name, patient = line.cells["path"], line.cells["patient"]
        if not name or not patient:
            raise BadConfig(f"{line.place}: {'path' if not name else 'patient'} is empty.")
        labels = _labels(line)
        split = _split(line, labels)
        scans.append(Scan(number, path.parent / name, name, patient, line.place, labels, split))
    return scans


# --------------------------------------------------------------------------------------- BIDS


def _from_bids(folder: Path, suffix: str | None) -> list[Scan]:
    files: dict[str, list[Path]] = {}
    for pattern in ("sub-*/anat/*.nii*", "sub-*/ses-*/anat/*.nii*"):
        for path in folder.glob(pattern):
            if match := _BIDS_FILE.fullmatch(path.name):
                files.setdefault(match[1], []).append(path)
    chosen = _chosen_suffix(folder, suffix, {name: len(paths) for name, paths in files.items()})
    participants = _participants(folder)
    scans = []
    for number, path in enumerate(sorted(files[chosen]), start=1):
        name = path.relative_to(folder)
        patient = name.parts[0]
        labels: Mapping[Side, SinusLabel] = {}
        split = None
        if line := participants.get(patient):
            labels = _labels(line)
            split = _split(line, labels)
        place = f"{folder / name}"
        scans.append(Scan(number, path, str(name), patient, place, labels, split, chosen))
    if participants and not participants.keys() & {scan.patient for scan in scans}:
        raise BadConfig(
            f"{folder / 'participants.tsv'}: no participant_id is the name of a folder with a "
            f"{chosen} scan (such as {scans[0].patient})."
        )
    return scans


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
        f"{folder} holds no {wanted} scan (sub-*/[ses-*/]anat/sub-*_{suffix or 'FLAIR'}.nii.gz); "
        f"suffixes found: {words}."
    )


def _participants(folder: Path) -> dict[str, _Line]:
    path = folder / "participants.tsv"
    if not path.exists():
        return {}
    participants: dict[str, _Line] = {}
    for line in _read_table(path, ("participant_id",)):
        patient = line.cells["participant_id"]
        if patient in participants:
            raise BadConfig(
                f"{line.place}: {patient} was on {participants[patient].place} already. Keep one."
            )
        participants[patient] = line
    return participants


# ------------------------------------------------------------------------------------- checks


def _refuse_missing(scans: list[Scan]) -> None:
    missing = [scan for scan in scans if not scan.path.exists()]
    if missing:
        first = missing[0]
        raise BadConfig(
            f"{first.place}: {first.path} does not exist"
            + (f", nor do the files of {len(missing) - 1} other scans" if missing[1:] else "")
            + ". Put the path right (relative ones start at the table), or take the scan out."
        )


def _refuse_twice(scans: list[Scan]) -> None:
    seen: dict[str, Scan] = {}
    for scan in scans:
        first = seen.setdefault(os.path.realpath(scan.path), scan)
        if first is not scan:
            raise BadConfig(f"{scan.place}: {scan.name} was on {first.place} already. Keep one.")


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
