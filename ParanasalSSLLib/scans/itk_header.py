"""What NRRD and MetaImage files themselves say of orientation and lengths.

For whatever a header leaves out, ITK takes LPS, voxels of 1 mm and axes along the patient's; units
it ignores. It tells nobody, so the headers are read here once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.checks import contradict_on_sides

MOST_LINES, LONGEST_LINE = 10_000, 1 << 20  # of a header
LENGTH_TOLERANCE = 0.01  # of the vectors of a rotation
Fields = Mapping[str, Sequence[str]]  # all values that a field was given

# The spaces that name the patient's directions and that ITK turns into LPS.
NRRD_SPACES = (
    *("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"),
    *("lps", "ras", "las"),
)
META_MATRIX = ("TransformMatrix", "Rotation", "Orientation")  # three names of one field
META_SPACING = ("ElementSpacing", "ElementSize")  # the second stands in for the first
MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "?", "???", "")
TWO_ORIENTATIONS = (
    "The file names other directions of its axes (AnatomicalOrientation) than its matrix gives; the "
    "matrix was used, as other programs do."
)


def header_fields(path: Path, kind: str) -> Fields:
    """The fields of a header; of "NRRD" in small letters without spaces, of "MetaImage" as they are."""
    fields: dict[str, list[str]] = defaultdict(list)
    with path.open("rb") as file:
        for _ in range(MOST_LINES):
            line = file.readline(LONGEST_LINE).decode("latin-1")
            if not line or (kind == "NRRD" and not line.strip()):
                break
            name, separator, value = line.partition(":" if kind == "NRRD" else "=")
            if not separator or name.startswith("#") or value.startswith("="):  # NRRD's key:=value
                continue
            name = name.replace(" ", "").lower() if kind == "NRRD" else name.strip()
            fields[name].append(value.strip())
            if name == "ElementDataFile":
                break
    return fields


def refuse_silence(fields: Fields, kind: str, path: Path) -> None:
    """Raise `UnsupportedScan` for a header that leaves sides or lengths to a guess.

    Args:
        fields: of its header.
        kind: "NRRD" or "MetaImage".
        path: named in errors only.
    """
    lacking, units = _of_nrrd(fields) if kind == "NRRD" else _of_meta(fields)
    if lacking:
        raise UnsupportedScan(f"{path} does not say {lacking}. Convert it again from DICOM.")
    if any(unit.strip().lower() not in MILLIMETRES for unit in units):
        raise UnsupportedScan(
            f"{path} gives lengths in another unit than millimetres, which other programs overlook. "
            "Convert it again from DICOM."
        )


def _of_nrrd(fields: Fields) -> tuple[str, list[str]]:
    """What an NRRD header lacks, in words ("" for nothing), and the units that it names."""
    units = [unit for line in fields.get("spaceunits", ()) for unit in line.split('"')]
    space = "".join(fields.get("space", ()))
    if space.lower() not in NRRD_SPACES:
        found = f"its field `space` is {space!r}" if space else "no field `space`"
        return f"how it is oriented ({found}), so left and right cannot be told", units
    directions = fields.get("spacedirections")
    if not directions or "".join(directions).count("(") != 3:
        lacking = (
            "`space directions` lacks an axis" if directions else "no field `space directions`"
        )
        return f"how it is oriented ({lacking}), so left and right cannot be told", units
    return "", units


def _of_meta(fields: Fields) -> tuple[str, list[str]]:
    """What a MetaImage header lacks, in words ("" for nothing), and the units that it names."""
    units = list(fields.get("DistanceUnits", ()))
    matrices = [value for name in META_MATRIX for value in fields.get(name, ())]
    if len(matrices) != 1:
        lacking = "no field TransformMatrix" if not matrices else "several fields TransformMatrix"
        return f"how it is oriented ({lacking}), so left and right cannot be told", units
    if not any(name in fields for name in META_SPACING):
        return "how large its voxels are (no field ElementSpacing)", units
    if any(len(set(fields.get(name, ()))) > 1 for name in META_SPACING):
        return "how large its voxels are (several fields ElementSpacing)", units
    if not _are_unit_vectors(matrices[0]):
        return "how large its voxels are (TransformMatrix makes them larger or smaller)", units
    return "", units


def _are_unit_vectors(matrix: str) -> bool:
    """Whether the vectors of a matrix, one after the other, have the length 1; True if it is none."""
    try:
        numbers = np.array(matrix.split(), float)
    except ValueError:  # ITK says it
        return True
    edge = round(numbers.size**0.5)
    if edge**2 != numbers.size:
        return True
    lengths = np.linalg.norm(numbers.reshape(edge, edge), axis=1)
    return bool((abs(lengths - 1) <= LENGTH_TOLERANCE).all())


def notices_of(fields: Fields, directions: np.ndarray) -> tuple[str, ...]:
    """Sentences on what a header says twice and differently, where all programs take the same.

    Args:
        fields: of its header.
        directions: (3, 3) columns along the voxel axes, RAS, that ITK read.
    """
    for words in fields.get("AnatomicalOrientation", ()):
        named = _named_directions(words)
        if named is not None and contradict_on_sides(named, directions):
            return (TWO_ORIENTATIONS,)
    return ()


def _named_directions(letters: str) -> np.ndarray | None:
    """(3, 3) columns along the voxel axes, RAS, for letters that name where each comes from (RAI)."""
    pairs = ("LR", "PA", "IS")  # from, to
    places = [next((n for n, p in enumerate(pairs) if one in p), -1) for one in letters.upper()]
    if sorted(places) != [0, 1, 2]:
        return None
    directions = np.zeros((3, 3))
    for axis, (letter, place) in enumerate(zip(letters.upper(), places, strict=True)):
        directions[place, axis] = 1.0 if letter == pairs[place][0] else -1.0
    return directions
