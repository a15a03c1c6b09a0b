"""Scans to a crop store: what is cut and what is written."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from paranasal_training.data.store import CropStore
from paranasal_training.prepare import work
from paranasal_training.prepare.config import JitterSd, PrepareConfig
from paranasal_training.prepare.review import ShownScan, label_words
from paranasal_training.prepare.scans import read_scans
from paranasal_training.prepare.site import prepare
from site_scans import CENTERS, SAMPLE, by_hand, save_boxes, save_head, save_table

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.predict import find_sinuses
from ParanasalSSLLib.sinuses import Side


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of the sample head, prepared once by the processes, beside two scans that fail."""
    folder = tmp_path_factory.mktemp("cohort")
    shutil.copy(SAMPLE, folder / "Doe.nii.gz")
    (folder / "Roe.nii.gz").write_bytes(b"no scan")
    save_head(folder / "Poe.nii.gz")
    save_boxes(folder / "boxes/Poe.json", shift_mm=90.0)
    table = save_table(
        folder / "cohort.csv",
        "path,patient,left_class,right_class,age",
        "Roe.nii.gz,Roe,0,0,61",
        "Doe.nii.gz,Doe,3,0,62",
        "Poe.nii.gz,Poe,,,63",
    )
    return prepare(
        PrepareConfig(table, boxes=folder / "boxes", jitter=1, processes=2), folder / "crops"
    )


def test_crops_are_those_of_predict(cohort: Path) -> None:
    store = CropStore.open(cohort)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # as in the processes: last bits differ
    try:
        found = find_sinuses(SAMPLE)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert (
        found.placement.boxes[Side.LEFT].center_ras_mm[0]
        < found.placement.boxes[Side.RIGHT].center_ras_mm[0]
    )
    for row in store.rows():
        side = Side(store.table["side"][row])
        expected = np.round(cut_crop(found.volume, found.placement.boxes[side]).data * 255)
        np.testing.assert_array_equal(store.crops[row], expected)


def test_scans_that_fail_are_listed_and_the_rest_is_done(cohort: Path) -> None:
    table = CropStore.open(cohort).table
    assert set(table["patient"]) == {"p0002"}
    assert table[["side", "jitter", "class", "label"]].to_numpy().tolist() == [
        *(["left", 0, 3, 1], ["left", 1, 3, 1]),
        *(["right", 0, 0, 0], ["right", 1, 0, 0]),
    ]
    quality = pd.read_csv(cohort.with_name("crops.quality") / "quality.csv")
    assert quality["verdict"].tolist() == ["failed", "ok", "failed"]
    assert quality["error"].tolist()[::2] == ["UnreadableScan", "SinusOutsideImage"]
    assert quality["mutual_information"][1] > 0.6
    assert quality["visible_left"][2] < 0.35
    review = cohort.with_name("crops.quality") / "review.md"
    assert "truncated or damaged" in review.read_text()
    assert "box lies outside the image" in review.read_text()


def test_nothing_written_names_a_patient_or_a_path(cohort: Path) -> None:
    quality = cohort.with_name("crops.quality")
    for path in [*cohort.glob("*.csv"), *cohort.glob("*.json"), *quality.glob("*.[cm]*")]:
        text = path.read_text()
        assert not any(word in text for word in ("Doe", "Roe", "Poe", str(cohort.parent)))


