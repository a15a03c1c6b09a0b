"""The DICOM headers behind a volume, for DICOM results that refer to the files of the scan.

A `Volume` knows nothing of the patient; what has to refer to the files that it came from reads
their headers again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.quiet import quietly
from ParanasalSSLLib.scans.archive import unpacked
from ParanasalSSLLib.scans.checks import checked_grid
from ParanasalSSLLib.scans.dicom import stack_of_series
from ParanasalSSLLib.scans.dicom_files import files_below, read_headers
from ParanasalSSLLib.scans.dicom_stack import SliceHeader

if TYPE_CHECKING:
    from pydicom import Dataset

UTF_8 = "ISO_IR 192"
_CHARSETS = {True: (UTF_8, "utf8"), False: ("ISO_IR 100", "latin_1")}  # DICOM's and Python's names
_TEXT_VRS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")  # those that a character set matters to

# What identifies an image and its place in the world for anything that refers to it.
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
# The same in a whole series.
_SHARED_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# What a frame's own header has not: NumberOfFrames, functional groups, and place, orientation and
# spacing, which come from these.
_OF_ALL_FRAMES = (0x28_0008, 0x5200_9229, 0x5200_9230, 0x20_0032, 0x20_0037, 0x28_0030)


@dataclass(frozen=True, eq=False)
class SourceSeries(Grid):
    """The headers of the files that a volume came from. They hold the patient's identity.

    Shape and affine are those of the volume that `read_volume` makes of the series.

    Attributes:
        headers: pydicom datasets without pixels, along the slice normal; texts are decoded. That of a
            frame is as if it were a file, with the identity of its own.
        places: (len(headers),) index of each along the grid's last axis; that of a missing slice
            is left out.
        frames: number of each in its file, from 1; None for a file of one slice.
    """

    headers: list[Dataset]
    places: np.ndarray
    frames: list[int | None]


def read_source_series(source: str | Path | Sequence[Path]) -> SourceSeries:
    """Read the headers of the series that `read_volume` reads from the same place.

    Args:
        source: the folder, zip or multi-frame file of one series, or its files.

    Returns:
        The headers in the order of the volume's slices, and the volume's grid.

    Raises:
        UnreadableScan: no DICOM image there, or a damaged one.
        UnsupportedScan: no series that is read here (see `read_dicom_folder`), or images that do
            not say to which study and frame of reference they belong.
    """
    if not isinstance(source, str | Path):
        return _source_series(source, Path(source[0]).parent if source else Path("the series"))
    path = Path(source)
    if path.is_dir():
        return _source_series(files_below(path), path)
    if not zipfile.is_zipfile(path):
        return _source_series([path], path)
    with unpacked(path) as folder:
        return _source_series(files_below(folder), path)


def _source_series(files: Iterable[Path], named: Path) -> SourceSeries:
    found = read_headers(files, named)
    if not found:
        raise UnreadableScan(f"{named} holds no DICOM image. Give the folder or zip of one series.")
    stack = stack_of_series(found, named)
    grid = checked_grid(stack.shape, stack.affine, named)
    frames = [header.frame.number if header.frame else None for header in stack.headers]
    with quietly("highdicom"):  # its warnings show values, a patient's name too
        files_headers = {
            path: _file_header(path, named) for path in {h.path for h in stack.headers}
        }
        headers = [_of_slice(files_headers[header.path], header) for header in stack.headers]
        _refuse_without_identity(headers, frames, named)
    return SourceSeries(grid.shape, grid.affine, headers, stack.places, frames)


def _file_header(path: Path, named: Path) -> Dataset:
    import pydicom

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        _correct_charset(data)
        data.remove_private_tags()
        data.decode()
    except Exception as error:  # damaged files make pydicom raise almost anything
        raise UnreadableScan(
            f"{named} holds a DICOM image whose header is damaged ({type(error).__name__}). "
            "Export the series again, or do without DICOM output."
        ) from error
    return data


def _correct_charset(data: Dataset) -> None:
    """Many programs write UTF-8 and claim nothing, or claim UTF-8 and write Latin letters."""
    claimed = data.get("SpecificCharacterSet") or ""
    if claimed not in ("", "ISO_IR 6", UTF_8):
        return
    texts = [item.value for item in data.values() if item.VR in _TEXT_VRS]
    values = [value for value in texts if isinstance(value, bytes) and not value.isascii()]
    if values:
        name, codec = _CHARSETS[all(map(_is_utf_8, values))]
        data.SpecificCharacterSet = name
        implicit, little = data.original_encoding
        data.set_original_encoding(bool(implicit), bool(little), [codec])


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _of_slice(data: Dataset, header: SliceHeader) -> Dataset:
    """The header of a file, or of a frame of it: where it lies stands at the top, not in groups."""
    if header.frame is None or header.plane is None:
        return data
    from pydicom import Dataset

    frame = Dataset({tag: element for tag, element in data.items() if tag not in _OF_ALL_FRAMES})
    frame.ImageOrientationPatient = header.plane.orientation.tolist()
    frame.ImagePositionPatient = header.plane.position.tolist()
    frame.PixelSpacing = list(header.plane.spacing)
    return frame


def _refuse_without_identity(headers: list[Dataset], frames: list[int | None], named: Path) -> None:
    missing = [tag for tag in _IDENTITY if not all(header.get(tag) for header in headers)]
    if missing:
        raise UnsupportedScan(
            f"{named} has slices without {' and '.join(missing)}, so no DICOM file can refer to "
            "them. Export the series again, or do without DICOM output."
        )
    instances = [header.SOPInstanceUID for header in headers]
    if len(set(zip(instances, frames, strict=True))) < len(headers):
        raise UnsupportedScan(
            f"{named} has several slices of one SOPInstanceUID, so no DICOM file can refer to one of "
            "them. Export the series again, or do without DICOM output."
        )
    for tag in _SHARED_IDENTITY:
        if len({header.get(tag) for header in headers}) > 1:
            raise UnsupportedScan(
                f"{named} has slices that differ in {tag}, so no DICOM file can refer to them as "
                "one series. Export the series again, or do without DICOM output."
            )
