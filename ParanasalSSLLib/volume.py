"""Scans in memory: one value type with one convention, and the reading of files into it.

Everything downstream works in RAS millimetres through `Volume.affine`. DICOM has its own file,
`dicom.py`; both end in `checked_volume`, which refuses what is no three-dimensional MR image.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan

if TYPE_CHECKING:
    import SimpleITK as sitk

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = {".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class VolumeLimits:
    """What counts as a plausible head scan."""

    spacing_mm: tuple[float, float] = (0.1, 15.0)
    smallest_axis_voxels: int = 8
    smallest_extent_mm: float = 60.0
    largest_axis_voxels: int = 1024
    most_voxels: int = 400_000_000
    largest_shear: float = 2e-3  # cosine between axes that should be at right angles
    ct_air_share: float = 0.05  # voxels between -1100 and -900: air in Hounsfield units
    fewest_values: int = 24  # fewer distinct values: a label map or an empty image


LIMITS = VolumeLimits()


@dataclass(frozen=True)
class Provenance:
    """Where a volume comes from, without anything that identifies a patient or a machine."""

    format: str  # "NIfTI", "NRRD", "MetaImage", "DICOM", "memory"
    modality: str | None = None  # DICOM modality, where known


@dataclass(frozen=True, eq=False)
class Volume:
    """A three-dimensional scan.

    Attributes:
        data: float32 (I, J, K), read-only.
        affine: float64 (4, 4), voxel index (i, j, k, 1) -> RAS mm, axes at right angles.
        provenance: format and modality.
    """

    data: np.ndarray
    affine: np.ndarray
    provenance: Provenance = Provenance("memory")

    def __post_init__(self) -> None:
        data = np.asarray(self.data, dtype=np.float32).view()
        data.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "affine", np.array(self.affine, dtype=np.float64))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = self.data.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxels along each axis, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def center_ras_mm(self) -> np.ndarray:
        """(3,) centre of the image in RAS mm."""
        middle = (np.array(self.data.shape) - 1) / 2
        return self.affine[:3, :3] @ middle + self.affine[:3, 3]

    def to_sitk(self) -> sitk.Image:
        """The same volume as SimpleITK image (LPS)."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(np.ascontiguousarray(self.data.transpose(2, 1, 0)))
        lps = LPS_TO_RAS @ self.affine
        image.SetSpacing(self.spacing_mm)
        image.SetDirection((lps[:3, :3] / self.spacing_mm).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image, provenance: Provenance = Provenance("memory")) -> Volume:
        """A volume from a scalar three-dimensional SimpleITK image (LPS)."""
        import SimpleITK as sitk

        data = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0).astype(np.float32)
        lps = np.eye(4)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        lps[:3, :3] = direction * np.array(image.GetSpacing())
        lps[:3, 3] = image.GetOrigin()
        return cls(data, LPS_TO_RAS @ lps, provenance)


