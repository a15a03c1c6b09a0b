"""Nothing of a user's is lost when results are written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.older import refuse_unsafe_output
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.volume import Volume


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster


@pytest.fixture
def written(toolbox: Any, tmp_path: Path) -> Callable[..., ScanFiles]:
    """Write a result of the toolbox's head, brighter by `more`, as sub-0001 to "out"."""

    def writing(more: float = 0.0) -> ScanFiles:
        head = toolbox.head()
        volume = Volume(head.data + np.float32(more), head.affine)
        write_scan(toolbox.result(volume), toolbox.card, tmp_path / "out", "sub-0001")
        return ScanFiles.in_output(tmp_path / "out", "sub-0001")

    return writing


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def bids(folder: Path) -> Path:
    """A raw BIDS data set; returns its scan."""
    scan = folder / "sub-0001" / "anat" / "sub-0001_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"a scan")
    description = {"Name": "A study", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    return scan


# ---------------------------------------------------------------------------- before any work


def test_a_raw_data_set_is_refused(tmp_path: Path) -> None:
    scan = bids(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(UnsafeOutput, match="another data set"):
        refuse_unsafe_output(tmp_path, ["sub-0009"], [scan])
    assert tree(tmp_path) == before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"GeneratedBy": [{"Name": "fMRIPrep"}]}'])
def test_a_data_set_that_is_not_ours_is_never_written_over(
    toolbox: Any, tmp_path: Path, content: str
) -> None:
    (tmp_path / "dataset_description.json").write_text(content)
    with pytest.raises(UnsafeOutput, match="another data set"):
        write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path, "sub-0001")
    assert tree(tmp_path) == {"dataset_description.json": content.encode()}


@pytest.mark.parametrize("name", ["", " "])
def test_an_output_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeOutput, match="has no name"):
        refuse_unsafe_output(name, ["sub-0001"], [tmp_path / "scan.nii"])


def test_a_folder_without_our_report_is_refused(tmp_path: Path) -> None:
    scan = bids(tmp_path)
    (tmp_path / "dataset_description.json").unlink()
    with pytest.raises(UnsafeOutput, match="is no result"):
        refuse_unsafe_output(tmp_path, ["sub-0001"], [tmp_path.parent / "scan.nii"])
    assert scan.exists()


def test_inputs_in_above_and_at_the_result_are_refused(tmp_path: Path) -> None:
    series = tmp_path / "out" / "sub-0001"
    series.mkdir(parents=True)
    (series / "1.dcm").touch()
    (tmp_path / "link").symlink_to(series)
    sources = [series, series / "1.dcm", tmp_path / "link", tmp_path / "link" / "1.dcm"]
    for source in sources:
        with pytest.raises(UnsafeOutput, match="take the place"):
            refuse_unsafe_output(tmp_path / "out", ["sub-0001"], [source])
    with pytest.raises(UnsafeOutput, match="among the files"):
        refuse_unsafe_output(series, ["sub-0001"], [series])
    refuse_unsafe_output(tmp_path / "out", ["sub-0002"], sources)


def test_an_output_inside_an_input_is_refused_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = tmp_path / "series"
    (series / "results").mkdir(parents=True)
    (tmp_path / "link").symlink_to(series / "results")
    monkeypatch.chdir(series)
    for out in (
        Path("results"),
        Path("new"),
        series / "new/deep",
        tmp_path / "link",
        Path("../series"),
    ):
        for source in (Path(), series, Path("../series")):
            with pytest.raises(UnsafeOutput, match="among the files"):
                refuse_unsafe_output(out, ["sub-0001"], [source])
    refuse_unsafe_output(Path("../out"), ["sub-0001"], [Path()])


@pytest.mark.parametrize("out", [".", "..", "../..", "../../../bids", "link"])
def test_results_do_not_go_among_raw_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    scan = tmp_path / "bids/sub-01/anat/sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.touch()
    places = {".": "bids", "..": "bids/sub-01", "../..": "bids/sub-01/anat", "link": "."}
    (tmp_path / "link").symlink_to("bids")
    monkeypatch.chdir(tmp_path / places.get(out, "bids/sub-01/anat"))
    with pytest.raises(UnsafeOutput, match="among raw data"):
        refuse_unsafe_output(Path(out), ["sub-0001"], [scan])
    refuse_unsafe_output(tmp_path / "bids/derivatives/paranasal", ["sub-0001"], [scan])


