"""Scans in every format, written for the tests by the formats' own libraries."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.read import read_volume

SHAPE = (22, 20, 12)
SPACING = np.array([4.0, 5.0, 8.0])
SERIES_SHAPE = (20, 22, 12)  # columns, rows, slices
SERIES_SPACING = (5.0, 4.0, 8.0)  # between columns, between rows, between slices
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19700101"}
ADVICE = "give|copy|export|check|convert|resample|save|replace|correct|unpack|ask|put"


def noise(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """float32 like raw MR: whole numbers, every voxel its own."""
    values = np.random.default_rng(3).integers(0, 4000, shape)
    return values.astype(np.float32)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3) rotation about the RAS axes, degrees."""
    image = sitk.Euler3DTransform()
    image.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(image.GetMatrix()).reshape(3, 3)


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING
    affine[:3, 3] = (-31.5, 17.25, -80.0)
    return affine


AFFINES = {
    "straight": affine_of(np.eye(3)),
    "flipped": affine_of(np.diag([-1.0, 1.0, -1.0])),
    "left-handed": affine_of(np.diag([-1.0, 1.0, 1.0])),
    "permuted": affine_of(np.eye(3)[:, [1, 2, 0]]),
    "permuted and flipped": affine_of(np.eye(3)[[2, 0, 1]] * [1, -1, -1]),
    "oblique": affine_of(rotation(12.0, -20.0, 31.0)),
}


AFFINES = {
    "straight": affine_of(np.eye(3)),
    "flipped": affine_of(np.diag([-1.0, 1.0, -1.0])),
    "left-handed": affine_of(np.diag([-1.0, 1.0, 1.0])),
    "permuted": affine_of(np.eye(3)[:, [1, 2, 0]]),
    "permuted and flipped": affine_of(np.eye(3)[[2, 0, 1]] * [1, -1, -1]),
    "oblique": affine_of(rotation(12.0, -20.0, 31.0)),
}
SLICE_AXES = {
    "axial": np.eye(3),
    "axial, top slice first": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": rotation(14.0, -9.0, 25.0),
}


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINES["straight"]) -> Path:
    """Write with the format's own library, independently of the code under test."""
    if ".nii" in path.name:
        nifti = nib.Nifti1Image(data, affine)
        nifti.set_sform(affine, 1)
        nib.save(nifti, path)
        return path
    image = sitk.GetImageFromArray(data.transpose(2, 1, 0))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def voxels(shape: tuple[int, int, int] = SERIES_SHAPE) -> np.ndarray:
    """Every voxel its own number, so that a wrong place shows."""
    return np.random.default_rng(5).integers(0, 4000, shape).astype(np.int16)


@dataclass
class Series:
    """A DICOM series to be written; tests change what they are about."""

    data: np.ndarray = field(default_factory=voxels)
    spacing: tuple[float, float, float] = SERIES_SPACING
    axes_lps: np.ndarray = field(default_factory=lambda: np.eye(3))  # columns: along i, j, k
    origin_lps: tuple[float, float, float] = (-40.0, -50.0, 12.0)
    uid: str = field(default_factory=generate_uid)
    tags: dict[str, Any] = field(default_factory=dict)
    change: Callable[[int, FileDataset], None] = lambda _place, _slice: None
    skip: tuple[int, ...] = ()

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) index -> RAS mm, by the definition of the tags."""
        lps = np.eye(4)
        lps[:3, :3] = self.axes_lps * self.spacing
        lps[:3, 3] = self.origin_lps
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps

    def write(self, folder: Path, prefix: str = "slice") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        places = [place for place in range(self.data.shape[2]) if place not in self.skip]
        shuffled = np.random.default_rng(2).permutation(places)
        for number, place in enumerate(shuffled.tolist()):  # names say nothing about the order
            self.slice(place).save_as(folder / f"{prefix}{number:03d}.dcm")
        return folder

    def slice(self, place: int) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        slice_.SOPClassUID, slice_.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.SeriesInstanceUID, slice_.Modality = self.uid, "MR"
        slice_.SeriesNumber, slice_.SeriesDescription = 3, "T2 axial"
        step = self.axes_lps[:, 2] * self.spacing[2] * place
        slice_.ImagePositionPatient = [round(float(p), 6) for p in self.origin_lps + step]
        slice_.ImageOrientationPatient = [round(float(c), 8) for c in self.axes_lps[:, :2].T.flat]
        slice_.PixelSpacing = [self.spacing[1], self.spacing[0]]
        slice_.Columns, slice_.Rows = self.data.shape[:2]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 1
        slice_.PixelData = self.data[:, :, place].T.astype("<i2").tobytes()
        for name, value in {**PATIENT, **self.tags}.items():
            setattr(slice_, name, value)
        self.change(place, slice_)
        return slice_


def refusal(path: Path, kind: type[ParanasalError]) -> str:
    """The message of the error; checks what every message owes the user."""
    with pytest.raises(kind) as caught:
        read_volume(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert str(path) in message, "the folder or file is named as it was given"
    assert re.search(ADVICE, message, re.I), f"no advice in: {message}"
    assert not any(word in message for word in PATIENT.values())
    return message


def zipped(folder: Path, target: Path, inner: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, f"{inner}{file.relative_to(folder)}")
    return target


@dataclass(frozen=True)
class Files:
    """What tests write their scans with (test files cannot import from each other)."""

    noise: Callable[..., np.ndarray] = noise
    voxels: Callable[..., np.ndarray] = voxels
    save: Callable[..., Path] = save
    series: Callable[..., Series] = Series
    zipped: Callable[..., Path] = zipped
    refusal: Callable[[Path, type[ParanasalError]], str] = refusal
    shape: tuple[int, ...] = SHAPE
    spacing: np.ndarray = field(default_factory=lambda: SPACING.copy())
    affines: dict[str, np.ndarray] = field(default_factory=lambda: dict(AFFINES))
    slice_axes: dict[str, np.ndarray] = field(default_factory=lambda: dict(SLICE_AXES))


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture(params=AFFINES)
def affine(request: pytest.FixtureRequest) -> np.ndarray:
    """(4, 4) index -> RAS mm of grids of every kind."""
    return AFFINES[request.param]


@pytest.fixture(params=SLICE_AXES)
def slice_axes(request: pytest.FixtureRequest) -> np.ndarray:
    """(3, 3) columns along a row, along a column and from slice to slice, LPS."""
    return SLICE_AXES[request.param]
