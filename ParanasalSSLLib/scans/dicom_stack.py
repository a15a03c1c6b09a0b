"""DICOM slices as a stack: ordered along their normal and placed on an even grid.

Doubled, unevenly spaced or differently oriented slices are refused: a volume with a wrong gap would
put the sinuses in the wrong place without a warning. Single missing slices are left to be filled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.geometry import Grid, lps_to_ras

POSITION_TOLERANCE = 0.1  # of the slice distance
SPACING_TOLERANCE = 1e-4  # of the pixels' spacing; a picture of 512 differs by 0.05 pixels
PARALLEL_TOLERANCE = 1e-3  # between the direction cosines of slices
COSINES_TOLERANCE = 0.01  # of unit vectors at right angles, rounded to two digits
MOST_MISSING_FRACTION = 0.05  # of the slices, none next to another missing one


@dataclass(frozen=True, eq=False)
class SlicePlane:
    """Where a slice lies.

    Attributes:
        orientation: (6,) cosines along a row, then along a column, LPS.
        position: (3,) centre of the first voxel, LPS mm.
        spacing: between rows, between columns, mm.
    """

    orientation: np.ndarray
    position: np.ndarray
    spacing: tuple[float, float]

    @classmethod
    def of(cls, orientation: Any, position: Any, spacing: Any) -> SlicePlane | None:
        """What a header says, number by number; None where one is lacking or too many."""
        if (np.size(orientation), np.size(position), np.size(spacing)) != (6, 3, 2):
            return None
        between_rows, between_columns = map(float, spacing)
        return cls(
            np.array(orientation, float), np.array(position, float), (between_rows, between_columns)
        )


@dataclass(frozen=True)
class Concatenation:
    """A multi-frame image that was cut into several files.

    Attributes:
        image: its UID.
        number: which of its files this is, from 1.
        total: how many there are, 0 where the file does not say it.
    """

    image: str
    number: int
    total: int


@dataclass(frozen=True)
class Frame:
    """One image of a multi-frame file.

    Attributes:
        number: from 1, as DICOM counts.
        slope: of its rescaling.
        intercept: of its rescaling.
        concatenation: what its file is a part of.
    """

    number: int
    slope: float = 1.0
    intercept: float = 0.0
    concatenation: Concatenation | None = None


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """What is needed of one slice: a file, or a frame of one.

    Attributes:
        path: the file.
        instance: SOPInstanceUID; it, `series` and `patient` are only compared and go no further.
        series: SeriesInstanceUID.
        description: number and description of the series, to show to the user.
        modality: DICOM modality, None where the file names none.
        localizer: an overview picture for planning.
        grey: one grey value a pixel.
        inverted: its greatest value is black (MONOCHROME1).
        shape: rows, columns.
        frames: images in the file.
        plane: where the slice lies, None where the file does not say it.
        patient: PatientID, empty where the file has none.
        frame: which image of its file it is; None where the file is one slice.
    """

    path: Path
    instance: str
    series: str
    description: str
    modality: str | None
    localizer: bool
    grey: bool
    inverted: bool
    shape: tuple[int, int]
    frames: int
    plane: SlicePlane | None
    patient: str = field(repr=False)
    frame: Frame | None = None


@dataclass(frozen=True, eq=False)
class SliceStack(Grid):
    """Slices in their order on an even grid, whose axes are column, row and slice.

    Attributes:
        headers: along the slice normal.
        places: (len(headers),) index 0, 1, ... of each along the grid's last axis; that of a
            missing slice is left out.
    """

    headers: list[SliceHeader]
    places: np.ndarray

    @property
    def missing(self) -> tuple[int, ...]:
        """Places of the slices that lie between others and have no file."""
        return tuple(np.setdiff1d(np.arange(self.shape[2]), self.places).tolist())


def stack_slices(headers: list[SliceHeader], folder: Path) -> SliceStack:
    """Order slices along their normal and place them on an even grid.

    Args:
        headers: of one series, in any order, at least two.
        folder: named in errors only.

    Returns:
        The stack; single missing slices are left out.

    Raises:
        UnsupportedScan: slices without a position, of impossible or different orientation or size,
            several at one place, out of line, missing or unevenly spaced.
    """
    planes = _comparable_planes(headers, folder)
    orientation = np.mean([plane.orientation for plane in planes], axis=0)
    positions = np.array([plane.position for plane in planes])
    heights = positions @ np.cross(orientation[:3], orientation[3:])
    order = np.argsort(heights, kind="stable")
    places = _places(heights[order], folder)
    positions = positions[order]
    step = (positions[-1] - positions[0]) / places[-1]
    _refuse_out_of_line(positions - positions[0] - places[:, None] * step, step, folder)
    lps = np.eye(4)
    lps[:3, 0] = orientation[:3] * planes[0].spacing[1]
    lps[:3, 1] = orientation[3:] * planes[0].spacing[0]
    lps[:3, 2], lps[:3, 3] = step, positions[0]
    rows, columns = headers[0].shape
    shape = (columns, rows, int(places[-1]) + 1)
    return SliceStack(shape, lps_to_ras(lps), [headers[i] for i in order], places)


def _comparable_planes(headers: list[SliceHeader], folder: Path) -> list[SlicePlane]:
    """The plane of each slice; refuses slices without one, of several orientations or sizes."""
    planes = [header.plane for header in headers if header.plane]
    if len(planes) < len(headers):
        raise UnsupportedScan(
            f"{folder} has slices that do not say where they lie. Export the series again."
        )
    if not all(map(_is_possible, planes)):
        raise UnsupportedScan(
            f"{folder} has slices with an impossible orientation or pixel spacing in their headers. "
            "Export the series again."
        )
    spacings = np.array([plane.spacing for plane in planes])
    alike = np.ptp(spacings, axis=0).max() <= SPACING_TOLERANCE * spacings.max()
    if not are_parallel(headers) or not alike or len({header.shape for header in headers}) > 1:
        raise UnsupportedScan(
            f"{folder} mixes slices of different orientation or size. Give one series alone."
        )
    return planes


def _is_possible(plane: SlicePlane) -> bool:
    """Whether row and column are unit vectors at right angles, and its pixels larger than nothing.

    Else the image would be taken for larger, smaller or mirrored.
    """
    axes = plane.orientation.reshape(2, 3)
    away = abs(axes @ axes.T - np.eye(2)).max()
    return bool(away <= COSINES_TOLERANCE and min(plane.spacing) > 0)


def _refuse_out_of_line(offsets: np.ndarray, step: np.ndarray, folder: Path) -> None:
    """offsets: (n, 3) mm from where the even grid of this step, (3,) mm, has each slice."""
    distances = np.linalg.norm(offsets, axis=1)
    if distances.max() > POSITION_TOLERANCE * np.linalg.norm(step):
        raise UnsupportedScan(
            f"{folder} has slices that are not in line with each other (up to "
            f"{distances.max():.1f} mm away). Export the whole series again."
        )


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
    if not even or steps.max() > 2 or missing > MOST_MISSING_FRACTION * len(heights):
        raise UnsupportedScan(
            f"{folder} lacks slices or has them unevenly spaced ({gaps.min():.2f} to "
            f"{gaps.max():.2f} mm apart). Export the whole series again."
        )
    return np.concatenate([[0], np.cumsum(steps)])


def are_parallel(headers: list[SliceHeader]) -> bool:
    """Whether all slices that say where they lie have one orientation, and at least one says it."""
    orientations = [header.plane.orientation for header in headers if header.plane]
    return bool(orientations and np.ptp(orientations, axis=0).max() < PARALLEL_TOLERANCE)
