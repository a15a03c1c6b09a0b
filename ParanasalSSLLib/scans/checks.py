"""What counts as a head MRI: judged from the header where that is enough, then from the voxels.

Every format's reader ends in `checked_volume`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.scans.volume import Provenance, Volume


@dataclass(frozen=True)
class ScanLimits:
    """What counts as a plausible head scan."""

    spacing_mm: tuple[float, float] = (0.1, 15.0)
    smallest_axis_voxels: int = 8
    smallest_extent_mm: float = 80.0
    largest_axis_voxels: int = 1024
    most_voxels: int = 400_000_000
    largest_shear: float = 2e-3  # cosine between axes that should be at right angles
    ct_air_fraction: float = 0.05  # voxels between -1100 and -900: air in Hounsfield units
    ct_soft_fraction: float = 0.6  # of the voxels above -500, between -200 and 200: soft tissue
    fewest_values: int = 6  # fewer distinct values: a mask or tissue classes
    most_labels: int = 512  # more distinct values are no label map
    label_agreement: tuple[float, float] = (
        0.75,
        0.9,
    )  # neighbours of one whole number: a label map
    label_steps: float = 0.5  # how much others differ, against voxels by chance, between these two
    most_files: int = 20_000  # in a folder or an archive
    most_unpacked_bytes: int = 4_000_000_000  # of an archive


LIMITS = ScanLimits()
VALUES_OF_A_CT = (
    "Its lowest values are those of air in a CT, but its other values are not those of soft tissue "
    "in a CT, so it was taken for an MRI."
)


def checked_volume(
    data: np.ndarray, affine: np.ndarray, provenance: Provenance, path: Path
) -> Volume:
    """Make a `Volume`, refusing what cannot be a head MRI in known orientation.

    Args:
        data: float32 (I, J, K).
        affine: (4, 4) voxel index -> RAS mm.
        provenance: what to remember of the source.
        path: named in errors only.

    Returns:
        The volume, its axes exactly at right angles.

    Raises:
        UnsupportedScan: with what was found and what to do.
    """
    grid = checked_grid(data.shape, affine, path)
    refuse_modality(provenance.modality, path)
    refuse_values(data, provenance.modality, path)
    if provenance.modality is None and _has_hounsfield_air(data):
        provenance = replace(provenance, notices=(*provenance.notices, VALUES_OF_A_CT))
    return Volume(data, grid.affine, provenance)


def without_trailing_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without trailing axes of length one beyond the third, as 4D files of one volume."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(int(n) for n in shape)


def refuse_shape(shape: tuple[int, ...], path: Path) -> None:
    """Raise `UnsupportedScan` for what is not three-dimensional, tiny or huge."""
    words = " x ".join(map(str, shape))
    if len(shape) > 3:
        raise UnsupportedScan(
            f"{path} has {len(shape)} dimensions ({words}): a time, diffusion or vector series? "
            "Save one three-dimensional volume of it and give that."
        )
    if len(shape) < 3 or min(shape) < LIMITS.smallest_axis_voxels:
        raise UnsupportedScan(
            f"{path} has {words} voxels: too few to show a head. "
            "Give the whole series, not a single slice."
        )
    if max(shape) > LIMITS.largest_axis_voxels or np.prod(shape) > LIMITS.most_voxels:
        raise UnsupportedScan(
            f"{path} has {words} voxels: too many for a head MRI. Resample it to about 1 mm."
        )


def checked_grid(shape: tuple[int, ...], affine: np.ndarray, path: Path) -> Grid:
    """Judge a voxel grid by its header alone.

    Args:
        shape: voxels along each axis.
        affine: (4, 4) voxel index -> RAS mm.
        path: named in errors only.

    Returns:
        The grid, its axes exactly at right angles (rounding errors repaired).

    Raises:
        UnsupportedScan: not 3D, tiny, huge, singular, sheared, of implausible voxel size.
    """
    refuse_shape(shape, path)
    i, j, k = shape
    grid = Grid((i, j, k), _right_angled(affine, path))
    extent = np.array(grid.spacing_mm) * shape
    if extent.min() < LIMITS.smallest_extent_mm:
        raise UnsupportedScan(
            f"{path} covers only {' x '.join(f'{e:.0f}' for e in extent)} mm: too small for a "
            f"head (at least {LIMITS.smallest_extent_mm:.0f} mm each way). Give the whole series."
        )
    return grid


def contradict_on_sides(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two orientations of one voxel grid disagree on left and right.

    They do where one is mirrored against the other, or where their axes from left to right are more
    than 60 degrees apart: an image that was aligned with a template is turned by less.

    Args:
        one: (3, 3) unit columns along the voxel axes, RAS.
        other: the same.
    """
    mirrored = np.linalg.det(one) * np.linalg.det(other) < 0
    return bool(mirrored or one[0] @ other[0] < 0.5)