def test_a_scan_that_a_user_put_into_an_older_result_can_be_scored(
    written: Callable[..., ScanFiles], tmp_path: Path
) -> None:
    scan = written().folder / "scan.nii"
    scan.touch()
    refuse_unsafe_output(tmp_path / "out", ["sub-0002"], [scan])
    with pytest.raises(UnsafeOutput, match="take the place"):
        refuse_unsafe_output(tmp_path / "out", ["sub-0001"], [scan])


def test_a_file_and_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub-0001").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sub-0002").touch()
    with pytest.raises(UnsafeOutput, match="is a file"):
        refuse_unsafe_output(tmp_path / "file", ["sub-0001"], [])
    (tmp_path / "dead").symlink_to("nowhere")
    with pytest.raises(UnsafeOutput, match="link that leads nowhere"):
        refuse_unsafe_output(tmp_path / "dead", ["sub-0001"], [])
    for scan_id, words in (("sub-0001", "is a link"), ("sub-0002", "is a file")):
        with pytest.raises(UnsafeOutput, match=words):
            refuse_unsafe_output(tmp_path, [scan_id], [])


def test_a_new_folder_and_an_older_result_pass(
    written: Callable[..., ScanFiles], tmp_path: Path
) -> None:
    refuse_unsafe_output(tmp_path / "new", ["sub-0001"], [tmp_path / "scan.nii"])
    written()
    refuse_unsafe_output(tmp_path / "out", ["sub-0001", "sub-0002"], [tmp_path / "scan.nii"])


# ------------------------------------------------------------------------------ when writing


def test_another_scans_result_is_not_replaced(written: Callable[..., ScanFiles]) -> None:
    files = written()
    before = tree(files.folder.parent)
    with pytest.raises(UnsafeOutput, match="another scan's result"):
        written(more=1.0)
    assert tree(files.folder.parent) == before


def test_a_result_of_the_version_before_is_told_as_one(written: Callable[..., ScanFiles]) -> None:
    files = written()
    report = json.loads(files.report_json.read_text())
    del report["image"]["sha256"], report["checksums"]
    files.report_json.write_text(json.dumps(report | {"format_version": 1}))
    before = tree(files.folder)
    with pytest.raises(
        UnsafeOutput, match=r"earlier version.* another output folder or another id"
    ):
        written()
    assert tree(files.folder) == before


def test_what_users_put_in_or_changed_stays(written: Callable[..., ScanFiles]) -> None:
    files = written()
    (files.folder / "corrected.mrk.json").write_text("by hand")
    (files.folder / "notes").mkdir()
    (files.folder / "notes" / "one.txt").write_text("a note")
    files.boxes.write_text("moved in Slicer")
    for _ in range(2):
        written()
    kept = tree(files.folder)
    assert kept["corrected.mrk.json"] == b"by hand"
    assert kept["notes/one.txt"] == b"a note"
    assert kept[f"edited_{files.boxes.name}"] == b"moved in Slicer"
    assert kept[files.boxes.name] != b"moved in Slicer"
    assert len(kept) == 9 + 3


PREDICT = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from conftest import Toolbox
from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.volume import Volume
pictures.PIXELS = 40
toolbox = Toolbox()
head = toolbox.head()
volume = Volume(head.data + np.float32(sys.argv[3]), head.affine)
for scan_id in ("sub-0001", f"sub-{sys.argv[3]}"):
    try:
        record = write_scan(toolbox.result(volume), toolbox.card, sys.argv[2], scan_id)
        print(scan_id, record.image.sha256)
    except UnsafeOutput:
        print("refused")
"""


def test_parallel_calls_in_one_folder_lose_nothing_and_tell_the_truth(tmp_path: Path) -> None:
    out, tools = tmp_path / "out", str(Path(__file__).parents[1])
    calls = [
        subprocess.Popen(
            [sys.executable, "-c", PREDICT, tools, str(out), str(more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for more in (1, 2, 2)
    ]
    reported = []
    for call in calls:
        printed, errors = call.communicate(timeout=120)
        assert call.returncode == 0, errors
        reported += [tuple(line.split()) for line in printed.splitlines() if line != "refused"]
    assert {scan_id for scan_id, _ in reported} == {"sub-0001", "sub-1", "sub-2"}
    for scan_id, sha256 in reported:
        report = json.loads(ScanFiles.in_output(out, scan_id).report_json.read_text())
        assert report["image"]["sha256"] == sha256
        assert len(list((out / scan_id).iterdir())) == 9
    names = sorted(path.name for path in out.iterdir())
    assert names == ["dataset_description.json", "sub-0001", "sub-1", "sub-2"]
