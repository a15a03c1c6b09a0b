"""DICOM series from folders and zip archives, as `Volume`.

Slices are grouped by SeriesInstanceUID, ordered by their position along the slice normal, and
refused when they are doubled, unevenly spaced or of different orientation: a volume with a wrong
gap would put the sinuses in the wrong place without a warning. Single missing slices are filled
from both neighbours and counted in the provenance.

A `Volume` knows nothing of the patient. What has to refer to the files that it came from reads
their headers again, as `SourceSeries`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.checks import LIMITS, checked_grid, refuse_modality
from ParanasalSSLLib.scans.volume import (
    ITK_SUFFIXES,
    LPS_TO_RAS,
    NIFTI_SUFFIXES,
    Provenance,
    Volume,
    checked_volume,
    damaged,
    read_volume,
)

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

MOST_UNPACKED_BYTES = 4_000_000_000
MOST_FILES = 20_000
POSITION_TOLERANCE = 0.1  # of the slice distance
PARALLEL_TOLERANCE = 1e-3  # between the direction cosines of slices
MOST_MISSING_SHARE = 0.05  # of the slices, none next to another missing one
_IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
_TAGS = [
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
]
_PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelData",
]
_PIXEL_DATA = 0x7FE0_0010
# What identifies an image and its place in the world for anything that refers to it.
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
_SHARED_IDENTITY = ("StudyInstanceUID", "FrameOfReferenceUID")  # the same in a whole series


@dataclass(frozen=True, eq=False)
class Plane:
    """Where a slice lies.

    Attributes:
        orientation: (6,) cosines along a row, then along a column, LPS.
        position: (3,) centre of the first voxel, LPS mm.
        spacing: between rows, between columns, mm.
    """

    orientation: np.ndarray
    position: np.ndarray
    spacing: tuple[float, float]


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """What is needed of one file. The UIDs only tell files apart; they go no further."""

    path: Path
    instance: str
    series: str
    description: str
    modality: str | None
    localizer: bool
    grey: bool
    shape: tuple[int, int]  # rows, columns
    frames: int
    plane: Plane | None


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in their order on an even grid.

    Attributes:
        headers: along the slice normal.
        places: (len(headers),) place 0, 1, ... of each on the grid; a missing slice's is left out.
        affine: (4, 4) column, row, place -> RAS mm.
    """

    headers: list[SliceHeader]
    places: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns = self.headers[0].shape
        return columns, rows, int(self.places[-1]) + 1


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The headers of the files that a volume came from. They hold the patient's identity.

    Attributes:
        headers: pydicom datasets without pixels, along the slice normal; texts are decoded.
        places: (len(headers),) place of each along the grid's last axis; a missing slice's is
            left out.
        shape: columns, rows, places.
        affine: (4, 4) column, row, place -> RAS mm, the same as the affine of the volume that
            `read_volume` makes of the series.
    """

    headers: list[Dataset]
    places: np.ndarray
    shape: tuple[int, int, int]
    affine: np.ndarray


def read_zip(path: Path) -> Volume:
    """Read the one scan in a zip archive: a DICOM series, or one NIfTI, NRRD or MetaImage file.

    Raises:
        UnreadableScan: a damaged archive, or no scan in it.
        UnsupportedScan: too large an archive, or several files.
    """
    with _unpacked(path) as folder:
        return _read_unpacked(folder, path)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the files of an archive."""
    try:
        with (
            zipfile.ZipFile(path) as archive,
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ):
            _unpack(archive, Path(folder), path)
            yield Path(folder)
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
        *(RuntimeError, NotImplementedError),  # a password, a compression that Python lacks
    ) as error:
        raise damaged(path, error) from error


