"""Which scans a folder holds: none twice, none lost in silence, no result and no derivative."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ParanasalSSLLib.scans.find import Found, find_scans
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source import ScanSource


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(found: Found, folder: Path) -> list[str]:
    return [scan.path.relative_to(folder).as_posix() for scan in found.scans]


def describe(folder: Path, **more: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "x", **more}))


def test_bids_data_set_gives_its_raw_anatomy_only(tmp_path: Path) -> None:
    describe(tmp_path, BIDSVersion="1.10.0", DatasetType="raw")
    anat = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-a b/anat/sub-02_ses-ab_FLAIR.nii.gz")
    touch(
        tmp_path,
        *anat,
        "sub-01/anat/sub-01_space-MNI_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "sub-01/dwi/sub-01_dwi.nii.gz",
        "derivatives/fmriprep/sub-01/anat/sub-01_T1w.nii.gz",
        "sourcedata/sub-01_T1w.nii.gz",
        ".git/annex/x.nii.gz",
    )
    found = find_scans(tmp_path)
    assert names(found, tmp_path) == list(anat)
    told = " ".join(found.sentences())
    assert "desc-, space-" in told and "(bold)" in told and "(dwi)" in told and "unpacked" in told


def test_tree_of_images_of_all_formats(tmp_path: Path) -> None:
    wanted = ["a b/t1.NII.GZ", "a b/t1.nrrd", "c/d/t1.mha", "c/d/t2.nhdr", "t1.zip"]
    touch(tmp_path, *wanted, "a b/t1_mask.nii.gz", "a b/t1.seg.nrrd", "c/note.txt", "._t1.nii")
    found = find_scans(tmp_path)
    assert names(found, tmp_path) == wanted
    assert found.left_out == {"segmentations or masks, by their names": 2}


def test_results_and_derivatives_in_the_folder_are_no_scans(tmp_path: Path) -> None:
    touch(tmp_path, "t1.nii.gz", "out/sub-0001/sub-0001_report.json")
    touch(tmp_path, "out/sub-0001/sub-0001_desc-residual_map.nii.gz", "other/x.nii", "mine/y.nii")
    describe(tmp_path / "other", DatasetType="derivative")
    assert names(find_scans(tmp_path, tmp_path / "mine"), tmp_path) == ["t1.nii.gz"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_links_are_followed_and_nothing_is_found_twice(tmp_path: Path) -> None:
    study, store = tmp_path / "study", tmp_path / "store"
    touch(study, "a.nii.gz")
    touch(store, "b.nii.gz")
    (study / "linked").symlink_to(store)
    (study / "circle").symlink_to(study)
    (study / "same.nii.gz").symlink_to(study / "a.nii.gz")
    (study / "dead.nii.gz").symlink_to(tmp_path / "nothing")
    found = find_scans(study)
    assert names(found, study) == ["a.nii.gz", "dead.nii.gz", "linked/b.nii.gz"]
    assert any("same.nii.gz" in sentence for sentence in found.sentences())


def test_series_in_one_folder_are_told_apart(tmp_path: Path, files: Any) -> None:
    folder = tmp_path / "patient 1"
    files.series(tags={"SeriesDescription": "T1"}).write(folder, "x")
    series = files.series(data=files.voxels()[::-1], tags={"SeriesNumber": 4})
    series.write(folder, "y")
    files.series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(folder, "z")
    files.series(tags={"Modality": "CT"}).write(folder, "ct")
    found = find_scans(folder)
    assert [scan.about for scan in found.scans] == [
        "series 3, T1 (12 slices)",
        "series 4, T2 axial (12 slices)",
    ]
    told = " ".join(found.sentences())
    assert "overview pictures" in told and "no MR series (CT)" in told
    volume = read_volume(found.scans[1].path, found.scans[1].files)
    np.testing.assert_array_equal(volume.data, series.data)


def test_folder_of_one_series_is_read_as_before(tmp_path: Path, files: Any) -> None:
    folder = files.series().write(tmp_path / "a" / "b").parent
    assert find_scans(folder).scans == [ScanSource(folder)]
    assert find_scans(folder, folder / "results").scans == [ScanSource(folder / "b")]


def test_cd_with_a_directory_of_its_files(tmp_path: Path, files: Any) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    FileDataset("", {}, file_meta=meta, preamble=bytes(128)).save_as(tmp_path / "DICOMDIR")
    touch(tmp_path, "AUTORUN.INF", "VIEWER/viewer.exe", "README")
    for number in range(2):
        files.series().write(tmp_path / "DICOM" / f"PA{number}" / "SE0", "IM")
    for path in (tmp_path / "DICOM").rglob("*.dcm"):
        path.rename(path.with_suffix(""))
    found = find_scans(tmp_path)
    assert names(found, tmp_path) == ["DICOM/PA0/SE0", "DICOM/PA1/SE0"]
    assert not found.left_out


def test_images_and_series_side_by_side(tmp_path: Path, files: Any) -> None:
    files.series().write(tmp_path / "mixed")
    files.save(tmp_path / "mixed" / "t1.nii.gz", files.noise())
    assert len(find_scans(tmp_path).scans) == 2


def test_series_over_several_folders_is_one(tmp_path: Path, files: Any) -> None:
    folder = files.series().write(tmp_path / "one")
    (tmp_path / "two").mkdir()
    for path in sorted(folder.iterdir())[::2]:
        path.rename(tmp_path / "two" / path.name)
    files.save(tmp_path / "t1.nii.gz", files.noise())
    scans = find_scans(tmp_path).scans
    assert [len(scan.files) for scan in scans] == [12, 0]
    assert scans[0].path == tmp_path


def test_copies_are_one_series_and_equal_uids_of_two_patients_are_two(
    tmp_path: Path, files: Any
) -> None:
    first = files.series().write(tmp_path / "a")
    shutil.copytree(first, tmp_path / "b")
    files.series(data=files.voxels() // 2, uid="1.2.3").write(tmp_path / "c")
    files.series(data=files.voxels() // 3, uid="1.2.3").write(tmp_path / "d")
    scans = find_scans(tmp_path).scans
    assert [scan.path.name for scan in scans] == ["a", "c", "d"]
    assert [len(scan.files) for scan in scans] == [12, 12, 12]


def test_damaged_series_is_a_scan_that_will_fail(tmp_path: Path, files: Any) -> None:
    files.series().write(tmp_path / "good")
    bad = files.series().write(tmp_path / "bad")
    first = next(bad.iterdir())
    first.write_bytes(first.read_bytes()[:200])
    assert names(find_scans(tmp_path), tmp_path) == ["bad", "good"]


@pytest.mark.parametrize("content", [(), ("note.txt", "README"), ("derivatives/x.nii.gz",)])
def test_folder_without_scans(tmp_path: Path, content: tuple[str, ...]) -> None:
    touch(tmp_path, *content)
    assert find_scans(tmp_path).scans == []
