"""Scans in memory: one value type with one convention, and the reading of files into it.

Everything downstream works in RAS millimetres through `Volume.affine`. DICOM has its own file,
`dicom.py`; both end in `checked_volume`, which refuses what is no three-dimensional MR image by the
rules of `scan_checks.py`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.scans.checks import checked_grid, refuse_modality, refuse_shape, refuse_values

if TYPE_CHECKING:
    import nibabel as nib
    import SimpleITK as sitk

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = {".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.1


@dataclass(frozen=True)
class Provenance:
    """Where a volume comes from, without anything that identifies a patient or a machine."""

    format: str  # "NIfTI", "NRRD", "MetaImage", "DICOM", "memory"
    modality: str | None = None  # DICOM modality, where known
    interpolated_slices: int = (
        0  # single slices that the series lacked, filled from both neighbours
    )


@dataclass(frozen=True, eq=False)
class Volume:
    """A three-dimensional scan.

    Attributes:
        data: float32 (I, J, K), read-only.
        affine: float64 (4, 4), voxel index (i, j, k, 1) -> RAS mm, axes at right angles, read-only.
        provenance: format, modality, what was done to it on reading.
    """

    data: np.ndarray
    affine: np.ndarray
    provenance: Provenance = Provenance("memory")

    def __post_init__(self) -> None:
        data = np.asarray(self.data, dtype=np.float32).view()
        data.flags.writeable = False
        object.__setattr__(self, "data", data)
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)

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
        return cls(data, _itk_affine(image), provenance)


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
    if path.is_dir():
        from ParanasalSSLLib.scans.dicom import read_dicom_folder

        return read_dicom_folder(path)
    return _read_file(path)


def is_same_place(one: Volume, other: Volume) -> bool:
    """Whether two volumes have voxels at the same places; their axes may run in another order."""
    places = [_corners(volume.shape, volume.affine) for volume in (one, other)]
    away = np.linalg.norm(places[0][:, None] - places[1], axis=2).min(axis=1).max()
    return sorted(one.shape) == sorted(other.shape) and bool(away <= SAME_PLACE_MM)


def _corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(8, 3) centres of the voxels at the corners, RAS mm."""
    ends = np.stack(np.meshgrid(*([0, n - 1] for n in shape), indexing="ij")).reshape(3, -1)
    return (affine[:3, :3] @ ends + affine[:3, 3:]).T


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


def _read_file(path: Path) -> Volume:
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        raise damaged(path, error) from error
    name = path.name.lower()
    if not start:
        raise UnreadableScan(f"{path} is empty. Copy or export the scan again.")
    if name.endswith(".zip"):
        from ParanasalSSLLib.scans.dicom import read_zip

        return read_zip(path)
    if name.endswith(NIFTI_SUFFIXES):
        return _read_nifti(path)
    if path.suffix.lower() in ITK_SUFFIXES:
        return _read_itk(path)
    if start[128:] == b"DICM":
        raise UnsupportedScan(
            f"{path} is a single DICOM file. Give the folder with all slices of its series instead "
            "(a multi-frame file: convert it to NIfTI first, for example with dcm2niix)."
        )
    raise UnreadableScan(
        f"{path} is of no format that is read here. Give NIfTI (.nii, .nii.gz), NRRD (.nrrd, "
        ".nhdr), MetaImage (.mha, .mhd), or the folder or zip of one DICOM series."
    )


def _read_nifti(path: Path) -> Volume:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path, mmap=False)  # the array must outlive the file
        if not isinstance(image, nib.Nifti1Image):
            raise UnreadableScan(f"{path} is no image in one NIfTI-1 or NIfTI-2 file.")
        shape = _squeezed(image.shape)
        refuse_shape(shape, path)
        _refuse_nifti_type(image.get_data_dtype(), path)
        affine = _nifti_affine(image, shape, path)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (
        *(EOFError, OSError, ValueError, OverflowError, zlib.error),
        *(ImageFileError, HeaderDataError),
    ) as error:
        raise damaged(path, error) from error
    return checked_volume(data, affine, Provenance("NIfTI"), path)


def _refuse_nifti_type(kind: np.dtype, path: Path) -> None:
    if kind.fields is not None:
        raise UnsupportedScan(f"{path} is a colour (RGB) image. Give the grey MR series.")
    if kind.kind == "c":
        raise UnsupportedScan(f"{path} holds complex numbers. Save the magnitude and give that.")


def _nifti_affine(image: nib.Nifti1Image, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The affine that ITK, and so Slicer, takes as well: overlays must lie on the scan there.

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
                return checked_grid(shape, form(), path)
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


def _read_itk(path: Path) -> Volume:
    import SimpleITK as sitk

    kind = ITK_SUFFIXES[path.suffix.lower()]
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        shape = _squeezed(tuple(reader.GetSize()))
        refuse_shape(shape, path)
        if reader.GetNumberOfComponents() != 1:
            raise UnsupportedScan(
                f"{path} has {reader.GetNumberOfComponents()} values a voxel (colour, vector or "
                "complex image). Give the grey MR series."
            )
        if kind == "NRRD" and not reader.HasMetaDataKey("NRRD_space"):
            raise UnsupportedScan(
                f"{path} does not say how it is oriented (no field `space`), so left and right "
                "cannot be told. Convert it again from DICOM."
            )
        checked_grid(shape, _itk_affine(reader), path)
        image = reader.Execute()
    except RuntimeError as error:
        # ITK's own words name the wrong reason (MetaImage) or fill a page (NRRD).
        raise UnreadableScan(
            f"{path} is truncated or damaged{_DETACHED.get(path.suffix.lower(), '')} and cannot "
            "be read. Copy or export it again."
        ) from error
    if image.GetDimension() > 3:
        image = image[:, :, :, 0]
    volume = Volume.from_sitk(image)
    return checked_volume(volume.data, volume.affine, Provenance(kind), path)


_DETACHED = dict.fromkeys((".nhdr", ".mhd"), ", or the data file that it names is not beside it,")


def _itk_affine(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """(4, 4) index -> RAS mm of the first three axes of an ITK image (LPS)."""
    size = len(image.GetSpacing())
    direction = np.array(image.GetDirection()).reshape(size, size)[:3, :3]
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    lps[:3, 3] = image.GetOrigin()[:3]
    return LPS_TO_RAS @ lps


def damaged(path: Path, error: Exception) -> UnreadableScan:
    """The error for a file whose content cannot be read; `error` tells the reader's reason."""
    if isinstance(error, PermissionError):
        return UnreadableScan(f"{path} may not be opened. Ask for the permission to read it.")
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
    affine = checked_grid(data.shape, affine, path)
    refuse_modality(provenance.modality, path)
    refuse_values(data, provenance.modality, path)
    return Volume(data, affine, provenance)
