"""Which scans and results belong together, and what a room can be asked for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.cli.key import COLUMNS
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.reading import Reading, write_reading
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.scans.volume import write_volume
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLViewer.case_list import CaseList, gather
from ParanasalSSLViewer.rows import row_for_page


@pytest.fixture
def out(toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of one head, whose file lies in `scans` beside another one."""
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster
    (tmp_path / "scans").mkdir()
    write_volume(toolbox.head(), tmp_path / "scans" / "b.nii.gz")
    head = read_volume(tmp_path / "scans" / "b.nii.gz")
    data = np.asarray(head.data)[:, :, ::-1] + 1
    nib.save(nib.Nifti1Image(data, head.affine), tmp_path / "scans" / "a.nii.gz")
    write_scan(toolbox.result(head), toolbox.card, tmp_path / "out", "sub-0007")
    return tmp_path / "out"


def scans_of(cases: CaseList) -> dict[str, str]:
    return {identifier: source.path.name for identifier, source in cases.scans.items()}


def test_a_result_finds_its_scan_by_the_image(out: Path) -> None:
    cases = gather([out, out.parent / "scans"], None, None)
    assert scans_of(cases) == {"sub-0001": "a.nii.gz", "sub-0007": "b.nii.gz"}
    states = [(row.entry.identifier, row.entry.state) for row in cases.rows()]
    assert states == [("sub-0007", "done"), ("sub-0001", "waiting")]


def test_a_scan_that_the_key_calls_failed_has_no_result(out: Path) -> None:
    key = out.parent / "key.csv"
    with key.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerow(["sub-0007", out.parent / "scans" / "a.nii.gz", "", "failed", "Damaged."])
    cases = gather([out.parent / "scans"], out, key)
    assert scans_of(cases) == {"sub-0007": "b.nii.gz", "sub-0001": "a.nii.gz"}


def test_a_key_says_it_without_reading(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = out.parent / "key.csv"
    with key.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerow(["sub-0007", out.parent / "scans" / "a.nii.gz", "", "done", ""])
    monkeypatch.setattr("ParanasalSSLViewer.case_list.fingerprint", None)
    cases = gather([out.parent / "scans"], out, key)
    assert scans_of(cases) == {"sub-0007": "a.nii.gz", "sub-0001": "b.nii.gz"}


def test_a_place_of_two_results_says_nothing(out: Path) -> None:
    """As where two series in one folder are called alike: the images tell them apart."""
    path = str(out.parent / "scans" / "a.nii.gz")
    entries = [{"path": path, "identifier": name} for name in ("sub-0007", "sub-0008")]
    (out / "worklist.json").write_text(json.dumps({"scans": entries}))
    cases = gather([out.parent / "scans"], out, None)
    assert scans_of(cases) == {"sub-0001": "a.nii.gz", "sub-0007": "b.nii.gz"}


def test_only_cases_of_the_room_have_files(out: Path) -> None:
    cases = gather([out], None, None)
    assert cases.files("sub-0007").report_json.is_file()
    for name in ("..", "sub-0001", "../scans", ""):
        with pytest.raises(BadConfig):
            cases.files(name)
    elsewhere = out.parent / "elsewhere" / "sub-0009"
    elsewhere.mkdir(parents=True)
    (elsewhere / "sub-0009_report.json").write_text("{}")
    (out / "sub-0009").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(BadConfig):
        cases.files("sub-0009")


def test_one_folder_of_results_is_needed(out: Path) -> None:
    with pytest.raises(BadConfig, match="no folder of results"):
        gather([out.parent / "scans"], None, None)
    with pytest.raises(BadConfig, match="does not exist"):
        gather([out / "gone"], None, None)


def test_a_row_says_what_the_overview_says(out: Path) -> None:
    cases = gather([out], None, None)
    row = row_for_page(cases.rows()[0])
    assert [side["side"] for side in row["sides"]] == ["right", "left"]
    assert row["state"] == "done" and not row["read"] and row["scored"]
    record = cases.record("sub-0007")
    assert record is not None
    files = ScanFiles.in_output(out, "sub-0007")
    write_reading(files, Reading.of(record, {Side.LEFT: "agree"}, ""))
    assert row_for_page(cases.rows()[0])["read"]


def test_what_a_process_leaves_behind_is_settled(out: Path) -> None:
    cases = gather([out, out.parent / "scans"], None, None)
    cases.change("sub-0001", "running")
    cases.settle("sub-0001", "cancelled", "")
    assert cases.rows()[-1].entry.state == "waiting"
    cases.change("sub-0001", "running")
    cases.settle("sub-0001", "broken", "It broke.")
    assert (cases.rows()[-1].entry.state, cases.rows()[-1].entry.message) == ("failed", "It broke.")


def test_of_paths_only_the_names_of_files_are_told(tmp_path: Path) -> None:
    """Folders bear patients' names, with spaces, too."""
    folder = tmp_path / "Meier Anna" / "series 3"
    scan = ScanSource(folder, (folder / "1.dcm", folder / "deeper" / "2.dcm"))
    other = tmp_path / "study" / "Koch Eva"
    (other / "series 1").mkdir(parents=True)
    (other / "series 1" / "3.dcm").touch()
    cases = CaseList(
        tmp_path / "Dr Koch" / "out", {"sub-0001": scan, "b": ScanSource(other.parent)}
    )
    told = {
        f"{folder} holds 2 series.": "series 3 holds 2 series.",
        f"{folder / 'deeper' / '2.dcm'} is cut off.": "2.dcm is cut off.",
        f"{other / 'series 1' / '3.dcm'} is cut off.": "3.dcm is cut off.",
        f"Permission denied ({cases.out / 'sub-0001'}).": "Permission denied (sub-0001).",
        "No such file '/elsewhere/of/a.nii', nor /b.nii and/or 3 mm/s.": "No such file 'a.nii', nor "
        "/b.nii and/or 3 mm/s.",
    }
    for words, expected in told.items():
        assert cases.told(words) == expected
    cases.change("sub-0001", "failed", f"{folder} is empty.")
    messages = [row_for_page(row)["message"] for row in cases.rows()]
    assert "series 3 is empty." in messages
