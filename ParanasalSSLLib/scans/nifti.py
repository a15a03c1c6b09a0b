"""Reading of NIfTI files."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.errors import MissingPackage, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.bids import bids_suffix
from ParanasalSSLLib.scans.checks import (
    checked_grid,
    checked_volume,
    contradict_on_sides,
    refuse_shape,
    unreadable,
    without_trailing_axes,
)
from ParanasalSSLLib.scans.volume import Provenance, Volume

if TYPE_CHECKING:
    import nibabel as nib

NIFTI_SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"  # how such a file begins
NIFTI_2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))  # likewise
MM_OF_UNIT = {1: 1000.0, 3: 0.001}  # codes of metre and micrometre; all else is taken for mm
SIZE_TOLERANCE = 0.01  # between the two voxel sizes of a header
TWO_ORIENTATIONS = (
    "The header gives two orientations that disagree on left and right (sform and qform); the sform "
    "was used, as other programs do."
)


def read_nifti(path: Path) -> Volume:
    """Read one NIfTI-1 or NIfTI-2 file (`.nii`, `.nii.gz`).

    Returns:
        The volume, checked. It lies where ITK, and so Slicer, puts it.

    Raises:
        UnreadableScan: truncated, damaged or no NIfTI.
        UnsupportedScan: not one plausible three-dimensional MR image, or without one orientation.
        MissingPackage: nibabel is not installed, as in Slicer before the first run.
    """
    if importlib.util.find_spec("nibabel") is None:
        raise MissingPackage("Reading NIfTI files needs the package nibabel.")
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        with _opened(path) as image:
            shape = without_trailing_axes(image.shape)
            refuse_shape(shape, path)
            _refuse_voxel_type(image.get_data_dtype(), path)
            affine, notices = _orientation(image.header, shape, path)
            _refuse_two_sizes(affine, image.header, path)
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
                data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (
        *(EOFError, OSError, ValueError, OverflowError, zlib.error),
        *(ImageFileError, HeaderDataError, WrapStructError),
    ) as error:
        raise unreadable(path, error) from error
    source = Provenance(
        "NIfTI",
        notices=notices,
        sides_in_doubt=bool(notices),
        description=bids_suffix(path.name) or None,
    )
    return checked_volume(data, affine, source, path)


def _refuse_voxel_type(kind: np.dtype, path: Path) -> None:
    if kind.fields is not None:
        raise UnsupportedScan(f"{path} is a colour (RGB) image. Give the grey MR series.")
    if kind.kind == "c":
        raise UnsupportedScan(f"{path} holds complex numbers. Save the magnitude and give that.")


def _refuse_two_sizes(affine: np.ndarray, header: nib.Nifti1Header, path: Path) -> None:
    """Raise `UnsupportedScan` where pixdim contradicts the affine: ITK takes it, others do not.

    Of a negative one ITK makes a mirrored image. Voxels of 1 in all directions are what a program
    leaves that sets the affine alone.
    """
    stored = _pixdim(path)
    sizes = MM_OF_UNIT.get(int(header["xyzt_units"]) & 7, 1.0) * stored
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    is_set = (stored != 1).any()
    if is_set and not (abs(sizes / spacing - 1) <= SIZE_TOLERANCE).all():
        words = [" x ".join(f"{mm:.3g}" for mm in three) for three in (spacing, sizes)]
        raise UnsupportedScan(
            f"{path} gives two sizes of its voxels, {words[0]} mm by its orientation and {words[1]} mm "
            "by themselves (pixdim), and programs differ in which of them they take. Convert it again "
            "from DICOM."
        )


def _pixdim(path: Path) -> np.ndarray:
    """(3,) the voxel sizes that a file gives; nibabel and ITK take 0 for 1, only ITK keeps a sign."""
    import nibabel as nib

    with _content(path) as (content, is_nifti_2):
        kind = nib.Nifti2Header if is_nifti_2 else nib.Nifti1Header
        sizes = kind.from_fileobj(content, check=False)["pixdim"][1:4].astype(float)
    return np.where(sizes == 0, 1.0, sizes)


@contextmanager
def _opened(path: Path) -> Iterator[nib.Nifti1Image]:
    """The image in a file, compressed or not, whatever its name says."""
    import nibabel as nib

    with path.open("rb") as file:
        is_compressed = file.read(2) == GZIP
    if is_compressed == path.name.lower().endswith(".gz"):
        image = nib.load(path, mmap=False)  # the array must outlive the file
        if not isinstance(image, nib.Nifti1Image):
            raise UnreadableScan(f"{path} is no image in one NIfTI-1 or NIfTI-2 file.")
        yield image
        return
    with _content(path) as (content, is_nifti_2):
        yield (nib.Nifti2Image if is_nifti_2 else nib.Nifti1Image).from_stream(content)


@contextmanager
def _content(path: Path) -> Iterator[tuple[Any, bool]]:
    """What is in a file, compressed or not, whatever its name says; and whether that is NIfTI-2."""
    with path.open("rb") as file:
        is_compressed = file.read(2) == GZIP
        file.seek(0)
        with gzip.open(file) if is_compressed else nullcontext(file) as content:
            is_nifti_2 = content.read(4) in NIFTI_2
            content.seek(0)
            yield content, is_nifti_2


def _orientation(
    header: nib.Nifti1Header, shape: tuple[int, ...], path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine that ITK, and so Slicer, chooses as well: overlays must lie on the scan there.

    The sform if it is in scanner coordinates (code 1) or alone; otherwise the qform. The other one
    stands in where the first is unusable (zero, sheared). Two that disagree on left and right are
    refused, except where all programs take the sform.

    Returns:
        The affine, and sentences that users must read about it.
    """
    forms = _forms(header, path)
    usable, refusals = [], []
    for name, form in forms.items():
        try:
            usable.append((name, checked_grid(shape, form, path).affine))
        except UnsupportedScan as error:
            refusals.append(error)
    if not usable:
        raise refusals[0]
    chosen, affine = usable[0]
    if not _disagree_on_sides(forms):
        return affine, ()
    if chosen == "sform" and header["sform_code"] == 1:
        return affine, (TWO_ORIENTATIONS,)
    raise UnsupportedScan(
        f"{path} gives two orientations (sform and qform) that disagree on left and right, and "
        "programs differ in which of them they take. Convert it again from DICOM."
    )


