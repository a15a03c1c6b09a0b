"""DICOM series from folders and zip archives, as `Volume`.

Slices are grouped by SeriesInstanceUID, ordered by their position along the slice normal, and refused
when they are doubled, unevenly spaced or of different orientation: a volume with a wrong gap would put
the sinuses in the wrong place without a warning. A few single missing slices are interpolated.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.volume import (
    ITK_SUFFIXES,
    LIMITS,
    LPS_TO_RAS,
    NIFTI_SUFFIXES,
    Provenance,
    Volume,
    checked_volume,
    damaged,
    read_volume,
)

MOST_UNPACKED_BYTES = 4_000_000_000
GAP_TOLERANCE = 0.1  # of the slice distance
MOST_MISSING_SHARE = 0.05  # of the slices, none next to another missing one
_TAGS = [
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PixelSpacing",
]


@dataclass(frozen=True)
class SliceHeader:
    """What is needed of one file. Orientation: (6,) row and column cosines in LPS; position in LPS mm."""

    path: Path
    series: str
    description: str
    modality: str
    orientation: np.ndarray | None
    position: np.ndarray | None
    spacing: tuple[float, float] | None  # between rows, between columns, mm
    shape: tuple[int, int]
    samples: int
    frames: int


def read_zip(path: Path) -> Volume:
    """Read the one scan in a zip archive: a DICOM series, or one NIfTI, NRRD or MetaImage file.

    Raises:
        UnreadableScan: a damaged archive, or no scan in it.
        UnsupportedScan: too large an archive, or several files.
    """
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if sum(m.file_size for m in members) > MOST_UNPACKED_BYTES:
                raise UnsupportedScan(f"{path} is too large when unpacked. Unpack it yourself.")
            for number, member in enumerate(members):
                # Names inside an archive are not trusted: only their suffix is kept.
                suffix = "".join(Path(member.filename).suffixes[-2:]).lower()
                known = suffix if suffix.endswith(tuple(ITK_SUFFIXES) + NIFTI_SUFFIXES) else ""
                target = Path(folder) / f"{number:06d}{known}"
                target.write_bytes(archive.read(member))
            return _read_unpacked(Path(folder), path)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise damaged(path, error) from error


def _read_unpacked(folder: Path, archive: Path) -> Volume:
    images = [p for p in folder.iterdir() if p.suffix]
    if len(images) > 1:
        raise UnsupportedScan(f"{archive} holds {len(images)} image files. Give one of them.")
    try:
        return read_volume(images[0]) if images else read_dicom_folder(folder)
    except (UnreadableScan, UnsupportedScan) as error:
        # The user knows the archive, not the temporary folder.
        for name in (*map(str, images), str(folder)):
            error.args = (str(error).replace(name, str(archive)), *error.args[1:])
        raise


def read_dicom_folder(folder: Path) -> Volume:
    """Read the one MR series in a folder (subfolders and other files may be there).

    Raises:
        UnreadableScan: no DICOM file in it, or a damaged one.
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: CT, colour, multi-frame, missing or unevenly spaced slices.
    """
    headers = [h for p in sorted(folder.rglob("*")) if p.is_file() and (h := _header(p))]
    if not headers:
        raise UnreadableScan(f"{folder} holds no DICOM image. Give the folder of one series.")
    series = defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    # Localizers and single pictures beside the series are no candidates.
    volumes = [s for s in series.values() if len(s) >= LIMITS.smallest_axis_voxels]
    if len(volumes) > 1:
        found = tuple(f"{s[0].description} ({len(s)} slices)" for s in volumes)
        raise SeveralSeries(
            f"{folder} holds {len(volumes)} series: {'; '.join(found)}. "
            "Put the wanted series into a folder of its own and give that.",
            found,
        )
    if not volumes:
        frames = max(h.frames for h in headers)
        if frames > 1:
            raise UnsupportedScan(
                f"{folder} holds a multi-frame DICOM file ({frames} frames), which is not read "
                "here. Convert it to NIfTI (dcm2niix) or export it as single slices."
            )
        raise UnsupportedScan(
            f"{folder} holds only {len(headers)} DICOM slice(s). Give the whole series."
        )
    return _read_series(volumes[0], folder)


def _header(path: Path) -> SliceHeader | None:
    """The facts of one file, or None when it is no DICOM image."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, KeyError):
        return None
    if "Rows" not in data or "SeriesInstanceUID" not in data:
        return None
    orientation = data.get("ImageOrientationPatient")
    position = data.get("ImagePositionPatient")
    spacing = data.get("PixelSpacing")
    number = data.get("SeriesNumber")
    return SliceHeader(
        path=path,
        series=str(data.SeriesInstanceUID),
        description=f"series {number}, {data.get('SeriesDescription', 'no description')}",
        modality=str(data.get("Modality", "")),
        orientation=np.array(orientation, float) if orientation else None,
        position=np.array(position, float) if position else None,
        spacing=(float(spacing[0]), float(spacing[1])) if spacing else None,
        shape=(int(data.Rows), int(data.Columns)),
        samples=int(data.get("SamplesPerPixel", 1)),
        frames=int(data.get("NumberOfFrames") or 1),
    )


