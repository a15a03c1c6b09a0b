"""The DICOM images among some files, with or without preamble, and what their headers say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.archive import has_dicom_name
from ParanasalSSLLib.scans.checks import LIMITS, unreadable
from ParanasalSSLLib.scans.dicom_frames import FRAME_TAGS, frames_of
from ParanasalSSLLib.scans.dicom_stack import SliceHeader, SlicePlane

if TYPE_CHECKING:
    from pydicom import Dataset

START_BYTES = 132  # of a file, enough to tell DICOM
_LONGEST_FIRST_ELEMENT = 256  # in bytes
_PRIVATE = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    *FRAME_TAGS,
    *_PRIVATE,
]


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders, linked ones too, each folder once.

    A link that leads back to where the folder itself lies is not followed.
    """
    seen = {_identity(parent) for parent in folder.resolve().parents}
    for here, folders, names in os.walk(folder, followlinks=True):
        if _identity(here) in seen:
            folders.clear()
            continue
        seen.add(_identity(here))
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(here, name)).is_file())


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def read_headers(files: Iterable[Path], named: Path) -> list[SliceHeader]:
    """Headers of all DICOM images among the files, sorted by path; one for each frame of a file.

    Args:
        files: any files; those of other formats are ignored.
        named: what the errors name, since the files may be unpacked ones.

    Raises:
        UnreadableScan: a DICOM file that is damaged.
        UnsupportedScan: too many files.
    """
    headers: list[SliceHeader] = []
    for count, path in enumerate(files, 1):
        if count > LIMITS.most_files:
            raise UnsupportedScan(
                f"{named} holds more than {LIMITS.most_files} files. Give the folder of one series."
            )
        headers += _read_header(path, named)
    return sorted(headers, key=lambda header: header.path)


def count_lost(series: Sequence[SliceHeader]) -> int:
    """Files beside the slices of a series that would be some, too, but hold nothing.

    They are empty, links to what is not there, or called as DICOM files and none.
    """
    folders = {header.path.parent for header in series}
    return sum(_is_lost(path) for folder in folders for path in folder.iterdir())


def _is_lost(path: Path) -> bool:
    if not has_dicom_name(path.name) or path.is_dir():
        return False
    if not path.exists() or path.stat().st_size == 0:
        return True
    return path.suffix.lower() == ".dcm" and not starts_as_dicom(path)


def starts_as_dicom(path: Path) -> bool:
    """See `is_dicom`; of a file that is there. Raises `OSError`: it cannot be read."""
    return is_dicom(_start(path))


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts so (`START_BYTES`) can be DICOM; its preamble may be missing."""
    return start[128:132] == b"DICM" or _is_bare_dicom(start)


def _is_bare_dicom(start: bytes) -> bool:
    """Whether it starts with a first element of DICOM: of group 2 or 8, and of a possible length."""
    if len(start) < START_BYTES:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    if start[:2] == b"\x00\x08":  # big endian
        return explicit
    short = int.from_bytes(start[4:8], "little") < _LONGEST_FIRST_ELEMENT
    return start[:2] in (b"\x02\x00", b"\x08\x00") and (explicit or short)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(START_BYTES)


def _read_header(path: Path, named: Path) -> list[SliceHeader]:
    """The header of one file, or of each of its frames; none when it is no DICOM image."""
    import pydicom

    bare = False
    try:
        start = _start(path)
        if not is_dicom(start):
            return []
        bare = start[128:132] != b"DICM"
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        if "Rows" in data:
            return _slice_headers(data, path)
    except Exception as error:  # damaged files make pydicom raise almost anything
        if bare:  # it may be anything
            return []
        raise unreadable(file_in(named, path), error) from error
    if not bare and _is_cut_image(data):
        raise unreadable(file_in(named, path), EOFError("it ends within its header"))
    return []


def _is_cut_image(data: Dataset) -> bool:
    """Whether a file without rows is an image by its own word, or does not come as far as to say."""
    from pydicom.uid import UID

    kind = data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID")
    return not isinstance(kind, str) or UID(kind).name.endswith("Image Storage")


def file_in(named: Path, path: Path) -> Path:
    """The file itself where a user knows it by its name; what it was unpacked from otherwise."""
    return path if path.is_relative_to(named) else named


def _slice_headers(data: Dataset, path: Path) -> list[SliceHeader]:
    whole = _slice_header(data, path)
    return [
        replace(
            whole,
            description=", ".join(filter(None, (whole.description, found.part))),
            localizer=whole.localizer or found.localizer,
            plane=found.plane,
            frame=found.frame,
        )
        for found in frames_of(data)
    ] or [whole]


def _slice_header(data: Dataset, path: Path) -> SliceHeader:
    words = _without_identity(str(data.get("SeriesDescription") or "no description"), data)
    kind = str(data.get("PhotometricInterpretation") or "MONOCHROME2")
    return SliceHeader(
        path=path,
        instance=str(data.get("SOPInstanceUID") or ""),
        series=str(data.get("SeriesInstanceUID") or ""),
        description=f"series {data.get('SeriesNumber') or 'without number'}, {words}",
        modality=str(data.get("Modality") or "") or None,
        localizer="LOCALIZER" in (data.get("ImageType") or ()),
        grey=kind.startswith("MONOCHROME"),
        inverted=kind == "MONOCHROME1",
        shape=(int(data.Rows), int(data.Columns)),
        frames=int(data.get("NumberOfFrames") or 1),
        plane=_plane(data),
        patient=str(data.get("PatientID") or "").strip(),
    )


def _without_identity(words: str, data: Dataset) -> str:
    """A description that goes into reports: none where it names the patient."""
    private = (str(data.get(tag) or "") for tag in _PRIVATE)
    parts = {part for value in private for part in re.findall(r"\w{3,}", value.casefold())}
    named = any(part in words.casefold() for part in parts) or _short_names(data) & _names(words)
    return "description withheld" if named else words


def _short_names(data: Dataset) -> set[str]:
    """The patient's names of two letters, such as Li: they matter as words of their own only."""
    return {name for name in _names(str(data.get("PatientName") or "")) if len(name) == 2}


def _names(text: str) -> set[str]:
    """What of a text may be a name, in small letters."""
    return set(re.findall(r"[^\W\d_]+", text.casefold()))


def _plane(data: Dataset) -> SlicePlane | None:
    orientation, position = data.get("ImageOrientationPatient"), data.get("ImagePositionPatient")
    spacing = data.get("PixelSpacing")
    return SlicePlane.of(orientation, position, spacing)
