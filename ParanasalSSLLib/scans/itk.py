"""Reading of NRRD and MetaImage by SimpleITK, and volumes as SimpleITK images (LPS)."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.geometry import lps_to_ras, ras_to_lps
from ParanasalSSLLib.scans.checks import (
    checked_grid,
    checked_volume,
    refuse_shape,
    without_trailing_axes,
)
from ParanasalSSLLib.scans.itk_header import header_fields, notices_of, refuse_silence
from ParanasalSSLLib.scans.volume import Provenance, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

ITK_SUFFIXES = {".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}
_DETACHED = dict.fromkeys((".nhdr", ".mhd"), ", or the data file that it names is not beside it,")


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as a float32 SimpleITK image (LPS)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    lps = ras_to_lps(volume.affine)
    image.SetSpacing(volume.spacing_mm)
    image.SetDirection((lps[:3, :3] / volume.spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def from_sitk(image: sitk.Image) -> Volume:
    """A volume from a scalar three-dimensional SimpleITK image (LPS)."""
    import SimpleITK as sitk

    data = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0).astype(np.float32)
    return Volume(data, _affine(image))


def write_itk(volume: Volume, path: Path) -> None:
    """Write a scan as the format that the suffix names, float32. Raises `RuntimeError`s of ITK."""
    import SimpleITK as sitk

    sitk.WriteImage(to_sitk(volume), str(path))


def read_nifti_by_itk(path: Path) -> Volume:
    """A NIfTI file that is known to be a scan or one of its maps; needs only what Slicer ships.

    Raises `UnreadableScan`: missing, damaged, or not one grey three-dimensional image.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NiftiImageIO")
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() == 4 and reader.GetSize()[3] == 1:
            reader.SetExtractSize([*reader.GetSize()[:3], 0])
        elif reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            raise UnreadableScan(f"{path.name} is not one grey 3D image.")
        _refuse_cut_off(reader, path)
        return from_sitk(reader.Execute())
    except (RuntimeError, OSError, EOFError, zlib.error) as error:
        raise UnreadableScan(f"{path.name} cannot be read as a NIfTI image.") from error


def _refuse_cut_off(reader: sitk.ImageFileReader, path: Path) -> None:
    """Raise an `OSError` or likewise for a file that lacks voxels, for which ITK takes any."""
    told = {key: float(reader.GetMetaData(key)) for key in ("vox_offset", "bitpix")}
    wanted = told["vox_offset"] + math.prod(reader.GetSize()) * told["bitpix"] / 8
    is_compressed = path.name.lower().endswith(".gz")
    if is_compressed:
        with gzip.open(path) as file:
            length = sum(len(part) for part in iter(lambda: file.read(1 << 20), b""))
    else:
        length = path.stat().st_size
    if length < wanted:
        raise OSError(f"{path.name} is cut off.")


def read_itk(path: Path) -> Volume:
    """Read one NRRD (`.nrrd`, `.nhdr`) or MetaImage file (`.mha`, `.mhd`).

    Returns:
        The volume, checked.

    Raises:
        UnreadableScan: truncated or damaged, or its data file is not beside it.
        UnsupportedScan: not one plausible three-dimensional MR image, or one whose header leaves
            orientation or voxel size to a guess.
    """
    import SimpleITK as sitk

    kind = ITK_SUFFIXES[path.suffix.lower()]
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        shape = without_trailing_axes(tuple(reader.GetSize()))
        refuse_shape(shape, path)
        if reader.GetNumberOfComponents() != 1:
            raise UnsupportedScan(
                f"{path} has {reader.GetNumberOfComponents()} values a voxel (colour, vector or "
                "complex image). Give the grey MR series."
            )
        fields = header_fields(path, kind)
        refuse_silence(fields, kind, path)
        grid = checked_grid(shape, _affine(reader), path)
        notices = notices_of(fields, grid.affine[:3, :3] / grid.spacing_mm)
        image = reader.Execute()
    except RuntimeError as error:
        # ITK's own words name the wrong reason (MetaImage) or fill a page (NRRD).
        raise UnreadableScan(
            f"{path} is truncated or damaged{_DETACHED.get(path.suffix.lower(), '')} and cannot "
            "be read. Copy or export it again."
        ) from error
    if image.GetDimension() > 3:
        image = image[:, :, :, 0]
    volume = from_sitk(image)
    source = Provenance(kind, notices=notices, sides_in_doubt=bool(notices))
    return checked_volume(volume.data, volume.affine, source, path)


def _affine(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """(4, 4) index -> RAS mm of the first three axes of an ITK image (LPS)."""
    size = len(image.GetSpacing())
    direction = np.array(image.GetDirection()).reshape(size, size)[:3, :3]
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    lps[:3, 3] = image.GetOrigin()[:3]
    return lps_to_ras(lps)
