"""Scans in memory: a grid with voxels and where they come from; writing one as NIfTI."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import Grid

if TYPE_CHECKING:
    import nibabel as nib


@dataclass(frozen=True)
class Provenance:
    """Where a volume comes from, without anything that identifies a patient or a machine.

    Attributes:
        format: "NIfTI", "NRRD", "MetaImage", "DICOM" or "memory".
        modality: DICOM modality, where known.
        description: of the series, where it is known and names no patient.
        interpolated_slices: places along the grid's last axis of single slices that the series
            lacked, filled from both neighbours.
        lost_slices: slices that are missing one knows not where, perhaps at an end.
        notices: sentences about the source that users must read; no names of files, persons, places.
        sides_in_doubt: one of them says why left and right are not certain: a person has to look.
    """

    format: str
    modality: str | None = None
    interpolated_slices: tuple[int, ...] = ()
    lost_slices: int = 0
    notices: tuple[str, ...] = ()
    sides_in_doubt: bool = False
    description: str | None = field(default=None, compare=False)  # words, no property of the image


@dataclass(frozen=True, eq=False, init=False)
class Volume(Grid):
    """A three-dimensional scan: a grid with values.

    Attributes:
        shape: voxels along each axis.
        affine: float64 (4, 4), voxel index (i, j, k, 1) -> RAS mm, axes at right angles, read-only.
        data: float32 (I, J, K), read-only.
        provenance: format, modality, what was done to it on reading.
    """

    shape: tuple[int, int, int] = field(init=False)
    data: np.ndarray
    provenance: Provenance

    def __init__(
        self,
        data: np.ndarray,
        affine: np.ndarray,
        provenance: Provenance = Provenance("memory"),
    ) -> None:
        i, j, k = data.shape
        super().__init__((i, j, k), affine)
        view = np.asarray(data, dtype=np.float32).view()  # the caller's array stays writeable
        view.flags.writeable = False
        object.__setattr__(self, "data", view)
        object.__setattr__(self, "provenance", provenance)

    def cut(self, start: np.ndarray, stop: np.ndarray) -> Volume:
        """The block from index `start` to before `stop`, (3,) int each, where it was."""
        window = tuple(slice(a, max(a, b)) for a, b in zip(start, stop, strict=True))
        filled = self.provenance.interpolated_slices
        kept = tuple(k - window[2].start for k in filled if window[2].start <= k < window[2].stop)
        provenance = replace(self.provenance, interpolated_slices=kept)
        return Volume(self.data[window], super().cut(start, stop).affine, provenance)

    def upright(self) -> Volume:
        """The same voxels in the order right, anterior, superior, as nearly as their axes run so.

        Whatever order a file stores them in, what is computed then is the same.
        """
        cosines = abs(self.affine[:3, :3] / self.spacing_mm)  # of each index axis with R, A and S
        order = max(permutations(range(3)), key=lambda axes: cosines[range(3), axes].sum())
        data, affine = self.data.transpose(order), self.affine[:, [*order, 3]]
        for axis in (axis for axis in range(3) if affine[axis, axis] < 0):
            data = np.flip(data, axis)
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
        return Volume(data, affine)


def window_width(low: float, high: float) -> float:
    """The distance between two intensities, at least what float32 resolves there; never 0.

    It has no other floor, so that nothing depends on the unit of a scan's intensities.
    """
    least = np.spacing(np.float32(max(abs(low), abs(high), float(np.finfo(np.float32).tiny))))
    return max(float(high - low), float(least))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a scan as NIfTI (`.nii`, `.nii.gz`), float32 in RAS mm, whole or not at all."""
    import nibabel as nib

    with write_whole(path) as temporary:
        nib.save(nifti_image(volume.data, volume.affine), temporary)


def nifti_image(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """(I, J, K) voxels and their affine, index -> RAS mm, as a NIfTI image in scanner space."""
    import nibabel as nib

    # Order F, as NIfTI stores it: the file is then written in one go.
    image = nib.Nifti1Image(np.asfortranarray(data), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    return image
