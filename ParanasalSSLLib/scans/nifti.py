"""Reading of NIfTI files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.checks import (
    checked_grid,
    checked_volume,
    refuse_shape,
    unreadable,
    without_trailing_axes,
)
from ParanasalSSLLib.scans.volume import Provenance, Volume

if TYPE_CHECKING:
    import nibabel as nib

NIFTI_SUFFIXES = (".nii", ".nii.gz")


def read_nifti(path: Path) -> Volume:
    """Read one NIfTI-1 or NIfTI-2 file (`.nii`, `.nii.gz`).

    Returns:
        The volume, checked. It lies where ITK, and so Slicer, puts it.

    Raises:
        UnreadableScan: truncated, damaged or no NIfTI.
        UnsupportedScan: not one plausible three-dimensional MR image, or without orientation.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path, mmap=False)  # the array must outlive the file
        if not isinstance(image, nib.Nifti1Image):
            raise UnreadableScan(f"{path} is no image in one NIfTI-1 or NIfTI-2 file.")
        shape = without_trailing_axes(image.shape)
        refuse_shape(shape, path)
        _refuse_voxel_type(image.get_data_dtype(), path)
        affine = _affine(image, shape, path)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (
        *(EOFError, OSError, ValueError, OverflowError, zlib.error),
        *(ImageFileError, HeaderDataError),
    ) as error:
        raise unreadable(path, error) from error
    return checked_volume(data, affine, Provenance("NIfTI"), path)


def _refuse_voxel_type(kind: np.dtype, path: Path) -> None:
    if kind.fields is not None:
        raise UnsupportedScan(f"{path} is a colour (RGB) image. Give the grey MR series.")
    if kind.kind == "c":
        raise UnsupportedScan(f"{path} holds complex numbers. Save the magnitude and give that.")


def _affine(image: nib.Nifti1Image, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The affine that ITK, and so Slicer, chooses as well: overlays must lie on the scan there.

    The sform if it is in scanner coordinates (code 1) or alone; otherwise the qform. The other one
    stands in where the first is unusable (zero, sheared).
    """
    from nibabel.spatialimages import HeaderDataError

    qform_code, sform_code = int(image.header["qform_code"]), int(image.header["sform_code"])
    if qform_code == 0 and sform_code == 0:
        raise UnsupportedScan(
            f"{path} does not say how it is oriented (qform and sform codes are 0), so left and "
            "right cannot be told. Convert it again from DICOM."
        )

    forms = [(sform_code, image.header.get_sform), (qform_code, image.header.get_qform)]
    if sform_code != 1 and qform_code != 0:
        forms.reverse()
    refusals = []
    for code, form in forms:
        if code != 0:
            try:
                return checked_grid(shape, form(), path).affine
            except UnsupportedScan as error:
                refusals.append(error)
            except (HeaderDataError, ValueError) as error:
                refusals.append(
                    UnsupportedScan(
                        f"{path} has an impossible orientation or voxel size in its header "
                        f"({error}). Convert it again from DICOM."
                    )
                )
    raise refusals[0]