def test_every_scan_is_on_a_sheet(cohort: Path) -> None:
    (sheet,) = cohort.with_name("crops.quality").glob("boxes-*.png")
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["sample", "heads/t1_sagittal_dicom.zip"])
def test_a_real_series_is_cut_as_predict_cuts_it(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    if name == "sample":
        series = request.getfixturevalue("sample_series")
    else:
        series = request.getfixturevalue("shared_data") / name
    table = save_table(tmp_path / "t.csv", "path,patient", f"{series},A")
    (scan,) = read_scans(table)
    job = work.plan_job(scan, tmp_path, 0, JitterSd(), 0, None)
    outcome = work.do_scan(job)
    found = find_sinuses(series)
    assert (outcome.format, outcome.modality, outcome.verdict) == ("DICOM", "MR", "ok")
    for crop, (side, _) in zip(work.read_crops(job, outcome).crops, outcome.crops, strict=True):
        expected = cut_crop(found.volume, found.placement.boxes[Side(side)]).data
        # Sums in the registration depend on the number of threads, in the last digits.
        difference = np.abs(crop - np.round(expected * 255))
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_labels_are_of_the_patients_sides_however_the_scan_is_stored(
    site: Path, serial: list[int]
) -> None:
    store = CropStore.open(prepare(by_hand(site), site.parent / "crops"))
    middle = store.crops[:, 32, 32, 32]
    assert (middle[store.table["side"] == "left"] > 200).all()
    assert (middle[store.table["side"] == "right"] < 50).all()
    assert store.table["class"].astype(object).fillna("").tolist() == [3, 0, 4, 0, 2, ""]
    assert store.table["split"].tolist() == ["labelled"] * 5 + ["unlabelled"]
    digests = [hashlib.sha256(crop.tobytes()).hexdigest() for crop in store.crops]
    assert store.table["checksum"].tolist() == digests


def test_bids_folder_and_table_give_the_same_crops(site: Path, serial: list[int]) -> None:
    bids = site.parent / "bids"
    for name in ("Ann", "Bob", "Cy"):
        anat = bids / f"sub-{name}" / ("ses-1/anat" if name == "Bob" else "anat")
        session = "_ses-1" if name == "Bob" else ""
        anat.mkdir(parents=True)
        shutil.copy(site.parent / f"scans/{name}.nii.gz", anat / f"sub-{name}{session}_T1w.nii.gz")
        save_boxes(site.parent / f"bids_boxes/sub-{name}.json")
    (bids / "participants.tsv").write_text(
        "participant_id\tleft_class\tright_class\tright_handed\n"
        "sub-Ann\t3\t0\tyes\nsub-Bob\t4\t0\tno\nsub-Cy\t2\tn/a\tyes\n"
    )
    config = PrepareConfig(bids, boxes=site.parent / "bids_boxes", keep_ids=True)
    from_bids = CropStore.open(prepare(config, site.parent / "a"))
    from_table = CropStore.open(prepare(by_hand(site), site.parent / "b"))
    np.testing.assert_array_equal(from_bids.crops, from_table.crops)
    assert from_bids.table["patient"].unique().tolist() == ["sub-Ann", "sub-Bob", "sub-Cy"]
    assert set(from_bids.table["modality"]) == {"T1w"}
    same = ["side", "class", "label", "split", "quality", "checksum"]
    pd.testing.assert_frame_equal(from_bids.table[same], from_table.table[same])


def test_given_split_is_taken_and_what_is_held_back_stays_so(site: Path, serial: list[int]) -> None:
    lines = site.read_text().splitlines()
    splits = ["split", "train", "validation", "test"]
    save_table(site, *(f"{a},{b}" for a, b in zip(lines, splits, strict=True)))
    table = CropStore.open(prepare(by_hand(site), site.parent / "crops")).table
    assert table["split"].tolist() == ["train"] * 2 + ["validation"] * 2 + ["test"]
    review = (site.parent / "crops.quality/review.md").read_text()
    assert "The right sinus has no label, but its patient is in test." in review


def test_jittered_crops_are_of_boxes_shifted_as_configured() -> None:
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    box = SinusBox(Side.RIGHT, CENTERS[Side.RIGHT], turned)
    boxes = work.shifted_boxes(box, 4000, JitterSd(), (0, 1))
    shifts = np.array([turned.T @ (b.center_ras_mm - box.center_ras_mm) for b in boxes])
    np.testing.assert_allclose(shifts.std(axis=0), (1.4, 1.3, 4.9), rtol=0.05)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.3)
    fewer = work.shifted_boxes(box, 2, JitterSd(), (0, 1))
    assert [b.center_ras_mm.tolist() for b in fewer] == [
        b.center_ras_mm.tolist() for b in boxes[:2]
    ]


def test_jitter_adds_rows_and_leaves_the_first_crop_as_it_is(site: Path, serial: list[int]) -> None:
    save_table(site, *site.read_text().splitlines()[:2])
    for name in ("Bob", "Cy"):
        (site.parent / f"boxes/{name}.mrk.json").unlink()
    plain = CropStore.open(prepare(by_hand(site), site.parent / "a"))
    more = CropStore.open(prepare(by_hand(site, jitter=2), site.parent / "b"))
    assert more.table["jitter"].tolist() == [0, 1, 2] * 2
    np.testing.assert_array_equal(more.crops[more.rows()], plain.crops)
    assert more.table["checksum"].nunique() == 6
    again = CropStore.open(prepare(by_hand(site, jitter=2), site.parent / "c"))
    assert again.checksum == more.checksum


def test_box_by_hand_takes_the_place_of_the_registration(site: Path, serial: list[int]) -> None:
    (site.parent / "boxes/Ann.mrk.json").unlink()
    save_boxes(site.parent / "boxes/Ann_left.mrk.json", 2.0, (Side.LEFT,))
    save_boxes(site.parent / "boxes/Ann_right.mrk.json", 0.0, (Side.RIGHT,))
    store = CropStore.open(prepare(by_hand(site), site.parent / "crops"))
    ball = np.argwhere(store.crops[0] > 200).mean(axis=0)
    np.testing.assert_allclose(ball, 31.5 - 2.0, atol=0.3)


def test_a_scan_copied_under_another_patient_is_refused_with_both_lines(
    site: Path, serial: list[int]
) -> None:
    for pattern in ("scans/{}.nii.gz", "boxes/{}.mrk.json"):
        shutil.copy(site.parent / pattern.format("Ann"), site.parent / pattern.format("Cy"))
    with pytest.raises(
        BadConfig,
        match=r"line 4 of cohort.csv: scans/Cy.nii.gz of patient Cy is a copy of scans/Ann.nii.gz "
        r"of patient Ann \(line 2 of cohort.csv\)",
    ):
        prepare(by_hand(site), site.parent / "crops")
    assert not (site.parent / "crops").exists()


def test_the_sheet_says_each_side_s_label_so_that_swapped_ones_are_seen(site: Path) -> None:
    scans = read_scans(site)
    words = [
        [
            label_words(ShownScan("p", work.Outcome(1, "ok"), labels=scan.labels), side)
            for side in Side
        ]
        for scan in scans
    ]
    assert words == [
        ["left: anomalous, cyst", "right: normal"],
        ["left: anomalous, full", "right: normal"],
        ["left: anomalous, polyp", "right: unlabelled"],
    ]


def test_key_is_written_where_it_is_asked_for(site: Path, serial: list[int]) -> None:
    key = site.parent / "private/key.csv"
    prepare(by_hand(site, key=key), site.parent / "crops")
    lines = list(csv.DictReader(key.open()))
    assert lines[1] == {
        "scan": "2",
        "patient": "p0002",
        "source_patient": "Bob",
        "path": "scans/Bob.nii.gz",
    }
