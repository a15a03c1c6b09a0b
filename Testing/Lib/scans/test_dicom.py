"""Reading of DICOM folders and zips: the right slices in the right place, or a clear refusal."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid

from ParanasalSSLLib.errors import ParanasalError, SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume

SHAPE = (20, 22, 12)  # columns, rows, slices
SPACING = (5.0, 4.0, 8.0)  # between columns, between rows, between slices
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19700101"}


def voxels(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Every voxel its own number, so that a wrong place shows."""
    return np.random.default_rng(5).integers(0, 4000, shape).astype(np.int16)


def tilted(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3) rotation, degrees."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(turn.GetMatrix()).reshape(3, 3)


@dataclass
class Series:
    """A DICOM series to be written; tests change what they are about."""

    data: np.ndarray = field(default_factory=voxels)
    spacing: tuple[float, float, float] = SPACING
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
    assert re.search("give|copy|export|convert|put|unpack|replace|resample", message, re.I), message
    assert not any(word in message for word in PATIENT.values())
    return message


def zipped(folder: Path, target: Path, inner: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, f"{inner}{file.relative_to(folder)}")
    return target


AXES = {
    "axial": np.eye(3),
    "axial, top slice first": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": tilted(14.0, -9.0, 25.0),
}


@pytest.mark.parametrize("axes", AXES)
def test_folder_zip_and_nifti_show_the_same_voxel_at_the_same_place(
    tmp_path: Path, axes: str
) -> None:
    series = Series(axes_lps=AXES[axes])
    folder = series.write(tmp_path / "study" / "series")
    image = nib.Nifti1Image(series.data, series.affine)
    image.set_sform(series.affine, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    archive = zipped(folder, tmp_path / "scan.zip", inner="patient/series/")
    expected = read_volume(tmp_path / "scan.nii.gz")
    for path in (folder, tmp_path / "study", archive):
        volume = read_volume(path)
        # Slices are ordered along the normal, so that the last axis may run the other way.
        to_expected = np.linalg.inv(expected.affine) @ volume.affine
        index = np.indices(volume.shape).reshape(3, -1)
        mapped = to_expected[:3, :3] @ index + to_expected[:3, 3:]
        np.testing.assert_allclose(mapped, np.rint(mapped), atol=1e-3)
        found = expected.data[tuple(np.rint(mapped).astype(int))]
        np.testing.assert_array_equal(volume.data.ravel(), found)
        assert volume.provenance.format == "DICOM"
        assert volume.provenance.modality == "MR"


def test_axes_along_the_normal_give_nifti_s_own_affine(tmp_path: Path) -> None:
    series = Series(axes_lps=AXES["oblique"])
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.data, series.data)


def test_agrees_with_itk_s_reader(tmp_path: Path) -> None:
    folder = Series(axes_lps=AXES["oblique"]).write(tmp_path / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_volume(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), volume.data)
    corner = np.array(image.TransformIndexToPhysicalPoint((19, 0, 11))) * (-1, -1, 1)
    np.testing.assert_allclose((volume.affine @ (19, 0, 11, 1))[:3], corner, atol=1e-3)


def test_no_identity_is_kept(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "Doe_Jane_4711")
    kept = asdict(read_volume(folder).provenance)
    assert kept == {"format": "DICOM", "modality": "MR", "interpolated_slices": 0}