def _unpack(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    members = [m for m in archive.infolist() if not m.is_dir() and m.file_size > 0]
    total = sum(m.file_size for m in members)  # `open` yields no more than this, whatever comes
    if total > MOST_UNPACKED_BYTES or len(members) > MOST_FILES:
        raise UnsupportedScan(
            f"{path} is too large ({len(members)} files, {total / 1e9:.1f} GB unpacked). "
            "Unpack it and give the folder of one series."
        )
    for number, member in enumerate(members):
        name = Path(member.filename).name.lower()
        if name.startswith("."):  # macOS keeps a shadow of each file
            continue
        # Names inside an archive are not trusted: only a known suffix is kept.
        suffix = next((s for s in _IMAGE_SUFFIXES if name.endswith(s)), "")
        with (
            archive.open(member) as source,
            (folder / f"{number:06d}{suffix}").open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)


def _read_unpacked(folder: Path, archive: Path) -> Volume:
    images = sorted(p for p in folder.iterdir() if p.suffix)
    if not images:
        return _read_as(archive, folder)
    if len(images) > 1 or _headers(_files(folder), archive):
        raise UnsupportedScan(
            f"{archive} holds {len(images)} image file(s)"
            f"{' beside other scans' if len(images) == 1 else ''}, and it is not clear which is "
            "meant. Unpack it and give the one."
        )
    if images[0].suffix in (".nhdr", ".mhd"):
        raise UnsupportedScan(
            f"{archive} holds an image whose voxels are in a second file. Unpack it and give the "
            f"{images[0].suffix} file."
        )
    return _read_as(archive, images[0])


def _read_as(archive: Path, unpacked: Path) -> Volume:
    """Read an unpacked file or folder; errors name the archive, which is what the user knows."""
    try:
        return read_volume(unpacked)
    except (UnreadableScan, UnsupportedScan) as error:
        error.args = (str(error).replace(str(unpacked), str(archive)), *error.args[1:])
        raise


def read_dicom_folder(folder: Path) -> Volume:
    """Read the one MR series in a folder (subfolders and other files may be there).

    Localizers, single pictures and other modalities beside it are passed over.

    Raises:
        UnreadableScan: no DICOM image in it, or a damaged one.
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: CT, colour, multi-frame, missing or unevenly spaced slices.
    """
    headers = _headers(_files(folder), folder)
    if not headers:
        images = any(p.name.lower().endswith(_IMAGE_SUFFIXES) for p in folder.iterdir())
        advice = "one of the image files in it" if images else "the folder of one series"
        raise UnreadableScan(f"{folder} holds no DICOM image. Give {advice}.")
    stack = _stack_of_series(headers, folder)
    missing = stack.shape[2] - len(stack.headers)
    # Before loading: what cannot be a head costs no time.
    affine = checked_grid(stack.shape, stack.affine, folder)
    kind = Provenance("DICOM", stack.headers[0].modality, interpolated_slices=missing)
    return checked_volume(_voxels(stack, folder), affine, kind, folder)


def read_source_series(source: str | Path | Sequence[Path]) -> SourceSeries:
    """Read the headers of the series that `read_volume` reads from the same place.

    Args:
        source: the folder or zip of one series, or its files.

    Raises:
        UnreadableScan: no DICOM image there, or a damaged one.
        UnsupportedScan: no series that is read here (see `read_dicom_folder`), or images that do
            not say to which study and frame of reference they belong.
    """
    if not isinstance(source, str | Path):
        return _source_series(source, Path(source[0]).parent if source else Path("the series"))
    path = Path(source)
    if path.is_dir():
        return _source_series(_files(path), path)
    if not zipfile.is_zipfile(path):
        raise UnreadableScan(f"{path} is no DICOM series. Give the folder or zip of one series.")
    with _unpacked(path) as folder:
        return _source_series(_files(folder), path)


@contextmanager
def nothing_said() -> Iterator[None]:
    """Keep pydicom and highdicom from printing: their warnings show values, a patient's name too."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _source_series(files: Iterable[Path], named: Path) -> SourceSeries:
    import pydicom

    found = _headers(files, named)
    if not found:
        raise UnreadableScan(f"{named} holds no DICOM image. Give the folder of one series.")
    stack = _stack_of_series(found, named)
    affine = checked_grid(stack.shape, stack.affine, named)
    headers: list[Dataset] = []
    with nothing_said():
        for header in stack.headers:
            try:
                data = pydicom.dcmread(header.path, stop_before_pixels=True)
                data.remove_private_tags()
                data.decode()
            except Exception as error:  # pydicom lets almost anything out of a damaged file
                raise UnreadableScan(
                    f"{named} holds a DICOM image whose header is damaged ({type(error).__name__}). "
                    "Export the series again, or do without DICOM output."
                ) from error
            headers.append(data)
        _refuse_without_identity(headers, named)
    return SourceSeries(headers, stack.places, stack.shape, affine)


def _refuse_without_identity(headers: list[Dataset], named: Path) -> None:
    missing = [tag for tag in _IDENTITY if not all(header.get(tag) for header in headers)]
    if missing:
        raise UnsupportedScan(
            f"{named} has slices without {' and '.join(missing)}, so no DICOM file can refer to "
            "them. Export the series again, or do without DICOM output."
        )
    for tag in _SHARED_IDENTITY:
        if len({header[tag].value for header in headers}) > 1:
            raise UnsupportedScan(
                f"{named} has slices that differ in {tag}, so no DICOM file can refer to them as "
                "one series. Export the series again, or do without DICOM output."
            )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _stack_of_series(headers: list[SliceHeader], folder: Path) -> Stack:
    """The slices of the one grey MR series among the headers, in their order."""
    series = _the_series(headers, folder)
    refuse_modality(series[0].modality, folder)
    if not all(header.grey for header in series):
        raise UnsupportedScan(f"{folder} holds colour pictures. Give the grey MR series.")
    return _stacked(series, folder)


def _headers(files: Iterable[Path], named: Path) -> list[SliceHeader]:
    """Headers of all DICOM images among the files, each instance once."""
    headers: dict[str, SliceHeader] = {}
    for count, path in enumerate(files, 1):
        if count > MOST_FILES:
            raise UnsupportedScan(
                f"{named} holds more than {MOST_FILES} files. Give the folder of one series."
            )
        header = _header(path, named)
        if header is not None:
            headers.setdefault(header.instance, header)
    return sorted(headers.values(), key=lambda header: header.path)


def _header(path: Path, named: Path) -> SliceHeader | None:
    """The facts of one file, or None when it is no DICOM image."""
    import pydicom

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
            file.seek(0)
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            return _facts(data, path) if "Rows" in data and "SeriesInstanceUID" in data else None
    except Exception as error:  # pydicom lets almost anything out of a damaged file
        raise damaged(named, error) from error


def _facts(data: Dataset, path: Path) -> SliceHeader:
    words = str(data.get("SeriesDescription") or "no description")
    return SliceHeader(
        path=path,
        instance=str(data.get("SOPInstanceUID") or path),
        series=str(data.SeriesInstanceUID),
        description=f"series {data.get('SeriesNumber') or 'without number'}, {words}",
        modality=str(data.get("Modality") or "") or None,
        localizer="LOCALIZER" in (data.get("ImageType") or ()),
        grey=str(data.get("PhotometricInterpretation", "MONOCHROME2")).startswith("MONOCHROME"),
        shape=(int(data.Rows), int(data.Columns)),
        frames=int(data.get("NumberOfFrames") or 1),
        plane=_plane(data),
    )


def _plane(data: Dataset) -> Plane | None:
    orientation, position = data.get("ImageOrientationPatient"), data.get("ImagePositionPatient")
    spacing = data.get("PixelSpacing")
    if not (orientation and position and spacing):
        return None
    return Plane(
        np.array(orientation, float),
        np.array(position, float),
        (float(spacing[0]), float(spacing[1])),
    )


def _the_series(headers: list[SliceHeader], folder: Path) -> list[SliceHeader]:
    """The slices of the one series that can be a head scan."""
    by_uid = defaultdict(list)
    for header in headers:
        by_uid[header.series].append(header)
    stacks = [s for s in by_uid.values() if len(s) >= LIMITS.smallest_axis_voxels]
    if not stacks:
        raise _no_stack(headers, folder)
    # Each rule chooses only where it leaves something to choose.
    stacks = [s for s in stacks if s[0].modality in (None, "MR")] or stacks
    stacks = [s for s in stacks if not s[0].localizer] or stacks
    stacks = [s for s in stacks if _is_parallel(s)] or stacks
    if len(stacks) > 1:
        found = tuple(f"{s[0].description} ({len(s)} slices)" for s in stacks)
        raise SeveralSeries(
            f"{folder} holds {len(stacks)} series: {'; '.join(found)}. "
            "Put the wanted one (FLAIR, T2 or T1 with thin slices) into a folder of its own and "
            "give that.",
            found,
        )
    return stacks[0]


def _no_stack(headers: list[SliceHeader], folder: Path) -> UnsupportedScan:
    if any(header.frames > 1 for header in headers):
        return UnsupportedScan(
            f"{folder} holds a multi-frame DICOM file, which is not read here. Convert it to NIfTI "
            "(for example with dcm2niix) or export it as single slices."
        )
    return UnsupportedScan(
        f"{folder} holds no series of at least {LIMITS.smallest_axis_voxels} slices "
        f"({len(headers)} DICOM image(s) in all). Give the whole series."
    )


def _is_parallel(headers: list[SliceHeader]) -> bool:
    orientations = [header.plane.orientation for header in headers if header.plane]
    return bool(orientations and np.ptp(orientations, axis=0).max() < PARALLEL_TOLERANCE)


def _stacked(headers: list[SliceHeader], folder: Path) -> Stack:
    """Order slices along their normal and place them on an even grid."""
    planes = [header.plane for header in headers if header.plane]
    if len(planes) < len(headers):
        raise UnsupportedScan(
            f"{folder} has slices that do not say where they lie. Export the series again."
        )
    sizes = {(h.shape, h.plane.spacing) for h in headers if h.plane}
    if not _is_parallel(headers) or len(sizes) > 1:
        raise UnsupportedScan(
            f"{folder} mixes slices of different orientation or size. Give one series alone."
        )
    orientation = np.mean([plane.orientation for plane in planes], axis=0)
    positions = np.array([plane.position for plane in planes])
    heights = positions @ np.cross(orientation[:3], orientation[3:])
    order = np.argsort(heights, kind="stable")
    places = _places(heights[order], folder)
    positions = positions[order]
    step = (positions[-1] - positions[0]) / places[-1]
    away = np.linalg.norm(positions - positions[0] - places[:, None] * step, axis=1)
    if away.max() > POSITION_TOLERANCE * np.linalg.norm(step):
        raise UnsupportedScan(
            f"{folder} has slices that are not in line with each other (up to {away.max():.1f} mm "
            "away). Export the whole series again."
        )
    lps = np.eye(4)
    lps[:3, 0] = orientation[:3] * planes[0].spacing[1]
    lps[:3, 1] = orientation[3:] * planes[0].spacing[0]
    lps[:3, 2], lps[:3, 3] = step, positions[0]
    return Stack([headers[i] for i in order], places, LPS_TO_RAS @ lps)


def _places(heights: np.ndarray, folder: Path) -> np.ndarray:
    """Places (0, 1, ...) on an even grid of slices at these ascending heights in mm."""
    gaps = np.diff(heights)
    step = float(np.median(gaps))
    if step <= 1e-3 or gaps.min() < 0.5 * step:
        raise UnsupportedScan(
            f"{folder} has several slices at the same place (several echoes or time points?). "
            "Export one of them as a series of its own."
        )
    steps = np.round(gaps / step).astype(int)
    missing = int((steps - 1).sum())
    even = abs(gaps - step * steps).max() <= POSITION_TOLERANCE * step
    if not even or steps.max() > 2 or missing > MOST_MISSING_SHARE * len(heights):
        raise UnsupportedScan(
            f"{folder} lacks slices or has them unevenly spaced ({gaps.min():.2f} to "
            f"{gaps.max():.2f} mm apart). Export the whole series again."
        )
    return np.concatenate([[0], np.cumsum(steps)])


def _voxels(stack: Stack, folder: Path) -> np.ndarray:
    """float32 (columns, rows, slices), rescaled as DICOM says, missing slices filled in."""
    slices = np.empty(stack.shape[::-1], np.float32)
    for place, header in zip(stack.places, stack.headers, strict=True):
        try:
            slices[place] = _pixels(header.path).reshape(header.shape)
        except Exception as error:  # pydicom lets almost anything out of a damaged file
            raise UnreadableScan(
                f"{folder} holds a DICOM image that is truncated, damaged or compressed in a way "
                "that is not read here. Copy or export the series again, uncompressed."
            ) from error
    for place in np.setdiff1d(np.arange(len(slices)), stack.places):
        slices[place] = (slices[place - 1] + slices[place + 1]) / 2
    return slices.transpose(2, 1, 0)


def _pixels(path: Path) -> np.ndarray:
    """float32 (rows, columns) of one file, rescaled.

    Plain pixels are taken by pydicom, which can stop behind them (GDCM took 5 s over 2.5 MB of
    zeros at the end of one file). Compressed ones are left to GDCM.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    def is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group == 0 or tag > _PIXEL_DATA  # group 0: zeros

    tags: list[BaseTag | int] = [Tag(name) for name in _PIXEL_TAGS]
    with path.open("rb") as file:
        data = read_partial(file, is_behind, specific_tags=tags)
    if data.file_meta.TransferSyntaxUID.is_compressed:
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
        return sitk.GetArrayFromImage(image)
    pixels = data.pixel_array.astype(np.float32)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    pixels *= 1.0 if slope is None else float(slope)
    pixels += 0.0 if intercept is None else float(intercept)
    return pixels
