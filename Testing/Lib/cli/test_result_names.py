"""What results are called, and that no scan takes another one's name."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cli_calls import Run, json_lines

from ParanasalSSLLib import predict
from ParanasalSSLLib.cli.jobs import check_ids, plan_jobs
from ParanasalSSLLib.cli.key import read_key


def test_results_are_numbered_by_default() -> None:
    ids = [job.scan_id for job in plan_jobs([Path("b.nii"), Path("a.nii")])]
    assert ids == ["sub-0001", "sub-0002"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-07_ses-2_acq-hi_run-1_FLAIR.nii.gz", "sub-07_ses-2_acq-hi_run-1_FLAIR"),
        ("sub-07_T1w.nii", "sub-07_T1w"),
        ("t1_9.nii", "sub-t1_9"),
        ("t1_19.nii", "sub-t1_19"),
        ("头部.nii", "sub-0001"),
    ],
)
def test_names_are_kept_on_request(name: str, expected: str) -> None:
    assert plan_jobs([Path(name)], keep_names=True)[0].scan_id == expected


def test_different_names_give_different_ids() -> None:
    names = ["head 1", "head-1", "head.1", "head+1", "h" * 99, "h" * 98, "头1", "1", "é1"]
    ids = {plan_jobs([Path(f"{n}.nii.gz")], keep_names=True)[0].scan_id for n in names}
    assert len(ids) == len(names)
    check_ids(sorted(ids), len(ids))


@pytest.fixture
def another(scan: Path) -> Path:
    """The scan of a second patient, in a file of the same name."""
    image = nib.load(scan)
    path = scan.parent / "second" / scan.name
    path.parent.mkdir()
    data = np.asarray(image.dataobj) * 2 + 1
    nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
    return path


@pytest.fixture
def broken(scan: Path) -> Path:
    """The scan of a third patient that cannot be read, in a file of the same name."""
    path = scan.parent / "third" / scan.name
    path.parent.mkdir()
    path.write_bytes(b"no image")
    return path


@pytest.mark.parametrize("how", [(), ("--keep-names",), ("--id", "head")])
def test_a_scan_that_cannot_be_read_takes_no_row_of_the_key(
    run: Run, scan: Path, broken: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    key = tmp_path / "key.csv"
    assert run(scan, *how, "--key", key) == 0
    assert run(broken, *how, "--key", key) == 1
    (result,) = (tmp_path / "out").glob("[!.]*/")
    rows = read_key(key)
    assert rows.pop(result.name)["path"] == str(scan)
    assert [row["state"] for row in rows.values()] == ([] if "--id" in how else ["failed"])


def test_a_scan_that_cannot_be_read_is_told_apart_from_one_that_has_moved_to_its_number(
    run: Run, scan: Path, another: Path, broken: Path, tmp_path: Path
) -> None:
    key, out = tmp_path / "key.csv", tmp_path / "out"
    run(scan)
    run(another, broken, "--key", key, "--jobs", "1")
    told = {name: (row["path"], row["state"]) for name, row in read_key(key).items()}
    assert told == {"sub-0002": (str(another), "done"), "sub-0003": (str(broken), "failed")}
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        states = {row["id"]: row["state"] for row in csv.DictReader(file)}
    assert states == {"sub-0001": "done", "sub-0002": "done", "sub-0003": "failed"}


@pytest.mark.parametrize("how", [(), ("--keep-names",)])
def test_a_second_patient_replaces_no_result(
    run: Run, scan: Path, another: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    assert run(scan, *how) == 0
    (first,) = out.glob("sub-*")
    before = {path: path.read_bytes() for path in first.iterdir()}
    assert run(another, *how) == 0
    assert {path: path.read_bytes() for path in first.iterdir()} == before
    assert len(list(out.glob("sub-*"))) == 2
    assert run(another, *how) == 0  # replaces its own
    assert run(scan, *how) == 0
    assert len(list(out.glob("sub-*"))) == 2


def test_an_id_that_another_process_took_meanwhile_is_passed_over(
    run: Run,
    scan: Path,
    another: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    score = predict.score_sinuses

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(predict, "score_sinuses", score)
        assert run(another, "--quiet") == 0
        return score(*arguments)

    monkeypatch.setattr(predict, "score_sinuses", overtaken)
    assert run(scan, "--json-progress") == 0
    done = next(e for e in json_lines(capsys.readouterr().out) if e["event"] == "scan_done")
    assert done["folder"] == str(tmp_path / "out" / "sub-0002")
    assert (tmp_path / "out" / "sub-0002" / "sub-0002_report.json").exists()
    assert (tmp_path / "out" / "sub-0001" / "sub-0001_report.json").exists()


def test_an_id_of_another_scans_result_is_refused(
    run: Run, scan: Path, another: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, "--id", "sub-x") == 0
    assert run(another, "--id", "sub-x") == 1
    assert "another scan's result" in capsys.readouterr().err


def test_results_are_called_as_asked(run: Run, scan: Path, tmp_path: Path) -> None:
    assert run(scan, scan, "--id", "sub-0007", "--id", "nose_2") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert names == ["nose_2", "sub-0007"]


@pytest.mark.parametrize("ids", [["a"], ["a", "A"], ["a", "../b"], ["a", ""]])
def test_ids_that_make_no_folder_are_refused(run: Run, scan: Path, ids: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(scan, scan, *(part for name in ids for part in ("--id", name)))
    assert stop.value.code == 2


def test_equal_names_do_not_overwrite_each_other() -> None:
    names = ["a/head.nii", "b/Head.nii", "c/head.nii"]
    ids = [job.scan_id for job in plan_jobs([Path(name) for name in names], keep_names=True)]
    assert ids == ["sub-head", "sub-Headx2", "sub-headx3"]
