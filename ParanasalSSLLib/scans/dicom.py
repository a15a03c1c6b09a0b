"""DICOM series in folders: the slices of the one MR series, sorted and read as a `Volume`.

Slices are grouped by SeriesInstanceUID and stacked by `dicom_stack`. Single missing slices are
filled from both neighbours and counted in the provenance.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.archive import IMAGE_SUFFIXES
from ParanasalSSLLib.scans.checks import (
    LIMITS,
    checked_grid,
    checked_volume,
    refuse_modality,
    unreadable,
)
from ParanasalSSLLib.scans.dicom_stack import (
    SliceHeader,
    SlicePlane,
    SliceStack,
    are_parallel,
    stack_slices,
)
from ParanasalSSLLib.scans.volume import Provenance, Volume

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

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


def read_dicom_folder(folder: Path) -> Volume:
    """Read the one MR series in a folder (subfolders and other files may be there).

    Localizers, single pictures and other modalities beside it are ignored.

    Args:
        folder: its subfolders are searched too.

    Returns:
        The volume, checked.

    Raises:
        UnreadableScan: no DICOM image in it, or a damaged one.
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: CT, colour, multi-frame, missing or unevenly spaced slices.
    """
    headers = read_headers(files_below(folder), folder)
    if not headers:
        images = any(p.name.lower().endswith(IMAGE_SUFFIXES) for p in folder.iterdir())
        advice = "one of the image files in it" if images else "the folder of one series"
        raise UnreadableScan(f"{folder} holds no DICOM image. Give {advice}.")
    stack = stack_of_series(headers, folder)
    # Before loading: what cannot be a head costs no time.
    grid = checked_grid(stack.shape, stack.affine, folder)
    kind = Provenance("DICOM", stack.headers[0].modality, interpolated_slices=stack.missing)
    return checked_volume(_voxels(stack, folder), grid.affine, kind, folder)


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
    """Headers of all DICOM images among the files, each instance once, sorted by path.

    Args:
        files: any files; those of other formats are ignored.
        named: what the errors name, since the files may be unpacked ones.

    Raises:
        UnreadableScan: a DICOM file that is damaged.
        UnsupportedScan: too many files.
    """
    headers: dict[str, SliceHeader] = {}
    for count, path in enumerate(files, 1):
        if count > LIMITS.most_files:
            raise UnsupportedScan(
                f"{named} holds more than {LIMITS.most_files} files. Give the folder of one series."
            )
        header = _read_header(path, named)
        if header is not None:
            headers.setdefault(header.instance, header)
    return sorted(headers.values(), key=lambda header: header.path)


def stack_of_series(headers: list[SliceHeader], folder: Path) -> SliceStack:
    """The slices of the one grey MR series among the headers, in their order.

    Args:
        headers: of all images that were found.
        folder: named in errors only.

    Returns:
        The slices on an even grid; single missing ones are left out.

    Raises:
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: none, a CT, colour, multi-frame, missing or unevenly spaced slices.
    """
    series = _choose_series(headers, folder)
    refuse_modality(series[0].modality, folder)
    if not all(header.grey for header in series):
        raise UnsupportedScan(f"{folder} holds colour pictures. Give the grey MR series.")
    return stack_slices(series, folder)


def _read_header(path: Path, named: Path) -> SliceHeader | None:
    """The header of one file, or None when it is no DICOM image."""
    import pydicom

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
            file.seek(0)
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            is_image = "Rows" in data and "SeriesInstanceUID" in data
            return _slice_header(data, path) if is_image else None
    except Exception as error:  # damaged files make pydicom raise almost anything
        raise unreadable(named, error) from error


def _slice_header(data: Dataset, path: Path) -> SliceHeader:
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


def _plane(data: Dataset) -> SlicePlane | None:
    orientation, position = data.get("ImageOrientationPatient"), data.get("ImagePositionPatient")
    spacing = data.get("PixelSpacing")
    if not (orientation and position and spacing):
        return None
    return SlicePlane(
        np.array(orientation, float),
        np.array(position, float),
        (float(spacing[0]), float(spacing[1])),
    )


def _choose_series(headers: list[SliceHeader], folder: Path) -> list[SliceHeader]:
    """The slices of the one series that can be a head scan."""
    by_uid = defaultdict(list)
    for header in headers:
        by_uid[header.series].append(header)
    stacks = [s for s in by_uid.values() if len(s) >= LIMITS.smallest_axis_voxels]
    if not stacks:
        raise _no_series(headers, folder)
    # Each rule chooses only where it leaves something to choose.
    stacks = [s for s in stacks if s[0].modality in (None, "MR")] or stacks
    stacks = [s for s in stacks if not s[0].localizer] or stacks
    stacks = [s for s in stacks if are_parallel(s)] or stacks
    if len(stacks) > 1:
        found = [f"{s[0].description} ({len(s)} slices)" for s in stacks]
        raise SeveralSeries(
            f"{folder} holds {len(stacks)} series: {'; '.join(found)}. "
            "Put the wanted one (FLAIR, T2 or T1 with thin slices) into a folder of its own and "
            "give that."
        )
    return stacks[0]


def _no_series(headers: list[SliceHeader], folder: Path) -> UnsupportedScan:
    if any(header.frames > 1 for header in headers):
        return UnsupportedScan(
            f"{folder} holds a multi-frame DICOM file, which is not read here. Convert it to NIfTI "
            "(for example with dcm2niix) or export it as single slices."
        )
    return UnsupportedScan(
        f"{folder} holds no series of at least {LIMITS.smallest_axis_voxels} slices "
        f"({len(headers)} DICOM image(s) in all). Give the whole series."
    )


def _voxels(stack: SliceStack, folder: Path) -> np.ndarray:
    """float32 (columns, rows, slices), rescaled as DICOM says, missing slices filled in."""
    slices = np.empty(stack.shape[::-1], np.float32)
    for place, header in zip(stack.places, stack.headers, strict=True):
        try:
            slices[place] = _pixels(header.path).reshape(header.shape)
        except Exception as error:  # damaged files make pydicom raise almost anything
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

    def is_behind_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group == 0 or tag > _PIXEL_DATA  # group 0: zeros

    tags: list[BaseTag | int] = [Tag(name) for name in _PIXEL_TAGS]
    with path.open("rb") as file:
        data = read_partial(file, is_behind_pixels, specific_tags=tags)
    if data.file_meta.TransferSyntaxUID.is_compressed:
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
        return sitk.GetArrayFromImage(image)
    pixels = data.pixel_array.astype(np.float32)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    pixels *= 1.0 if slope is None else float(slope)
    pixels += 0.0 if intercept is None else float(intercept)
    return pixels
