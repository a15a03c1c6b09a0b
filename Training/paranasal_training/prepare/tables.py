"""Tables of scans or of participants, and the labels in them.

Tables of scans and `participants.tsv` name labels in the same way, in columns of their own:

- `left_class` and `right_class`: 0 normal, 1 thickening, 2 polyp, 3 cyst, 4 full; or
- `left_label` and `right_label`: 0 normal, 1 anomalous.

Left and right are the patient's. An empty cell or `n/a` means no label; without these columns no
sinus has one. A column `split` (train, validation, test) is optional; other columns are ignored.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Kind, Side

Tell = Callable[[str], None]

SPLITS = ("train", "validation", "test")
LABEL_COLUMNS = {
    "class": {Side.LEFT: "left_class", Side.RIGHT: "right_class"},
    "label": {Side.LEFT: "left_label", Side.RIGHT: "right_label"},
}
_LABEL_NAMES = {name for sides in LABEL_COLUMNS.values() for name in sides.values()}
LARGEST = {"class": 4, "label": 1}
LABEL_HELP = (
    "Labels are in left_class and right_class (0 normal, 1 thickening, 2 polyp, 3 cyst, 4 full) or "
    "in left_label and right_label (0 normal, 1 anomalous); empty or n/a where there is none."
)
MISSING = ("", "n/a")
_SIDE = r"(l|r|lt|rt|left|right|links|rechts)"
_WHAT = r"(side|sinus|class|label|maxillary|ms)"
_SIDE_LIKE = re.compile(rf"{_SIDE}([ _.-]?{_WHAT})*|({_WHAT}[ _.-]?)+{_SIDE}", re.IGNORECASE)


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
class Line:
    """One line of a table; `place` names it in errors."""

    place: str
    cells: Mapping[str, str]

    @property
    def is_labelled(self) -> bool:
        """Whether the table has columns of labels or splits."""
        return not _LABEL_NAMES.isdisjoint(self.cells) or "split" in self.cells


def read_table(path: Path, required: Iterable[str]) -> list[Line]:
    """The lines of a CSV or TSV table; raises `BadConfig` where a required column lacks."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    lines: list[Line] = []
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
                    lines.append(Line(place, cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadConfig(
            f"{path} cannot be read as a table: {error}. Save it as text in UTF-8."
        ) from error
    if not lines:
        raise BadConfig(f"{path} is empty: there is no line below the names of the columns.")
    return lines


def _check_columns(columns: list[str], required: Iterable[str], path: Path) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        word = "tabs" if path.suffix.lower() == ".tsv" else "commas"
        hint = f" Save it with {word} between the cells." if len(columns) == 1 else ""
        raise BadConfig(
            f"{path} lacks the column {' and '.join(missing)}; found between {word}: {found}.{hint}"
        )
    if "" in columns or len(set(columns)) < len(columns):
        raise BadConfig(f"{path} has a column without a name, or two of one name: {columns}.")
    strange = [name for name in columns if name not in _LABEL_NAMES and _SIDE_LIKE.fullmatch(name)]
    if strange:
        raise BadConfig(f"{path}: the column {strange[0]} is not known. {LABEL_HELP}")
    split = [name for name in columns if name != "split" and name.casefold() == "split"]
    if split:
        raise BadConfig(f"{path}: the column {split[0]} is not known; its name is split.")
    found_known = _LABEL_NAMES & set(columns)
    if found_known and found_known not in [set(s.values()) for s in LABEL_COLUMNS.values()]:
        raise BadConfig(
            f"{path}: {', '.join(sorted(found_known))} do not go together. {LABEL_HELP}"
        )


def tell_no_labels(lines: list[Line], path: Path, tell: Tell) -> None:
    """Say where a table has no columns of labels: none of its scans has any, which may not be meant."""
    if not any(line.is_labelled for line in lines):
        found = ", ".join(lines[0].cells)
        tell(
            f"{path} has no columns of labels, hence no sinus has one; found: {found}. {LABEL_HELP}"
        )


def labels_of(line: Line) -> dict[Side, SinusLabel]:
    """What a line says of each side; sides without a label are left out."""
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


def split_of(line: Line, labels: Mapping[Side, SinusLabel]) -> str | None:
    """The split that a line gives, None where it gives none."""
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
