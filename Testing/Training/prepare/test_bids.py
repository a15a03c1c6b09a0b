"""BIDS folders as real archives have them: no scan too many, no label lost without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from paranasal_training.prepare.config import PrepareConfig
from paranasal_training.prepare.scans import Scan, read_scans
from paranasal_training.prepare.site import prepare
from paranasal_training.prepare.work import do_scan, plan_job

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Side

HEAD = "participant_id\tleft_label\tright_label"


def make_bids(folder: Path, *files: str, lines: tuple[str, ...] = ()) -> Path:
    """A data set of empty files; `sub-01` alone stands for sub-01/anat/sub-01_T1w.nii.gz."""
    for file in files:
        path = folder / (file if "/" in file else f"{file}/anat/{file}_T1w.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if lines:
        (folder / "participants.tsv").write_text("\n".join([HEAD, *lines]) + "\n")
    return folder


def read(folder: Path) -> tuple[list[Scan], str]:
    """The scans, and all that was told."""
    told: list[str] = []
    return read_scans(folder, tell=told.append), "\n".join(told)


def labels(scans: list[Scan]) -> dict[str, list[int]]:
    """Left and right label by patient; empty where there is none."""
    return {
        scan.patient: [scan.labels[side].label for side in Side if side in scan.labels]
        for scan in scans
    }


# -------------------------------------------------------------------------------- participants


@pytest.mark.parametrize("ids", [("1", "2"), ("sub-1", "sub-2"), ("01", "2.0"), ("SUB-01", "002")])
def test_ids_that_a_spreadsheet_changed_keep_their_labels(
    tmp_path: Path, ids: tuple[str, str]
) -> None:
    lines = f"{ids[0]}\t0\t1", f"{ids[1]}\t1\t1", "sub-10\t0\t0"
    scans, told = read(make_bids(tmp_path, "sub-01", "sub-02", "sub-10", lines=lines))
    by_patient = {scan.patient: scan.labels for scan in scans}
    assert by_patient["sub-01"][Side.LEFT].label == 0
    assert by_patient["sub-01"][Side.RIGHT].label == 1
    assert [len(found) for found in by_patient.values()] == [2, 2, 2]
    assert f"{ids[0]} is sub-01, {ids[1]} is sub-02" in told or f"{ids[1]} is sub-02" in told
    assert "sub-10" not in told


ROWS = "participant_id\tleft_label\tright_label\nsub-01\t0\t1\nsub-02\t1\t0\n"
TABLES = {
    "as it should be": ROWS.encode(),
    "byte order mark, CRLF": b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode(),
    "CR alone": ROWS.replace("\n", "\r").encode(),
    "a quoted note": ROWS.replace("label\n", "label\tnote\n")
    .replace("\t1\n", '\t1\t"a\tb"\n')
    .replace("\t0\n", "\t0\tn/a\n")
    .encode(),
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_tables_as_programs_write_them(tmp_path: Path, content: bytes) -> None:
    folder = make_bids(tmp_path, "sub-01", "sub-02")
    (folder / "participants.tsv").write_bytes(content)
    assert labels(read(folder)[0]) == {"sub-01": [0, 1], "sub-02": [1, 0]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROWS.encode("utf-16"), "UTF-8"),
        (ROWS.replace("\t0\t1", "\tnormal\tyes").encode(), "line 2 .* 'normal'"),
        (ROWS.replace("\t1\t0", "\tNaN\t0").encode(), "line 3 .* 'NaN'"),
        (ROWS.replace("\n", "\t\n").encode(), "a column without a name"),
    ],
    ids=["UTF-16", "words", "NaN", "a tab at the end"],
)
def test_tables_that_leave_labels_to_a_guess_are_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    folder = make_bids(tmp_path, "sub-01", "sub-02")
    (folder / "participants.tsv").write_bytes(content)
    with pytest.raises(BadConfig, match=said):
        read(folder)


def test_sessions_and_runs_have_the_labels_of_their_person(tmp_path: Path) -> None:
    files = [
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w.nii.gz",
        "sub-02/anat/sub-02_acq-hires_T1w.nii.gz",
    ]
    scans, told = read(make_bids(tmp_path, *files, lines=("sub-01\t0\t1", "sub-02\t1\t0")))
    assert [scan.patient for scan in scans] == ["sub-01", "sub-01", "sub-02"]
    assert all(len(scan.labels) == 2 for scan in scans) and told == ""


def test_ids_as_they_stand_are_taken_without_a_word(tmp_path: Path) -> None:
    lines = "sub-1\t0\t0", "sub-01\t1\t1"
    scans, told = read(make_bids(tmp_path, "sub-1", "sub-01", lines=lines))
    assert labels(scans) == {"sub-1": [0, 0], "sub-01": [1, 1]}
    assert told == ""


@pytest.mark.parametrize(
    ("folders", "lines"),
    [
        (("sub-01", "sub-001"), ("1\t0\t0",)),
        (("sub-01",), ("1\t0\t0", "sub-001\t1\t1")),
        (("sub-1", "sub-01"), ("sub-1\t0\t0", "sub-001\t1\t1")),
        (("sub-A1", "sub-a1"), ("A1\t0\t0",)),
        (("sub-01", "sub-001/anat/sub-001_T2w.nii"), ("1\t0\t0",)),
    ],
)
def test_ids_that_could_mean_several_are_refused(
    tmp_path: Path, folders: tuple[str, ...], lines: tuple[str, ...]
) -> None:
    make_bids(tmp_path, *folders, lines=lines)
    with pytest.raises(BadConfig, match=r"could mean .* in several ways"):
        read_scans(tmp_path, "T1w")


def test_every_line_and_every_scan_without_a_partner_is_named(tmp_path: Path) -> None:
    lines = "sub-01\t0\t1", "sub-98\t0\t1", "sub-99\tn/a\t1"
    _, told = read(make_bids(tmp_path / "a", "sub-01", lines=lines))
    assert "without a folder, not used: sub-98, sub-99." in told
    scans, told = read(make_bids(tmp_path / "b", "sub-01", "sub-02", "sub-03", lines=lines[:1]))
    assert "Scans without a line in participants.tsv, hence without labels: sub-02, sub-03." in told
    assert [bool(scan.remark) for scan in scans] == [False, True, True]
    flair = "sub-02/anat/sub-02_FLAIR.nii"
    _, told = read(make_bids(tmp_path / "c", "sub-01", flair, lines=("sub-01\t0\t1", "2\t1\t1")))
    assert "No FLAIR scan in: sub-01." in told


def test_labels_and_scans_that_find_no_partner_are_refused_by_name(tmp_path: Path) -> None:
    lines = "sub-01\t0\t1", "S2\t0\t1", "S3\t0\t1"
    make_bids(tmp_path, "sub-01", "sub-02", "sub-03", lines=lines)
    with pytest.raises(BadConfig, match=r"folder: S2, S3\. .* line: sub-02, sub-03\."):
        read_scans(tmp_path)


def test_a_participant_twice_is_refused(tmp_path: Path) -> None:
    make_bids(tmp_path, "sub-1", lines=("sub-1\t0\t0", "sub-1\t0\t0"))
    with pytest.raises(BadConfig, match=r"line 3 of participants.tsv: sub-1 was on line 2"):
        read_scans(tmp_path)


def test_a_table_without_labels_need_not_fit(tmp_path: Path) -> None:
    folder = make_bids(tmp_path, "sub-01")
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-77\t61\n")
    scans, told = read(folder)
    assert scans[0].labels == {} and "no columns of labels" in told and "sub-77" not in told


# --------------------------------------------------------------------------------------- files


def test_images_made_from_raw_scans_are_no_further_scans(tmp_path: Path) -> None:
    anat = "sub-01/anat/sub-01"
    derived = [
        *(f"{anat}_desc-preproc_T1w.nii.gz", f"{anat}_space-MNI_T1w.nii.gz", f"{anat}_T1w.nii"),
        *(f"{anat}_acq-x_space-MNI_res-2_T1w.nii.gz", f"{anat}_desc-brain_mask.nii.gz"),
        *(
            f"{anat}_part-phase_T1w.nii.gz",
            f"{anat}_T1w_brain.nii.gz",
            f"{anat[:-6]}._sub-01_T1w.nii",
        ),
    ]
    raw = [f"{anat}_T1w.nii.gz", f"{anat}_run-2_rec-norm_T1w.nii.gz", f"{anat}_part-mag_T1w.nii.gz"]
    scans, told = read(make_bids(tmp_path, *raw, *derived))
    assert sorted(scan.name for scan in scans) == sorted(raw)
    assert "the same scan: 6, such as sub-01_" in told
    assert "BIDS names scans: 1, such as sub-01_T1w_brain.nii.gz" in told


def test_a_data_set_of_derivatives_alone_is_refused(tmp_path: Path) -> None:
    make_bids(tmp_path, "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    with pytest.raises(BadConfig, match="holds no raw"):
        read_scans(tmp_path)


@pytest.mark.parametrize(
    ("files", "suffix", "said"),
    [
        ([], None, "no raw FLAIR, T1w, T2w or PDw scan.*suffixes found: none"),
        (["bold"], None, r"suffixes found: bold \(1 files\)"),
        (["T1w", "T2w"], None, "no FLAIR, but T1w.*T2w.*choose one with suffix"),
        (["FLAIR"], "T1w", r"no raw T1w scan.*suffixes found: FLAIR \(1 files\)"),
    ],
)
def test_a_folder_without_the_scans_says_what_there_is(
    tmp_path: Path, files: list[str], suffix: str | None, said: str
) -> None:
    make_bids(tmp_path, *(f"sub-1/anat/sub-1_run-1_{name}.nii" for name in files))
    with pytest.raises(BadConfig, match=said):
        prepare(PrepareConfig(tmp_path, suffix), tmp_path / "crops")


def test_a_dead_link_is_one_scan_s_trouble(tmp_path: Path) -> None:
    folder = make_bids(tmp_path, "sub-01", "sub-02")
    for name in ("sub-03", "sub-04"):
        path = folder / name / "anat" / f"{name}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        path.symlink_to("../../.git/annex/objects/gone.nii.gz")
    scans, _ = read(folder)
    assert len(scans) == 4
    outcome = do_scan(
        plan_job(scans[2], tmp_path / "work", 0, PrepareConfig(folder).jitter_sd, 0, None)
    )
    assert outcome.verdict == "failed"
    assert "leads nowhere" in outcome.reasons[0] and "sub-03" not in outcome.reasons[0]
    for name in ("sub-01", "sub-02"):
        os.remove(scans[int(name[-1]) - 1].path)
        scans[int(name[-1]) - 1].path.symlink_to("gone")
    with pytest.raises(BadConfig, match=r"leads nowhere .* 3 other scans"):
        read_scans(folder)
