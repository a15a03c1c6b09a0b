"""Reading of a DICOM series: the right slices in the right place, or a clear refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from ParanasalSSLLib.errors import SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Provenance


def test_folder_zip_and_nifti_show_the_same_voxel_at_the_same_place(
    tmp_path: Path, slice_axes: np.ndarray, files: Any
) -> None:
    series = files.series(axes_lps=slice_axes)
    folder = series.write(tmp_path / "study" / "series")
    image = nib.Nifti1Image(series.data, series.affine)
    image.set_sform(series.affine, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    archive = files.zipped(folder, tmp_path / "scan.zip", inner="patient/series/")
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


def test_axes_along_the_normal_give_nifti_s_own_affine(tmp_path: Path, files: Any) -> None:
    series = files.series(axes_lps=files.slice_axes["oblique"])
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.data, series.data)


def test_agrees_with_itk_s_reader(tmp_path: Path, files: Any) -> None:
    folder = files.series(axes_lps=files.slice_axes["oblique"]).write(tmp_path / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_volume(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), volume.data)
    corner = np.array(image.TransformIndexToPhysicalPoint((19, 0, 11))) * (-1, -1, 1)
    np.testing.assert_allclose((volume.affine @ (19, 0, 11, 1))[:3], corner, atol=1e-3)


def test_no_identity_is_kept(tmp_path: Path, files: Any) -> None:
    folder = files.series().write(tmp_path / "Doe_Jane_4711")
    source = read_volume(folder).provenance
    assert source == Provenance("DICOM", "MR") and source.description == "series 3, T2 axial"


@pytest.mark.parametrize("words", ["FLAIR of DOE", "4711 t1", "t2_19700101"])
def test_description_that_names_the_patient_is_withheld(
    tmp_path: Path, files: Any, words: str
) -> None:
    folder = files.series(tags={"SeriesDescription": words}).write(tmp_path / "a")
    assert read_volume(folder).provenance.description == "series 3, description withheld"


@pytest.mark.parametrize(
    ("words", "told"), [("T2 NG LI", "description withheld"), ("T2 orbital", "T2 orbital")]
)
def test_a_name_of_two_letters_is_one_only_where_it_stands_alone(
    tmp_path: Path, files: Any, words: str, told: str
) -> None:
    tags = {"SeriesDescription": words, "PatientName": "Ng^Li"}
    folder = files.series(tags=tags).write(tmp_path / "a")
    assert read_volume(folder).provenance.description == f"series 3, {told}"


def test_rescaling_is_applied_per_slice(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 0.5 * (place + 1), -3

    series = files.series(change=change)
    volume = read_volume(series.write(tmp_path / "series"))
    slopes = 0.5 * (np.arange(series.data.shape[2]) + 1)
    np.testing.assert_allclose(volume.data, series.data * slopes - 3, rtol=1e-6)


def test_zero_slope_is_taken_as_written(tmp_path: Path, files: Any) -> None:
    def change(_place: int, slice_: FileDataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 0, 5

    folder = files.series(change=change).write(tmp_path / "series")
    assert "every voxel" in files.refusal(folder, UnsupportedScan)


def test_losslessly_compressed_slices_are_the_same(tmp_path: Path, files: Any) -> None:
    series = files.series(data=files.voxels() // 8)
    series.change = lambda _place, slice_: slice_.compress(RLELossless)
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, series.data)


def test_other_files_and_doubles_beside_the_slices_do_no_harm(tmp_path: Path, files: Any) -> None:
    series = files.series()
    folder = series.write(tmp_path / "series")
    (folder / "notes.txt").write_text("x" * 500, encoding="utf-8")
    (folder / ".DS_Store").write_bytes(b"")
    copies = folder / "again"
    copies.mkdir()
    for file in folder.glob("*.dcm"):
        (copies / file.name).write_bytes(file.read_bytes())
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


def test_localizer_pictures_and_other_modalities_are_passed_over(
    tmp_path: Path, files: Any
) -> None:
    series = files.series()
    folder = series.write(tmp_path / "study")
    files.series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(
        folder, "localizer"
    )
    files.series(tags={"Modality": "CT"}).write(folder, "ct")
    files.series(data=files.voxels((20, 22, 1))).write(folder, "picture")
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


@pytest.mark.parametrize("as_zip", [False, True])
def test_several_series(tmp_path: Path, as_zip: bool, files: Any) -> None:
    folder = files.series(tags={"SeriesDescription": "T1 sagittal"}).write(
        tmp_path / "study", "one"
    )
    files.series(tags={"SeriesNumber": 7}).write(folder, "two")
    path = files.zipped(folder, tmp_path / "study.zip") if as_zip else folder
    message = files.refusal(path, SeveralSeries)
    assert "series 3, T1 sagittal (12 slices)" in message
    assert "series 7, T2 axial (12 slices)" in message


@pytest.mark.parametrize(("modality", "word"), [("CT", "is a CT"), ("PT", "modality PT")])
def test_other_modalities(tmp_path: Path, modality: str, word: str, files: Any) -> None:
    folder = files.series(tags={"Modality": modality}).write(tmp_path / "series")
    assert word in files.refusal(folder, UnsupportedScan)


def test_colour_pictures(tmp_path: Path, files: Any) -> None:
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    folder = files.series(tags=tags).write(tmp_path / "series")
    assert "colour" in files.refusal(folder, UnsupportedScan)


def test_multi_frame_file(tmp_path: Path, files: Any) -> None:
    folder = tmp_path / "series"
    files.series(data=files.voxels((20, 22, 1)), tags={"NumberOfFrames": 40}).write(folder)
    assert "dcm2niix" in files.refusal(folder, UnsupportedScan)
    assert "dcm2niix" in files.refusal(folder / "slice000.dcm", UnsupportedScan)


def test_too_few_slices(tmp_path: Path, files: Any) -> None:
    folder = files.series(data=files.voxels((20, 22, 3))).write(tmp_path / "series")
    assert "at least 8 slices" in files.refusal(folder, UnsupportedScan)


def test_folders_without_dicom(tmp_path: Path, files: Any) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "folder of one series" in files.refusal(folder, UnreadableScan)
    (folder / "notes.txt").write_text("nothing", encoding="utf-8")
    assert "folder of one series" in files.refusal(folder, UnreadableScan)
    (folder / "scan.nii.gz").write_bytes(b"x")
    assert "one of the image files" in files.refusal(folder, UnreadableScan)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_slice(tmp_path: Path, share: float, files: Any) -> None:
    folder = files.series().write(tmp_path / "series")
    victim = sorted(folder.iterdir())[5]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((UnreadableScan, UnsupportedScan)) as caught:
        read_volume(folder)
    assert str(folder) in str(caught.value)


def test_a_series_of_a_whole_head_is_the_head(sample_head: Path, sample_series: Path) -> None:
    volume, expected = read_volume(sample_series), read_volume(sample_head)
    assert volume.provenance.format == "DICOM"
    assert volume.provenance.interpolated_slices == ()
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
        assert len(volume.provenance.interpolated_slices) == missing
        assert (np.array(volume.shape) * volume.spacing_mm > 95).all()


def test_folders_that_are_linked_are_searched_once(tmp_path: Path, files: Any) -> None:
    series = files.series()
    elsewhere = series.write(tmp_path / "elsewhere" / "series").parent
    files.series().write(tmp_path / "study" / "other")
    folder = tmp_path / "study" / "patient"
    folder.mkdir()
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "again").symlink_to(elsewhere / "series", target_is_directory=True)
    (folder / "self").symlink_to(folder, target_is_directory=True)
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    np.testing.assert_array_equal(read_volume(folder).data, series.data)


def test_slices_of_two_patients_make_no_head(tmp_path: Path, files: Any) -> None:
    """Their places fit together: nothing else would tell them apart."""

    def every_other(place: int, data: FileDataset) -> None:
        data.PatientID = f"4711-{place % 2}"

    mixed = files.series(change=every_other).write(tmp_path / "mixed")
    message = files.refusal(mixed, UnsupportedScan)
    assert "2 different patient IDs in one series" in message and "4711" not in message

    def some_without(place: int, data: FileDataset) -> None:
        data.PatientID = "4711 " if place % 2 else ""

    series = files.series(change=some_without)
    volume = read_volume(series.write(tmp_path / "anonymised in part"))
    assert volume.data.shape == series.data.shape