def test_rescaling_is_applied_per_slice(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 0.5 * (place + 1), -3

    series = Series(change=change)
    volume = read_volume(series.write(tmp_path / "series"))
    slopes = 0.5 * (np.arange(SHAPE[2]) + 1)
    np.testing.assert_allclose(volume.data, series.data * slopes - 3, rtol=1e-6)


def test_zero_slope_is_taken_as_written(tmp_path: Path) -> None:
    def change(_place: int, slice_: FileDataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 0, 5

    folder = Series(change=change).write(tmp_path / "series")
    assert "every voxel" in refusal(folder, UnsupportedScan)


def test_losslessly_compressed_slices_are_the_same(tmp_path: Path) -> None:
    series = Series(data=voxels() // 8)
    series.change = lambda _place, slice_: slice_.compress(RLELossless)
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, series.data)


def test_other_files_and_doubles_beside_the_slices_do_no_harm(tmp_path: Path) -> None:
    series = Series()
    folder = series.write(tmp_path / "series")
    (folder / "notes.txt").write_text("x" * 500, encoding="utf-8")
    (folder / ".DS_Store").write_bytes(b"")
    copies = folder / "again"
    copies.mkdir()
    for file in folder.glob("*.dcm"):
        (copies / file.name).write_bytes(file.read_bytes())
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


def test_localizer_pictures_and_other_modalities_are_passed_over(tmp_path: Path) -> None:
    series = Series()
    folder = series.write(tmp_path / "study")
    Series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(folder, "localizer")
    Series(tags={"Modality": "CT"}).write(folder, "ct")
    Series(data=voxels((20, 22, 1))).write(folder, "picture")
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


# --------------------------------------------------------------------------- missing slices


@pytest.mark.parametrize("missing", [4, 17])
def test_single_missing_slice_is_filled_from_its_neighbours(tmp_path: Path, missing: int) -> None:
    series = Series(data=voxels((20, 22, 24)), spacing=(5.0, 4.0, 5.0), skip=(missing,))
    volume = read_volume(series.write(tmp_path / "series"))
    expected = series.data.astype(np.float32)
    expected[:, :, missing] = (expected[:, :, missing - 1] + expected[:, :, missing + 1]) / 2
    np.testing.assert_array_equal(volume.data, expected)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)
    assert volume.provenance.interpolated_slices == 1


def test_a_missing_end_slice_only_shortens_the_scan(tmp_path: Path) -> None:
    series = Series(skip=(0, 11))
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, series.data[:, :, 1:11])
    assert volume.provenance.interpolated_slices == 0


@pytest.mark.parametrize("skip", [(10, 11), (3, 9, 15)], ids=["neighbours", "too many"])
def test_more_missing_slices_are_refused(tmp_path: Path, skip: tuple[int, ...]) -> None:
    series = Series(data=voxels((20, 22, 24)), spacing=(5.0, 4.0, 5.0), skip=skip)
    assert "lacks slices" in refusal(series.write(tmp_path / "series"), UnsupportedScan)