def read_volume(path: str | Path) -> Volume:
    """Read a scan: NIfTI, NRRD, MetaImage, a DICOM series folder, or a zip with one of these.

    Args:
        path: file or folder.

    Returns:
        The volume, checked.

    Raises:
        UnreadableScan: missing, empty, truncated, or of an unknown format.
        UnsupportedScan: not one plausible three-dimensional MR image (4D, RGB, CT, label map, ...).
        SeveralSeries: a DICOM folder with more than one series.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableScan(f"{path} does not exist. Check the path.")
    name = path.name.lower()
    if path.is_dir():
        from ParanasalSSLLib.dicom import read_dicom_folder

        return read_dicom_folder(path)
    if name.endswith(".zip"):
        from ParanasalSSLLib.dicom import read_zip

        return read_zip(path)
    if path.stat().st_size == 0:
        raise UnreadableScan(f"{path} is empty. Copy or export the scan again.")
    if name.endswith(NIFTI_SUFFIXES):
        return _read_nifti(path)
    if path.suffix.lower() in ITK_SUFFIXES:
        return _read_itk(path)
    raise UnreadableScan(
        f"{path} is of no format that is read here. Give NIfTI (.nii, .nii.gz), NRRD (.nrrd), "
        "MetaImage (.mha, .mhd), or the folder or zip of one DICOM series (not a single slice)."
    )


def _read_nifti(path: Path) -> Volume:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            raise UnreadableScan(f"{path} is no NIfTI-1 or NIfTI-2 single-file image.")
        shape = _squeezed(image.shape)
        refuse_shape(shape, path)
        if image.get_data_dtype().fields is not None:
            raise UnsupportedScan(f"{path} is a colour (RGB) image. Give the grey MR series.")
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (EOFError, OSError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise damaged(path, error) from error
    if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
        raise UnsupportedScan(
            f"{path} does not say how it is oriented (qform and sform codes are 0), so left and "
            "right cannot be told. Convert it again from DICOM."
        )
    return checked_volume(data, image.affine, Provenance("NIfTI"), path)


def _read_itk(path: Path) -> Volume:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        refuse_shape(_squeezed(tuple(reader.GetSize())), path)
        if reader.GetNumberOfComponents() != 1:
            raise UnsupportedScan(
                f"{path} has {reader.GetNumberOfComponents()} values a voxel (colour or vector "
                "image). Give the grey MR series."
            )
        image = reader.Execute()
    except RuntimeError as error:
        raise damaged(path, error) from error
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    volume = Volume.from_sitk(image)
    kind = Provenance(ITK_SUFFIXES[path.suffix.lower()])
    return checked_volume(volume.data, volume.affine, kind, path)


def damaged(path: Path, error: Exception) -> UnreadableScan:
    """The error for a file whose content cannot be read; `error` tells the reader's reason."""
    reason = str(error).strip().splitlines()
    return UnreadableScan(
        f"{path} is truncated or damaged and cannot be read "
        f"({reason[-1][:160] if reason else type(error).__name__}). Copy or export it again."
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without trailing axes of length one beyond the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(int(n) for n in shape)


def refuse_shape(shape: tuple[int, ...], path: Path) -> None:
    """Raise `UnsupportedScan` for what is not three-dimensional, tiny or huge."""
    if len(shape) > 3:
        raise UnsupportedScan(
            f"{path} has {len(shape)} dimensions {shape} (a time or diffusion series?). "
            "Save one three-dimensional volume of it and give that."
        )
    if len(shape) < 3 or min(shape) < LIMITS.smallest_axis_voxels:
        raise UnsupportedScan(
            f"{path} has {' x '.join(map(str, shape))} voxels: too few to show a head. "
            "Give the whole series, not a single slice."
        )
    if max(shape) > LIMITS.largest_axis_voxels or np.prod(shape) > LIMITS.most_voxels:
        raise UnsupportedScan(
            f"{path} has {' x '.join(map(str, shape))} voxels: too many for a head MRI. "
            "Resample it to about 1 mm."
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

    Raises:
        UnsupportedScan: with what was found and what to do.
    """
    refuse_shape(data.shape, path)
    affine = _right_angled(affine, path)
    extent = np.linalg.norm(affine[:3, :3], axis=0) * data.shape
    if extent.min() < LIMITS.smallest_extent_mm:
        raise UnsupportedScan(
            f"{path} covers only {' x '.join(f'{e:.0f}' for e in extent)} mm: too small for a "
            "head. Give the whole series."
        )
    if not np.isfinite(data).all():
        raise UnsupportedScan(
            f"{path} holds voxels that are not finite (NaN or infinite). "
            "Replace them, for example by 0, and save it again."
        )
    _refuse_values(data, provenance, path)
    return Volume(data, affine, provenance)


def _right_angled(affine: np.ndarray, path: Path) -> np.ndarray:
    """The affine with axes exactly at right angles; refuses singular, implausible, sheared ones."""
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UnsupportedScan(f"{path} has an orientation matrix that is not finite.")
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
            f"{path} has voxel axes that are not at right angles (sheared, or gantry tilt). "
            "Resample it to a rectangular grid first."
        )
    u, _, vt = np.linalg.svd(directions)
    affine[:3, :3] = (u @ vt) * spacing
    return affine


def _refuse_values(data: np.ndarray, provenance: Provenance, path: Path) -> None:
    step = max(1, int(np.cbrt(data.size / 200_000)))
    sample = data[::step, ::step, ::step]
    if np.unique(sample).size < LIMITS.fewest_values and np.unique(data).size < LIMITS.fewest_values:
        raise UnsupportedScan(
            f"{path} holds only a few distinct values: an empty image or a label map, no scan."
        )
    hounsfield_air = ((sample > -1100) & (sample < -900)).mean()
    looks_like_ct = sample.min() < -900 and hounsfield_air > LIMITS.ct_air_share
    if provenance.modality == "CT" or (provenance.modality is None and looks_like_ct):
        raise UnsupportedScan(
            f"{path} is a CT. This tool is made for MRI only: give an MR series of the head."
        )
    if provenance.modality not in (None, "MR"):
        raise UnsupportedScan(
            f"{path} is of DICOM modality {provenance.modality}; an MR series is needed."
        )
