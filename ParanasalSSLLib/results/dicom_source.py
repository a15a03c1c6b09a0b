"""What the DICOM outputs are made from: a scored scan in the grid of its source series, and headers."""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.geometry import SAME_PLACE_MM, Grid, is_same_place
from ParanasalSSLLib.predict import ScanResult
from ParanasalSSLLib.results.maps import PastedRegion
from ParanasalSSLLib.results.record import SOFTWARE, ModelRecord, ScanRecord, software_version
from ParanasalSSLLib.scans.source_series import UTF_8, SourceSeries
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Part, Side

SERIES_NUMBERS = {"SEG": 9901, "SR": 9902}  # behind a scanner's; what tells series apart is the UID

# What must be in a header, though it may be empty there (DICOM's type 2).
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
)
_SEXES = ("M", "F", "O")
# What is needed of the images behind the first, which tells what they share.
_OF_EACH = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"),
)


@dataclass(frozen=True, eq=False)
class DicomScan:
    """What both objects are made from.

    headers: of the source slices, completed; in the order of `places`
    frames: number of each in its file, from 1; None for a file of one slice
    places: (len(headers),) place of each along the last axis of the grid
    grid: of the series; an index is (column, row, place)
    region: opaque voxels and cavities, in the grid of the series
    tracking: for each segment, the UID that it and its measurements share
    """

    record: ScanRecord
    headers: list[Dataset]
    frames: list[int | None]
    places: np.ndarray
    grid: Grid
    region: PastedRegion
    tracking: dict[tuple[Side, Part], str]

    @classmethod
    def of(cls, result: ScanResult, record: ScanRecord, series: SourceSeries) -> DicomScan:
        """A result in the grid of the series that it came from."""
        return cls._of(PastedRegion.of(in_grid_of_series(result, series)), record, series)

    @classmethod
    def of_region(cls, region: PastedRegion, record: ScanRecord, series: SourceSeries) -> DicomScan:
        """A region that is the whole scan, its axes in whatever order, in the grid of the series.

        Raises `UnsupportedScan` as `in_grid_of_series`.
        """
        return cls._of(turned_to_series(region, series), record, series)

    @classmethod
    def _of(cls, region: PastedRegion, record: ScanRecord, series: SourceSeries) -> DicomScan:
        return cls(
            record,
            completed_headers(series),
            series.frames,
            series.places,
            Grid(series.shape, series.affine),
            region,
            {(side, part): new_uid() for side in region.sides for part in Part},
        )

    @property
    def segments(self) -> list[tuple[Side, Part]]:
        """What gets a segment, since it has a voxel, in the order of the segments' numbers (from 1)."""
        return [
            (side, part)
            for part, labels in self.region.layers.items()
            for side in self.region.sides
            if (labels == SEGMENT_LABELS[side]).any()
        ]

    @property
    def images(self) -> list[tuple[Dataset, list[int]]]:
        """Each source file once: the header of its first slice, the numbers of its frames if any."""
        numbers: dict[str, list[int]] = {}
        first: dict[str, Dataset] = {}
        for header, frame in zip(self.headers, self.frames, strict=True):
            first.setdefault(header.SOPInstanceUID, header)
            numbers.setdefault(header.SOPInstanceUID, []).extend([frame] if frame else [])
        return [(header, sorted(numbers[uid])) for uid, header in first.items()]

    def sources_of(self, place: int) -> list[tuple[Dataset, int | None]]:
        """Header and frame of the slice at a place, or of both its neighbours where there is none."""
        slices = zip(self.headers, self.frames, strict=True)
        at = dict(zip(self.places.tolist(), slices, strict=True))
        return [at[place]] if place in at else [at[place - 1], at[place + 1]]


def new_uid() -> str:
    """A UID that needs no registered root."""
    return f"2.25.{uuid.uuid4().int}"


# ------------------------------------------------------------------------------- source series


def completed_headers(series: SourceSeries) -> list[Dataset]:
    """Copies of the source headers that highdicom can take, whatever the scanner left out.

    Texts are in UTF-8; attributes that DICOM wants are there (empty where unknown); what is no
    date, time or sex is emptied; orientation and distance of the planes are those of the stack:
    scanners write the gap between slices, or nothing, in place of their distance. The first has
    all attributes, the others those that tell images apart (which is faster).
    """
    first = deepcopy(series.headers[0])
    others = []
    for header in series.headers[1:]:
        other = Dataset()
        for name in _OF_EACH:
            setattr(other, name, header[name].value)
        others.append(other)
    _complete_patient_and_study(first)
    spacing = f"{np.linalg.norm(series.affine[:3, 2]):.6f}"
    thickness = first.get("SliceThickness") or spacing
    for header in (first, *others):
        header.Modality = first.get("Modality") or "MR"
        header.ImageOrientationPatient = first.ImageOrientationPatient
        header.SpacingBetweenSlices, header.SliceThickness = spacing, thickness
    return [first, *others]


def _complete_patient_and_study(header: Dataset) -> None:
    header.SpecificCharacterSet = UTF_8
    for name in _TYPE_2:
        if name not in header:
            setattr(header, name, "")
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        if not _is_valid(header[name].value, kind):
            setattr(header, name, "")
    if header.PatientSex not in _SEXES:
        header.PatientSex = ""


def _is_valid(value: Any, kind: type) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


def in_grid_of_series(result: ScanResult, series: SourceSeries) -> ScanResult:
    """The result with a volume in the grid of the series (without voxels where it had another).

    Raises `UnsupportedScan` where the two grids do not cover the same place with the same voxels.
    """
    volume = result.volume
    same_axes = volume.shape == series.shape
    if same_axes and np.abs(volume.affine - series.affine).max() < SAME_PLACE_MM / 1000:
        return result
    _refuse_other_place(volume, series)
    empty = np.broadcast_to(np.float32(0), series.shape)
    return replace(result, volume=Volume(empty, series.affine, volume.provenance))


def _refuse_other_place(volume: Volume, series: SourceSeries) -> None:
    if not is_same_place(volume, series):
        raise UnsupportedScan(
            "The scan does not lie where its DICOM series lies, or has other voxels: it was moved, "
            "cropped or resampled. Give the series as it is, or do without DICOM output."
        )


def turned_to_series(region: PastedRegion, series: SourceSeries) -> PastedRegion:
    """The same voxels, their axes in the order and direction of the series.

    Raises `UnsupportedScan` where the two grids do not cover the same place with the same voxels.
    """
    _refuse_other_place(region.volume, series)
    steps = (np.linalg.inv(region.volume.affine) @ series.affine)[:3, :3]
    axes = np.abs(steps).argmax(axis=0)
    flips = tuple(np.flatnonzero(steps[axes, range(3)] < 0).tolist())

    def turned(data: np.ndarray) -> np.ndarray:
        return np.flip(data.transpose(axes), flips)

    return replace(
        region,
        volume=Volume(turned(region.volume.data), series.affine),
        residual=turned(region.residual),
        labels=turned(region.labels),
        cavities=None if region.cavities is None else turned(region.cavities),
    )


def series_facts(scan: DicomScan, modality: str, description: str) -> dict[str, Any]:
    """A series of its own, made by this program."""
    return {
        "series_instance_uid": new_uid(),
        "series_number": SERIES_NUMBERS[modality],
        "series_description": description,
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": SOFTWARE,
        "software_versions": software_version(),
        "device_serial_number": scan.record.model.weights_sha256,
    }


def model_name(model: ModelRecord) -> str:
    """The model with its version."""
    return f"{model.name} {model.version}"