def _right_angled(affine: np.ndarray, path: Path) -> np.ndarray:
    """The affine with axes exactly at right angles; refuses singular, implausible, sheared ones."""
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UnsupportedScan(
            f"{path} has an orientation matrix that is not finite. Convert it again from DICOM."
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = LIMITS.spacing_mm
    if (spacing < low).any() or (spacing > high).any():
        raise UnsupportedScan(
            f"{path} says its voxels are {' x '.join(f'{s:.3g}' for s in spacing)} mm; "
            f"{low} to {high} mm are expected. Correct its header or convert it again from DICOM."
        )
    directions = affine[:3, :3] / spacing
    cosines = directions.T @ directions - np.eye(3)
    if abs(cosines).max() > LIMITS.largest_shear:
        raise UnsupportedScan(
            f"{path} has voxel axes that are not at right angles (sheared, singular or gantry "
            "tilt). Resample it to a rectangular grid first."
        )
    u, _, vt = np.linalg.svd(directions)
    affine[:3, :3] = (u @ vt) * spacing
    return affine


def refuse_modality(modality: str | None, path: Path) -> None:
    """Raise `UnsupportedScan` for a DICOM modality other than MR; None is unknown and passes."""
    if modality == "CT":
        raise UnsupportedScan(
            f"{path} is a CT. This tool is made for MRI only: give an MR series of the head."
        )
    if modality not in (None, "MR"):
        raise UnsupportedScan(
            f"{path} is of DICOM modality {modality}. Give an MR series of the head."
        )


def refuse_values(data: np.ndarray, modality: str | None, path: Path) -> None:
    """Raise `UnsupportedScan` for voxels that no MR image has.

    Args:
        data: float32 (I, J, K).
        modality: DICOM modality; where unknown (None), air and soft tissue in Hounsfield units give
            a CT away.
        path: named in errors only.
    """
    low, high = float(data.min()), float(data.max())  # NaN anywhere makes both NaN
    if not np.isfinite([low, high]).all():
        count = data.size - int(np.isfinite(data).sum())
        raise UnsupportedScan(
            f"{path} holds {count} voxels that are not finite (NaN or infinite). "
            "Replace them, for example by 0, and save it again."
        )
    if low == high:
        raise UnsupportedScan(
            f"{path} is empty: every voxel has the value {low:g}. Export the scan again."
        )
    if _is_label_map(data):
        raise UnsupportedScan(
            f"{path} holds only a few distinct values, as a mask or label map does. "
            "Give the MR image itself."
        )
    if modality is None and _has_hounsfield_air(data) and _has_hounsfield_tissue(data):
        refuse_modality("CT", path)


def _rows(data: np.ndarray) -> np.ndarray:
    """About 400,000 voxels: whole rows along the first axis, spread evenly over the volume."""
    step = max(1, int(np.sqrt(data.size / 400_000)))
    return data[:, step // 2 :: step, step // 2 :: step]


def _is_label_map(data: np.ndarray) -> bool:
    rows = _rows(data)
    values, ranks, counts = np.unique(rows, return_inverse=True, return_counts=True)
    if values.size < LIMITS.fewest_values and _has_few_values(data):
        return True
    if values.size > LIMITS.most_labels or (values != np.round(values)).any():
        return False
    # Many labels: the anatomical parcellations. Neighbours in a label are alike, in MR rarely so; in
    # MR of few grey values, or enlarged, many are, but where they differ, they differ by little.
    ranks = ranks.reshape(rows.shape)
    tissue = ranks != counts.argmax()
    pairs = tissue[:-1] & tissue[1:]
    steps = abs(np.diff(ranks, axis=0))[pairs]
    agreement = (steps == 0).mean() if steps.size else 0.0
    low, high = LIMITS.label_agreement
    if agreement <= low or agreement > high:
        return bool(agreement > high)
    return _mean_step(steps) > LIMITS.label_steps * _mean_step(_steps_by_chance(ranks[tissue]))


def _has_few_values(data: np.ndarray) -> bool:
    """Whether all voxels, of which a sample may have missed some, have fewer values than an image."""
    seen: set[float] = set()
    for plane in range(data.shape[2]):
        seen.update(np.unique(data[:, :, plane]).tolist())
        if len(seen) >= LIMITS.fewest_values:
            return False
    return True


def _steps_by_chance(ranks: np.ndarray) -> np.ndarray:
    return abs(np.diff(np.random.default_rng(0).permutation(ranks)))


def _mean_step(steps: np.ndarray) -> float:
    """Mean of those that are not 0; 0 where there is none."""
    return float(steps.sum() / max(1, np.count_nonzero(steps)))


def _has_hounsfield_air(data: np.ndarray) -> bool:
    rows = _rows(data)
    air = ((rows > -1100) & (rows < -900)).mean()
    return bool(rows.min() <= -900 and air > LIMITS.ct_air_fraction)


def _has_hounsfield_tissue(data: np.ndarray) -> bool:
    rows = _rows(data)
    tissue = rows[rows > -500]
    return bool(tissue.size and (abs(tissue) < 200).mean() > LIMITS.ct_soft_fraction)


def unreadable(path: Path, error: Exception) -> UnreadableScan:
    """The error for a file whose content cannot be read.

    Args:
        path: the file, or the archive that it lies in.
        error: what the reader of the format raised; its last line is quoted.
    """
    if isinstance(error, PermissionError):
        return UnreadableScan(f"{path} may not be opened. Ask for the permission to read it.")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UnreadableScan(
            f"{path} has a longer name ({len(path.name)} letters) or path than this system can open. "
            "Copy it to a place with a short name."
        )
    reason = str(error).strip().splitlines()
    return UnreadableScan(
        f"{path} is truncated or damaged and cannot be read "
        f"({reason[-1][:160] if reason else type(error).__name__}). Copy or export it again."
    )