def _read_series(headers: list[SliceHeader], folder: Path) -> Volume:
    first = headers[0]
    if first.modality not in ("MR", ""):
        kind = "a CT" if first.modality == "CT" else f"of DICOM modality {first.modality}"
        raise UnsupportedScan(f"{folder} is {kind}; an MR series of the head is needed.")
    if first.samples != 1:
        raise UnsupportedScan(f"{folder} holds colour pictures. Give the grey MR series.")
    ordered, places = _ordered(headers, folder)
    data = _fill_missing(_pixels(ordered, folder), places)
    orientation, spacing = ordered[0].orientation, ordered[0].spacing
    start, end = ordered[0].position, ordered[-1].position
    assert orientation is not None and spacing is not None
    assert start is not None and end is not None
    lps = np.eye(4)
    lps[:3, 0] = orientation[:3] * spacing[1]
    lps[:3, 1] = orientation[3:] * spacing[0]
    lps[:3, 2] = (end - start) / places[-1]
    lps[:3, 3] = start
    return checked_volume(data, LPS_TO_RAS @ lps, Provenance("DICOM", "MR"), folder)


def _ordered(headers: list[SliceHeader], folder: Path) -> tuple[list[SliceHeader], np.ndarray]:
    """Slices in order along their normal, and the place (0, 1, ...) of each on an even grid."""
    geometries = [(h.orientation, h.position, h.spacing) for h in headers]
    if any(part is None for geometry in geometries for part in geometry):
        raise UnsupportedScan(f"{folder}: some slices do not say where they lie. Export it again.")
    orientations = np.array([h.orientation for h in headers])
    shapes = {(h.shape, h.spacing) for h in headers}
    if np.ptp(orientations, axis=0).max() > 1e-3 or len(shapes) > 1:
        raise UnsupportedScan(
            f"{folder} mixes slices of different orientation or size. Give one series only."
        )
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    heights = np.array([h.position for h in headers]) @ normal
    order = np.argsort(heights)
    heights = heights[order] - heights[order[0]]
    gaps = np.diff(heights)
    step = float(np.median(gaps))
    if step <= 1e-3 or gaps.min() < 0.5 * step:
        raise UnsupportedScan(
            f"{folder} has several slices at the same place (several echoes or time points?). "
            "Export one of them as a series of its own."
        )
    places = np.round(heights / step).astype(int)
    uneven = abs(gaps - step * np.diff(places)).max() > GAP_TOLERANCE * step
    missing = places[-1] + 1 - len(places)
    if uneven or np.diff(places).max() > 2 or missing > MOST_MISSING_SHARE * len(places):
        raise UnsupportedScan(
            f"{folder} lacks slices or has them unevenly spaced ({gaps.min():.2f} to "
            f"{gaps.max():.2f} mm apart). Export the whole series again."
        )
    return [headers[i] for i in order], places


def _fill_missing(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Insert the mean of both neighbours where a single slice is missing."""
    if places[-1] + 1 == len(places):
        return data
    filled = np.empty((*data.shape[:2], places[-1] + 1), np.float32)
    filled[:, :, places] = data
    for gap in np.setdiff1d(np.arange(places[-1] + 1), places):
        filled[:, :, gap] = (filled[:, :, gap - 1] + filled[:, :, gap + 1]) / 2
    return filled


def _pixels(ordered: list[SliceHeader], folder: Path) -> np.ndarray:
    """float32 (columns, rows, slices), rescaled as DICOM says."""
    import SimpleITK as sitk

    slices = []
    for header in ordered:  # one by one: positions are ours, ITK's series reader would judge them
        try:
            image = sitk.ReadImage(str(header.path), sitk.sitkFloat32)
        except RuntimeError as error:
            raise damaged(folder, error) from error
        slices.append(sitk.GetArrayFromImage(image).reshape(header.shape))
    return np.stack(slices).transpose(2, 1, 0)
