"""Every report that any way of scoring a scan writes obeys the published schema."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_objects import thick_head, with_full_left_sinus, write_series
from enhanced import frames_of, write_enhanced
from reports import validate, validated

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, write_placement
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.scans.volume import Volume, write_volume
from ParanasalSSLLib.sinuses import Side

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def placement(toolbox: Any) -> Placement:
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    return Placement(boxes, toolbox.quality())


@pytest.fixture
def run(toolbox: Any, placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`paranasal predict` with stand-ins for networks and registration; gives all reports."""
    monkeypatch.setattr(predict, "find_boxes", lambda volume: placement)
    monkeypatch.setattr(cli_predict, "load_model", lambda model, device: toolbox.bundle)

    def predicting(*arguments: str | Path) -> dict[str, Any]:
        assert main(["predict", *map(str, arguments), "-o", str(tmp_path / "out")]) == 0
        return validated(tmp_path / "out")

    return predicting


@pytest.fixture
def head(toolbox: Any) -> Volume:
    return with_full_left_sinus(toolbox, thick_head(toolbox))


@pytest.fixture
def scan(head: Volume, tmp_path: Path) -> Path:
    write_volume(head, tmp_path / "head.nii.gz")
    return tmp_path / "head.nii.gz"


def test_ids_that_a_user_may_choose(run: Run, scan: Path) -> None:
    names = ["a", "Z9", "x" * 64, "A_b-C", "0-_"]
    ids = [f"--id={name}" for name in names]
    note = 'Größe "5" <b> 山田 \n'
    assert sorted(run(*[scan] * len(ids), *ids, "--note", note)) == sorted(names)


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "a.b", "é", "x" * 65, "a\n", "a/b"])
def test_ids_that_are_refused(
    run: Run, scan: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(scan, f"--id={name}")
    assert stop.value.code == 2 and "letters, digits" in capsys.readouterr().err


def test_names_of_inputs_as_ids(run: Run, scan: Path, tmp_path: Path) -> None:
    names = ["x" * 200, "sub-a b", "Übung (2)", "山田", "-.nii", "a..b"]
    scans = []
    for number, name in enumerate(names):
        scans.append(tmp_path / str(number) / f"{name}.nii.gz")
        scans[-1].parent.mkdir()
        shutil.copy(scan, scans[-1])
    many = [*scans, scans[0]]
    assert len(run(*many, "--keep-names")) == len(many)


def test_a_note_that_is_no_text_is_refused_before_any_work(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(scan, "--note", "caf\udce9")
    assert stop.value.code == 2 and "UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_boxes_by_hand_for_one_side(
    run: Run, scan: Path, placement: Placement, tmp_path: Path
) -> None:
    box = replace(placement.boxes[Side.RIGHT], origin="hand")
    write_placement(Placement({Side.RIGHT: box}), tmp_path / "hand.mrk.json")
    assert list(run(scan, "--boxes", tmp_path / "hand.mrk.json")["sub-0001"]["sinuses"]) == [
        "right"
    ]


def test_a_side_that_is_cut_off(
    run: Run, head: Volume, toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image ends within the left sinus: to review, or refused; never an invalid report."""
    end = head.to_index(toolbox.centers[Side.LEFT])
    axis = int(np.argmax(np.abs(head.affine[0, :3])))
    start, stop = np.zeros(3, int), np.array(head.shape)
    if head.affine[0, axis] > 0:
        start[axis] = round(float(end[axis]))
    else:
        stop[axis] = round(float(end[axis]))
    write_volume(head.cut(start, stop), tmp_path / "cut.nii.gz")
    for report in run(tmp_path / "cut.nii.gz").values():
        assert report["sinuses"]


@pytest.mark.parametrize("skip", [(), (2,)], ids=["whole", "slice made up"])
def test_dicom(run: Run, head: Volume, tmp_path: Path, skip: tuple[int, ...]) -> None:
    head = Volume(np.rint(head.data), head.affine)
    series = write_series(head, tmp_path / "series", skip)
    enhanced = write_enhanced(frames_of(head, skip), tmp_path / "enhanced" / "image.dcm")
    reports = run(series, enhanced.parent, enhanced, "--dicom-out", "--id=a", "--id=b", "--id=c")
    assert [report["image"]["interpolated_slices"] for report in reports.values()] == [[*skip]] * 3
    assert all(report["files"]["dicom_sr"] for report in reports.values())


def test_reports_of_older_formats_are_brought_up_to_the_schema(
    run: Run, scan: Path, tmp_path: Path
) -> None:
    [new] = run(scan).values()
    second = new | {"format_version": 2}
    first = second | {"format_version": 1}
    first["image"] = {k: v for k, v in first["image"].items() if k != "sha256"}
    del first["checksums"]
    for old in (first, second):
        for sinus in old["sinuses"].values():
            sinus["findings"] = 1
            sinus.pop("grade", None)
        path = tmp_path / "older.json"
        path.write_text(json.dumps(old))
        validate(read_report(path).to_json())


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a word for a number": lambda r: r["sinuses"]["left"].update(probability="high"),
    "another decision": lambda r: r["sinuses"]["left"].update(decision="sick"),
    "no box": lambda r: r["sinuses"]["left"].update(box=None),
    "a list of sinuses": lambda r: r.update(sinuses=[]),
    "another side": lambda r: r["sinuses"].update(middle=r["sinuses"]["left"]),
    "a number for findings": lambda r: r["sinuses"]["left"].update(findings=[1]),
    "another verdict": lambda r: r["quality"].update(verdict="great"),
    "no model": lambda r: r.pop("model"),
}


def test_an_edited_report_is_said_to_be_none(run: Run, scan: Path, tmp_path: Path) -> None:
    [report] = run(scan).values()
    path = tmp_path / "edited.json"
    for edit in EDITS.values():
        edit(edited := deepcopy(report))
        path.write_text(json.dumps(edited))
        with pytest.raises(ValueError):
            read_report(path)


def test_an_edited_report_survives_a_new_one(run: Run, scan: Path, tmp_path: Path) -> None:
    run(scan)
    files = ScanFiles.in_output(tmp_path / "out", "sub-0001")
    kept = files.folder / f"edited_{files.report_json.name}"
    run(scan)
    assert not kept.exists()
    text = files.report_json.read_text()
    files.report_json.write_text(text.replace('"note": null', '"note": "seen by A."'))
    for _ in range(2):
        assert run(scan)["sub-0001"]["note"] is None
        assert json.loads(kept.read_text())["note"] == "seen by A."
