"""Scans to a crop store: what is cut, what is written, what survives a stop."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from paranasal_training.data.store import CropStore
from paranasal_training.prepare import parallel, work
from paranasal_training.prepare.config import JitterSd, PrepareConfig
from paranasal_training.prepare.review import ShownScan, label_words
from paranasal_training.prepare.scans import read_scans
from paranasal_training.prepare.site import prepare

import ParanasalSSLLib
from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, write_placement
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadBoxes, BadConfig, BadStore, UnsafeOutput
from ParanasalSSLLib.files import alone
from ParanasalSSLLib.predict import find_sinuses
from ParanasalSSLLib.sinuses import Side

SAMPLE = Path(ParanasalSSLLib.__file__).parent / "data/sample/simulated_head.nii.gz"
CENTERS = {Side.LEFT: np.array([-24.0, 30.0, -20.0]), Side.RIGHT: np.array([24.0, 30.0, -20.0])}


def save_head(path: Path, seed: int = 0, flipped: bool = False) -> Path:
    """A simulated block of tissue with a bright ball in the left sinus and a dark one in the right.

    Flipped: the same anatomy, stored from left to right.
    """
    shape, affine = (60, 60, 60), np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -88.5
    ras = np.indices(shape).reshape(3, -1).T * 3.0 - 88.5
    data = 500 + 50 * np.random.default_rng(seed).random(len(ras))
    for side, value in ((Side.LEFT, 900), (Side.RIGHT, 50)):
        data[np.linalg.norm(ras - CENTERS[side], axis=1) < 15] += value - 500
    data = data.reshape(shape)
    if flipped:
        data, affine = data[::-1], affine @ np.diag([-1.0, 1, 1, 1])
        affine[0, 3] = 88.5
    image = nib.Nifti1Image(np.float32(data), affine)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_boxes(path: Path, shift_mm: float = 0.0, sides: tuple[Side, ...] = tuple(Side)) -> None:
    path.parent.mkdir(exist_ok=True)
    boxes = {s: SinusBox(s, CENTERS[s] + shift_mm, origin="hand") for s in sides}
    write_placement(Placement(boxes), path)


def save_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Scans are done here, one after the other, and their numbers noted.

    No registration is tried, which would find no head in the blocks.
    """
    done: list[int] = []
    lost = Placement({}, Quality("failed", ("No head.",)))
    monkeypatch.setattr(predict, "find_boxes", lambda volume: lost)

    def one_by_one(jobs: list[work.ScanJob], processes: int | None) -> Iterator[work.Outcome]:
        for job in jobs:
            done.append(job.number)
            yield work.do_scan(job)

    monkeypatch.setattr(parallel, "in_parallel", one_by_one)
    return done


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Table of three patients with boxes by hand; the last has no label on the right."""
    for number, name in enumerate(("Ann", "Bob", "Cy")):
        save_head(tmp_path / f"scans/{name}.nii.gz", number, flipped=name == "Bob")
        save_boxes(tmp_path / f"boxes/{name}.mrk.json")
    return save_table(
        tmp_path / "cohort.csv",
        "path,patient,left_class,right_class",
        "scans/Ann.nii.gz,Ann,3,0",
        "scans/Bob.nii.gz,Bob,4,0",
        "scans/Cy.nii.gz,Cy,2,n/a",
    )


def by_hand(site: Path, **options: object) -> PrepareConfig:
    return PrepareConfig(scans=site, boxes=site.parent / "boxes", **options)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- with registration


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
    assert quality["inside_left"][2] < 0.6
    review = cohort.with_name("crops.quality") / "review.md"
    assert "truncated or damaged" in review.read_text()
    assert "box lie inside the image" in review.read_text()


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


# ------------------------------------------------------------------------------- the crop store


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


# ---------------------------------------------------------------------------- stops and changes


def test_stopped_run_is_resumed_where_it_was(
    site: Path, serial: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = site.parent / "crops"

    def stopped(jobs: list[work.ScanJob], processes: int | None) -> Iterator[work.Outcome]:
        yield work.do_scan(jobs[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parallel, "in_parallel", stopped)
        prepare(by_hand(site), output)
    assert not output.exists()
    prepare(by_hand(site), output)
    assert serial == [2, 3]
    assert len(CropStore.open(output).table) == 6
    assert not (site.parent / ".crops.prepare").exists()


def test_what_users_noted_in_the_quality_folder_stays(site: Path, serial: list[int]) -> None:
    output, quality = site.parent / "crops", site.parent / "crops.quality"
    prepare(by_hand(site), output)
    (quality / "notes.txt").write_text("Bob moved")
    with (quality / "review.md").open("a") as review:
        review.write("seen by me")
    for _ in range(2):
        shutil.rmtree(output)
        prepare(by_hand(site), output)
    assert (quality / "notes.txt").read_text() == "Bob moved"
    assert (quality / "edited_review.md").read_text().endswith("seen by me")
    assert "seen by me" not in (quality / "review.md").read_text()
    assert len(list(quality.iterdir())) == 6


def test_an_output_that_another_process_prepares_is_left_to_it(
    site: Path, serial: list[int]
) -> None:
    output = site.parent / "crops"
    with alone(output, purpose="prepare."), pytest.raises(UnsafeOutput, match="another process"):
        prepare(by_hand(site), output)
    prepare(by_hand(site), output)
    assert [path.name for path in site.parent.glob(".*")] == []


def test_scan_is_done_again_only_when_something_changed(site: Path, serial: list[int]) -> None:
    folder = site.parent / "work"

    def jobs(jitter: int = 0) -> list[work.ScanJob]:
        boxes = Placement({s: SinusBox(s, c) for s, c in CENTERS.items()})
        return [
            work.plan_job(scan, folder, jitter, JitterSd(), 0, boxes) for scan in read_scans(site)
        ]

    def redone(planned: list[work.ScanJob]) -> list[int]:
        serial.clear()
        parallel.do_scans(planned, 1)
        return list(serial)

    assert redone(jobs()) == [1, 2, 3]
    save_table(site, *reversed(site.read_text().splitlines()[1:]))
    text = site.read_text()
    save_table(site, "path,patient,left_class,right_class", text)
    assert redone(jobs()) == []
    save_head(site.parent / "scans/Bob.nii.gz", seed=9)
    assert redone(jobs()) == [2]
    next(folder.glob("*.npz")).write_bytes(b"half")
    assert len(redone(jobs())) == 1
    assert redone(jobs(jitter=1)) == [1, 2, 3]


def test_result_that_cannot_be_written_stops_with_words(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(job: work.ScanJob, *_: object) -> None:
        raise OSError(28, "No space left on device")

    class Here:
        """Runs at once what is submitted."""

        def __init__(self, *_: object) -> None: ...

        def submit(self, function: object, job: work.ScanJob) -> parallel.Future[work.Outcome]:
            future: parallel.Future[work.Outcome] = parallel.Future()
            try:
                future.set_result(work.do_scan(job))
            except OSError as error:
                future.set_exception(error)
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(work, "write_result", full)
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Here)
    with pytest.raises(BadStore, match=r"No space left on device.*the same command resumes"):
        prepare(by_hand(site), site.parent / "crops")


def test_full_disk_is_seen_beforehand(
    site: Path, serial: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1_000_000))
    with pytest.raises(BadStore, match="GB are free"):
        prepare(by_hand(site, jitter=15), site.parent / "crops")
    assert serial == []


def test_store_without_a_crop_is_refused_but_said_why(tmp_path: Path, serial: list[int]) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    table = save_table(tmp_path / "t.tsv", "path\tpatient", "a.nii.gz\tA")
    with pytest.raises(BadStore, match="None of the 1 scans"):
        prepare(PrepareConfig(table), tmp_path / "crops")
    assert "is empty" in (tmp_path / "crops.quality/review.md").read_text()


# ------------------------------------------------------------------------------------ bad input


HEAD = "path,patient,left_class,right_class"
A, B = "scans/Ann.nii.gz", "scans/Bob.nii.gz"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path;patient", f"{A};Ann"], "lacks the column path and patient; found.*path;patient"),
        ([HEAD], "is empty"),
        ([HEAD, f"{A},Ann,0,0", f"scans/../{A},Bob,0,0"], "line 3.*line 2 .*already"),
        ([HEAD, f"{A},Ann,0,0", f"{B},Ann,0,4"], "line 3.*right label of patient Ann.*line 2"),
        ([HEAD, f"{A},Ann,0,0", "no.nii.gz,Bob,0,0"], "line 3.*no.nii.gz does not exist"),
        ([HEAD, f"{A},Ann,0,cyst"], "line 2.*right_class is 'cyst'.*3 cyst"),
        ([HEAD, f"{A},Ann,0,5"], "line 2.*right_class is '5'"),
        ([HEAD, f"{A},Ann,0"], "line 2.*4 cells"),
        ([HEAD, f"{A},,0,0"], "line 2.*patient is empty"),
        (["path,patient,L,R", f"{A},Ann,0,0"], "column L is not known.*left_class"),
        (["path,patient,right,left", f"{A},Ann,0,0"], "column right is not known"),
        (["path,patient,left_class", f"{A},Ann,0"], "left_class do not go together"),
        ([f"{HEAD},left_label", f"{A},Ann,0,0,0"], "do not go together"),
        ([f"{HEAD},split", f"{A},Ann,0,0,dev"], "split is 'dev'"),
        ([f"{HEAD},split", f"{A},Ann,,,test"], "split test, but has no label"),
        (
            [f"{HEAD},split", f"{A},Ann,0,0,train", f"{B},Ann,0,0,test"],
            "line 3.*patient Ann is in the split test, but in train",
        ),
    ],
)
def test_bad_tables_are_refused_by_line(site: Path, lines: list[str], said: str) -> None:
    save_table(site, *lines)
    with pytest.raises(BadConfig, match=said):
        prepare(PrepareConfig(site), site.parent / "crops")


def test_numbers_as_spreadsheets_write_them_are_labels(site: Path) -> None:
    save_table(site, "path,patient,left_label,right_label", f"{A},Ann,1.0,0.0", f"{B},Bob,,N/A")
    first, second = read_scans(site)
    assert (first.labels[Side.LEFT].label, first.labels[Side.LEFT].kind) == (1, None)
    assert (first.labels[Side.RIGHT].label, first.labels[Side.RIGHT].kind) == (0, 0)
    assert second.labels == {}


def test_other_contradictions_are_refused(site: Path) -> None:
    folder = site.parent
    with pytest.raises(BadStore, match="is there already"):
        prepare(PrepareConfig(site), folder / "scans")
    (folder / "x.quality").touch()
    with pytest.raises(UnsafeOutput, match="no folder"):
        prepare(PrepareConfig(site), folder / "x")
    with pytest.raises(BadConfig, match="would lie in the store"):
        prepare(PrepareConfig(site, key=folder / "crops/key.csv"), folder / "crops")
    with pytest.raises(BadConfig, match="is there already, for other scans"):
        prepare(PrepareConfig(site, key=site), folder / "crops")
    with pytest.raises(BadConfig, match="no BIDS folder and no table"):
        prepare(PrepareConfig(SAMPLE), folder / "crops")
    with pytest.raises(BadConfig, match="chooses files of a BIDS folder"):
        prepare(PrepareConfig(site, suffix="T1w"), folder / "crops")
    save_boxes(folder / "boxes/Dan.mrk.json")
    with pytest.raises(BadConfig, match=r"Dan.mrk.json fits no patient"):
        prepare(by_hand(site), folder / "crops")
    (folder / "boxes/Dan.mrk.json").unlink()
    (folder / "boxes/Cy.mrk.json").write_text("{}")
    with pytest.raises(BadBoxes, match=r"Cy.mrk.json"):
        prepare(by_hand(site), folder / "crops")


@pytest.mark.parametrize(
    "options",
    [
        {"jitter": -1},
        {"processes": 0},
        {"jitter_sd": JitterSd(left_mm=(-1.0, 0.0, 0.0))},
    ],
)
def test_values_that_make_no_sense_are_refused(site: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadConfig):
        by_hand(site, **options)