def _forms(header: nib.Nifti1Header, path: Path) -> dict[str, np.ndarray]:
    """sform and qform as far as the header gives them, index -> RAS mm, the one to be taken first."""
    from nibabel.spatialimages import HeaderDataError

    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    names = [name for name, code in codes.items() if code != 0]
    if not names:
        raise UnsupportedScan(
            f"{path} does not say how it is oriented (qform and sform codes are 0), so left and "
            "right cannot be told. Convert it again from DICOM."
        )
    if codes["sform"] != 1:
        names.reverse()
    mm = MM_OF_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    forms, errors = {}, []
    for name in names:
        try:
            forms[name] = np.diag([mm, mm, mm, 1.0]) @ getattr(header, f"get_{name}")()
        except (HeaderDataError, ValueError) as error:
            errors.append(error)
    if not forms:
        raise UnsupportedScan(
            f"{path} has an impossible orientation or voxel size in its header ({errors[0]}). "
            "Convert it again from DICOM."
        )
    return forms


def _disagree_on_sides(forms: Mapping[str, np.ndarray]) -> bool:
    """Whether there are two, both of some meaning, that disagree on left and right."""
    directions = []
    for form in forms.values():
        spacing = np.linalg.norm(form[:3, :3], axis=0)
        if not np.isfinite(form).all() or not spacing.all():
            return False
        directions.append(form[:3, :3] / spacing)
    flat = any(abs(np.linalg.det(one)) < 0.1 for one in directions)
    return len(directions) == 2 and not flat and contradict_on_sides(*directions)