def test_uneven_slices_are_refused(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[2] += 2.5 if place > 5 else 0.0

    folder = Series(change=change).write(tmp_path / "series")
    assert "unevenly spaced" in refusal(folder, UnsupportedScan)


def test_several_echoes_in_one_series_are_refused(tmp_path: Path) -> None:
    series = Series()
    folder = series.write(tmp_path / "series", "first")
    series.write(folder, "second")
    assert "same place" in refusal(folder, UnsupportedScan)


def test_slices_out_of_line_are_refused(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[0] += 9.0 if place == 5 else 0.0

    folder = Series(change=change).write(tmp_path / "series")
    assert "not in line" in refusal(folder, UnsupportedScan)


def test_gantry_tilt_is_refused(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[1] += 2.0 * place

    folder = Series(change=change).write(tmp_path / "series")
    assert "right angles" in refusal(folder, UnsupportedScan)


# --------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("as_zip", [False, True])
def test_several_series(tmp_path: Path, as_zip: bool) -> None:
    folder = Series(tags={"SeriesDescription": "T1 sagittal"}).write(tmp_path / "study", "one")
    Series(tags={"SeriesNumber": 7}).write(folder, "two")
    path = zipped(folder, tmp_path / "study.zip") if as_zip else folder
    with pytest.raises(SeveralSeries) as caught:
        read_volume(path)
    assert set(caught.value.series) == {
        "series 3, T1 sagittal (12 slices)",
        "series 7, T2 axial (12 slices)",
    }
    message = refusal(path, SeveralSeries)
    assert "T1 sagittal" in message and "T2 axial" in message


@pytest.mark.parametrize(("modality", "word"), [("CT", "is a CT"), ("PT", "modality PT")])
def test_other_modalities(tmp_path: Path, modality: str, word: str) -> None:
    folder = Series(tags={"Modality": modality}).write(tmp_path / "series")
    assert word in refusal(folder, UnsupportedScan)


def test_colour_pictures(tmp_path: Path) -> None:
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    folder = Series(tags=tags).write(tmp_path / "series")
    assert "colour" in refusal(folder, UnsupportedScan)


def test_multi_frame_file(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    Series(data=voxels((20, 22, 1)), tags={"NumberOfFrames": 40}).write(folder)
    assert "dcm2niix" in refusal(folder, UnsupportedScan)
    assert "dcm2niix" in refusal(folder / "slice000.dcm", UnsupportedScan)


def test_too_few_slices(tmp_path: Path) -> None:
    folder = Series(data=voxels((20, 22, 3))).write(tmp_path / "series")
    assert "at least 8 slices" in refusal(folder, UnsupportedScan)


def test_slices_without_position(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        if place == 4:
            del slice_.ImagePositionPatient

    folder = Series(change=change).write(tmp_path / "series")
    assert "where they lie" in refusal(folder, UnsupportedScan)


def test_slices_of_different_orientation(tmp_path: Path) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        if place == 4:
            slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    folder = Series(change=change).write(tmp_path / "series")
    assert "different orientation" in refusal(folder, UnsupportedScan)


def test_folders_without_dicom(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "folder of one series" in refusal(folder, UnreadableScan)
    (folder / "notes.txt").write_text("nothing", encoding="utf-8")
    assert "folder of one series" in refusal(folder, UnreadableScan)
    (folder / "scan.nii.gz").write_bytes(b"x")
    assert "one of the image files" in refusal(folder, UnreadableScan)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_slice(tmp_path: Path, share: float) -> None:
    folder = Series().write(tmp_path / "series")
    victim = sorted(folder.iterdir())[5]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((UnreadableScan, UnsupportedScan)) as caught:
        read_volume(folder)
    assert str(folder) in str(caught.value)


# -------------------------------------------------------------------------------------- zip


def test_zip_with_one_nifti_file(tmp_path: Path) -> None:
    series = Series()
    image = nib.Nifti1Image(series.data, series.affine)
    image.set_sform(series.affine, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(tmp_path / "scan.nii.gz", "some/scan.nii.gz")
        archive.writestr("__MACOSX/some/._scan.nii.gz", b"shadow")
    volume = read_volume(tmp_path / "scan.zip")
    np.testing.assert_array_equal(volume.data, series.data)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)


def test_zip_with_several_files_or_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.nii.gz", b"x")
        archive.writestr("b.nrrd", b"x")
    assert "2 image file(s)" in refusal(tmp_path / "two.zip", UnsupportedScan)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", b"nothing")
    refusal(tmp_path / "none.zip", UnreadableScan)


def test_zip_errors_name_the_archive_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("broken.nii.gz", b"no image at all")
    message = refusal(tmp_path / "scan.zip", UnreadableScan)
    assert "tmp" not in message.replace(str(tmp_path), "")


def test_zip_cannot_write_outside_its_temporary_folder(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "series")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for number, file in enumerate(sorted(folder.iterdir())):
            archive.write(file, f"../../../../{tmp_path}/escaped{number}.dcm")
    assert read_volume(tmp_path / "scan.zip").provenance.format == "DICOM"
    assert not list(tmp_path.glob("escaped*"))


def test_damaged_zip(tmp_path: Path) -> None:
    archive = zipped(Series().write(tmp_path / "series"), tmp_path / "scan.zip")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in refusal(archive, UnreadableScan)


def test_a_series_of_a_whole_head_is_the_head(sample_head: Path, sample_series: Path) -> None:
    volume, expected = read_volume(sample_series), read_volume(sample_head)
    assert volume.provenance.format == "DICOM"
    assert volume.provenance.interpolated_slices == 0
    to_expected = np.linalg.inv(expected.affine) @ volume.affine
    index = np.stack(np.indices(volume.shape), axis=-1).reshape(-1, 3)
    mapped = index @ to_expected[:3, :3].T + to_expected[:3, 3]
    np.testing.assert_allclose(mapped, np.rint(mapped), atol=0.05)
    found = expected.data[tuple(np.rint(mapped).astype(int).T)]
    np.testing.assert_array_equal(volume.data.ravel(), found)


def test_real_series_from_scanners(shared_data: Path) -> None:
    # Slices in the volume, and those among them that the scanner's files lack.
    counts = {"t2_axial": (56, 1), "t1_sagittal": (35, 0), "pd_axial": (20, 0)}
    for name, (slices, missing) in counts.items():
        volume = read_volume(shared_data / "heads" / f"{name}_dicom.zip")
        assert volume.shape[2] == slices
        assert volume.provenance.interpolated_slices == missing
        assert (np.array(volume.shape) * volume.spacing_mm > 95).all()
