"""The scans in a folder: image files, zips and DICOM series, wherever they lie below it.

Results, derivatives and hidden files are no further scans; links are followed, none twice. Whatever
else is left out is said.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.archive import KEPT_SUFFIXES
from ParanasalSSLLib.scans.bids import why_no_scan
from ParanasalSSLLib.scans.dicom import series_among
from ParanasalSSLLib.scans.dicom_files import read_headers, starts_as_dicom
from ParanasalSSLLib.scans.dicom_stack import SliceHeader, are_parallel
from ParanasalSSLLib.scans.source import ScanSource

DESCRIPTION = "dataset_description.json"
_NO_DATA = ("derivatives", "__MACOSX")
_NO_RAW_DATA = ("sourcedata", "code", "stimuli", "phenotype")  # beside the raw data of BIDS
_Identity = tuple[int, int]


@dataclass(eq=False)
class Found:
    """What was found in a folder.

    scans: in the order of their paths. left_out: how many files or series, by the reason.
    """

    scans: list[ScanSource] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, why: str, what: str) -> None:
        """Count what is no scan."""
        self.left_out[why] += 1
        self.examples.setdefault(why, what)

    def sentences(self) -> Iterator[str]:
        """What was left out, one sentence a reason."""
        for why, number in self.left_out.items():
            named = self.examples[why] if number == 1 else f"{number}, such as {self.examples[why]}"
            yield f"Left out, {why}: {named}."


def find_scans(folder: Path, without: Path | None = None) -> Found:
    """All scans in a folder, in the order of their paths; what cannot be read is one of them.

    Args:
        folder: a BIDS data set, a tree of images, a folder of patients, a CD with DICOMDIR, or the
            folder of one series.
        without: a folder in it that is not searched, the results'.
    """
    found = Found()
    images, dicom = _files(folder, without, found)
    headers: list[SliceHeader] = []
    for here, files in dicom.items():
        try:
            headers += read_headers(files, here)
        except ParanasalError:  # said again when it is read
            found.scans.append(ScanSource(here, tuple(files), "a damaged series", searched=True))
    found.scans += [ScanSource(path, searched=True) for path in images]
    found.scans += _series(headers, found)
    if len(found.scans) == 1 and not images and not found.left_out:
        inside = without is not None and without.resolve().is_relative_to(folder.resolve())
        # The folder of one series, unless the results are to lie beside that.
        found.scans = [ScanSource(found.scans[0].path if inside else folder)]
    found.scans.sort(key=lambda scan: (str(scan.path), scan.files))
    return found


# --------------------------------------------------------------------------------------- files


def _files(
    folder: Path, without: Path | None, found: Found
) -> tuple[list[Path], dict[Path, list[Path]]]:
    """Image files, and DICOM files by their folders."""
    images: list[Path] = []
    dicom: dict[Path, list[Path]] = {}
    known: set[str] = set()
    for here, names in _folders(folder, without, found):
        others = []
        for path in (here / name for name in names):
            if not path.name.lower().endswith(KEPT_SUFFIXES):
                others.append(path)
            elif why := _why_left_out(path, names, known):
                found.leave_out(why, path.name)
            else:
                images.append(path)
                known.add(os.path.realpath(path))
        files = [path for path in others if _is_dicom(path)]
        if files:
            dicom[here] = files
    return images, dicom


def _folders(folder: Path, without: Path | None, found: Found) -> Iterator[tuple[Path, list[str]]]:
    """Every folder that may hold scans, once, with the names of its files."""
    seen = {_identity(parent) for parent in folder.resolve().parents}
    seen |= {_identity(without)} if without is not None and without.is_dir() else set()

    def unreadable(error: OSError) -> None:  # reading it as a scan will say why
        found.scans.append(ScanSource(Path(error.filename), searched=True))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        here = Path(place)
        known = _identity(here)
        if known in seen or (here != folder and _holds_results(here, names)):
            folders.clear()
            continue
        seen.add(known)
        pruned = _NO_DATA + (_NO_RAW_DATA if DESCRIPTION in names else ())
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in pruned)
        yield here, sorted(name for name in names if not name.startswith("."))


def _identity(folder: Path) -> _Identity:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _holds_results(folder: Path, names: Iterable[str]) -> bool:
    """Whether a folder is a result of ours, or a data set of derivatives."""
    if f"{folder.name}_report.json" in names:
        return True
    if DESCRIPTION not in names:
        return False
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(described, dict) and described.get("DatasetType") == "derivative"


def _why_left_out(path: Path, names: list[str], known: set[str]) -> str:
    if path.suffix == ".nii" and f"{path.name}.gz" in names:
        return "unpacked beside the same file packed"
    if os.path.realpath(path) in known:
        return "links to scans that are there already"
    return why_no_scan(path.name)


def _is_dicom(path: Path) -> bool:
    if not path.is_file():  # a pipe may never end
        return False
    try:
        return starts_as_dicom(path)
    except OSError:
        return path.suffix.lower() == ".dcm"


# ------------------------------------------------------------------------------- DICOM series


def _series(headers: list[SliceHeader], found: Found) -> Iterator[ScanSource]:
    known: set[tuple[Path, ...]] = set()
    for series in _long_series(headers, found):
        head = series[0]
        files = tuple(dict.fromkeys(header.path for header in series))
        folder = Path(os.path.commonpath([path.parent for path in files]))
        about = f"{head.description} ({len(series)} slices)"
        if why := _why_no_head(series):
            found.leave_out(why, f"{folder}: {about}")
        elif files not in known:  # else frames of one file, which is told when it is read
            known.add(files)
            yield ScanSource(folder, files, about, searched=True)


def _long_series(headers: list[SliceHeader], found: Found) -> Iterator[list[SliceHeader]]:
    for group in _by_places(headers):
        long = series_among(group)
        used = {header.path for series in long for header in series}
        for header in () if used else group[:1]:
            found.leave_out("too few slices", f"{header.path.parent}: {header.description}")
        yield from long


def _by_places(headers: list[SliceHeader]) -> Iterator[list[SliceHeader]]:
    """The images of a series, in however many folders; those of each where they repeat each other.

    What has no UID to itself, or one a slice, is taken folder by folder.
    """
    folders: dict[tuple[str, Path], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        folders[header.series, header.path.parent].append(header)
    sizes = Counter(series for series, _ in folders)
    apart: dict[Path, list[SliceHeader]] = defaultdict(list)
    spread: dict[str, list[list[SliceHeader]]] = defaultdict(list)
    for (series, folder), group in folders.items():
        if series and sizes[series] > 1:
            spread[series].append(group)
        else:
            apart[folder] += group
    yield from apart.values()
    for groups in spread.values():
        merged = [header for group in groups for header in group]
        yield from [merged] if _is_one_series(merged) else groups


def _is_one_series(headers: list[SliceHeader]) -> bool:
    """Whether no place is taken twice, but by copies of one image."""
    places = [_place(header) for series in series_among(headers) for header in series]
    return len(set(places)) == len(places)


def _place(header: SliceHeader) -> object:
    return header.path if header.plane is None else tuple(header.plane.position.tolist())


def _why_no_head(series: list[SliceHeader]) -> str:
    if series[0].modality not in (None, "MR"):
        return f"no MR series ({series[0].modality})"
    if series[0].localizer:
        return "overview pictures for planning"
    return "" if are_parallel(series) else "slices that are not parallel"
