"""`paranasal predict FOLDER`: all scans in it, one by one chosen, none stopped by another."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.scans.source import ScanSource

Run = Callable[..., int]


@pytest.fixture
def study(toolbox: Any, tmp_path: Path) -> Path:
    """Two heads, a file that is none, and a time series."""
    folder = tmp_path / "a study"
    (folder / "p1 Mustermann").mkdir(parents=True)
    (folder / "p2").mkdir()
    for number, name in enumerate(("p1 Mustermann/t1.nii.gz", "p2/t1.nii.gz")):
        volume = toolbox.head()
        image = nib.Nifti1Image(volume.data + number, volume.affine)
        image.set_qform(volume.affine, code=1)
        nib.save(image, folder / name)
    (folder / "p2" / "cut.nii.gz").write_bytes((folder / "p2" / "t1.nii.gz").read_bytes()[:999])
    shape = (*volume.shape, 3)
    nib.save(nib.Nifti1Image(volume.data[..., None].repeat(shape[3], 3), volume.affine),
             folder / "p2" / "rest.nii.gz")  # fmt: skip
    return folder


@pytest.fixture
def run(stand_ins: Any, tmp_path: Path) -> Run:
    """`paranasal predict ...` with the networks and the registration replaced by stand-ins."""

    def predicting(*arguments: str | Path) -> int:
        return main(["predict", *map(str, arguments), "--jobs", "1"])

    return predicting


def results(out: Path) -> list[str]:
    return sorted(path.parent.name for path in out.glob("*/*_report.json"))


def test_all_scans_of_a_folder_are_scored_and_all_others_named(
    run: Run, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(study, "-o", out) == 1  # a scan is damaged
    shown = capsys.readouterr()
    assert "4 scans found" in shown.out and "2 of 4 scans scored" in shown.out
    assert "1 scan left out" in shown.out and "rest.nii.gz" in shown.out
    assert "1 scan failed" in shown.err and "cut.nii.gz" in shown.err
    assert results(out) == ["sub-0001", "sub-0004"]


def test_what_shows_no_sinuses_is_left_out_and_no_failure(
    run: Run, study: Path, tmp_path: Path
) -> None:
    (study / "p2" / "cut.nii.gz").unlink()
    assert run(study, "-o", tmp_path / "out") == 0
    shutil.rmtree(study / "p1 Mustermann")
    (study / "p2" / "t1.nii.gz").unlink()
    assert run(study, "-o", tmp_path / "none") == 1  # nothing was scored


def test_one_scan_is_chosen_from_the_list(
    run: Run, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(study, "-o", out, "--series", "1", "--json-progress") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "note" and "4  " in events[0]["message"]
    assert events[-2]["input"] == str(study / "p1 Mustermann" / "t1.nii.gz")
    assert run(study, "-o", out, "--series", "5") == 1
    assert "there are 4 scans" in capsys.readouterr().err


def test_results_may_lie_in_the_folder_and_are_no_scans_the_next_time(
    run: Run, study: Path
) -> None:
    (study / "p2" / "cut.nii.gz").unlink()
    for _ in range(2):
        assert run(study, "-o", study / "results") == 0
        assert results(study / "results") == ["sub-0001", "sub-0003"]


def test_directory_of_a_cd_stands_for_the_cd(run: Run, study: Path, tmp_path: Path) -> None:
    (study / "DICOMDIR").touch()
    assert run(study / "DICOMDIR", "-o", tmp_path / "out", "--series", "1") == 0
    assert results(tmp_path / "out") == ["sub-0001"]


def test_empty_folder_is_told(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "-o", tmp_path / "out") == 1
    assert "empty" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- overview


def table(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_has_a_row_for_each_scan_and_side_and_the_page_links_to_them(
    run: Run, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(study, "-o", out)
    rows = table(out)
    assert [(row["id"], row["side"]) for row in rows] == [
        ("sub-0001", "left"),
        ("sub-0001", "right"),
        ("sub-0004", "left"),
        ("sub-0004", "right"),
        ("sub-0002", ""),
        ("sub-0003", ""),
    ]
    assert rows[0]["state"] == "done" and 0 <= float(rows[0]["probability"]) <= 1
    assert (rows[4]["state"], rows[4]["error"]) == ("failed", "UnreadableScan")
    assert (rows[5]["state"], rows[5]["error"]) == ("left out", "UnsupportedScan")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="sub-0001/sub-0001_report.html"' in page and "cannot be read" in page
    for name in ("index.html", "results.csv", "findings.csv"):
        text = (out / name).read_text(encoding="utf-8")
        assert "Mustermann" not in text and str(tmp_path) not in text
    assert not list(out.glob(".*"))


def test_later_calls_add_to_the_overview(run: Run, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(study / "p2", "-o", out)  # two of three are no heads
    assert {row["id"] for row in table(out)} == {"sub-0001", "sub-0002", "sub-0003"}
    assert run(study / "p1 Mustermann" / "t1.nii.gz", "-o", out) == 0
    states = {row["id"]: row["state"] for row in table(out)}
    assert states == {"sub-0001": "done", "sub-0002": "left out", "sub-0003": "done"}


@pytest.mark.parametrize("name", ["results.csv", "findings.csv", "index.html"])
def test_file_of_somebody_else_is_not_overwritten(
    run: Run, study: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    assert run(study, "-o", out) == 1
    assert name in capsys.readouterr().err
    assert (out / name).read_text() == "mine" and not results(out)


def test_key_says_which_result_is_which_scan_and_lies_elsewhere(
    run: Run, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, key = tmp_path / "out", tmp_path / "private" / "key.csv"
    run(study / "p2", "-o", out, "--key", key)
    run(study / "p1 Mustermann", "-o", out, "--key", key)  # keeps the rows that are there
    with key.open(newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    done = {name: row["path"] for name, row in rows.items() if row["state"] == "done"}
    assert done == {
        "sub-0003": str(study / "p2" / "t1.nii.gz"),
        "sub-0001": str(study / "p1 Mustermann" / "t1.nii.gz"),
    }
    capsys.readouterr()
    assert run(study, "-o", out, "--key", out / "key.csv") == 1
    assert "private" in capsys.readouterr().err
    (tmp_path / "notes.csv").write_text("mine")
    assert run(study, "-o", out, "--key", tmp_path / "notes.csv") == 1
    assert (tmp_path / "notes.csv").read_text() == "mine"


def test_several_processes_tell_one_story(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for number in range(3):
        (study / f"{number}.nii.gz").write_bytes(b"no image")
    words = [sys.executable, "-m", "ParanasalSSLLib.cli.main", "predict", study]
    options = ["-o", tmp_path / "out", "--jobs", "2", "--json-progress"]
    done = subprocess.run([*words, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in (events[0], events[-1])] == ["note", "summary"]
    assert events[-1]["failed"] == 3
    for number in (1, 2, 3):
        own = [event["event"] for event in events if event.get("scan") == number]
        assert own == ["stage", "scan_failed"]


def test_a_list_of_scans_is_scored_under_its_ids(
    run: Run, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = ScanSource(study / "p1 Mustermann" / "t1.nii.gz"), ScanSource(study / "p2")
    listed = tmp_path / "list.json"
    rest = ScanSource(study / "p2" / "rest.nii.gz", searched=True)
    write_scan_list(listed, {"sub-7": first, "sub-9": second, "sub-10": rest})
    assert run("--scan-list", listed, "-o", tmp_path / "out", "--json-progress") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {one["id"]: one["event"] for one in events if one["event"].startswith("scan_")}
    assert ended == {"sub-7": "scan_done", "sub-9": "scan_failed", "sub-10": "scan_left_out"}
    assert results(tmp_path / "out") == ["sub-7"]
    listed.write_text("{}")
    assert run("--scan-list", listed, "-o", tmp_path / "out") == 1
    assert "no list of scans" in capsys.readouterr().err


def test_scans_are_named_on_the_line_or_in_a_list(
    run: Run, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), (study, "--scan-list", study / "list.json")):
        with pytest.raises(SystemExit) as ended:
            run(*words, "-o", tmp_path / "out")
        assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "SCANS must be given" in said and "--scan-list says by itself" in said
