"""`paranasal predict`: what it prints, and what a bad scan, a bad name or a bad terminal stops."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cli_calls import Run

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.scans.nifti import TWO_ORIENTATIONS

# ---------------------------------------------------------------------------------- the table


def test_scan_is_scored_and_the_table_printed(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan) == 0
    printed = capsys.readouterr().out
    for word in ("side", "probability", "decision", "opacity", "boxes"):
        assert word in printed
    assert "left" in printed and "right" in printed and "No anomaly suspected" in printed
    assert "3D Slicer" in printed and "1 of 1 scan scored" in printed
    assert (tmp_path / "out" / "sub-0001" / "sub-0001_report.html").is_file()


def test_no_name_of_the_input_is_in_any_output(run: Run, scan: Path, tmp_path: Path) -> None:
    run(scan)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 8
    for path in written:
        assert "Mustermann" not in str(path.relative_to(tmp_path))
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content += nib.load(path).header.binaryblock
        assert b"Mustermann" not in content and bytes(tmp_path) not in content


def test_bad_scan_does_not_stop_the_others(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(scan.read_bytes()[:1000])
    assert run(scan, broken, "missing.nii", scan) == 1
    captured = capsys.readouterr()
    assert "2 of 4 scans scored" in captured.out
    assert "2 scans failed" in captured.err
    assert "broken.nii.gz" in captured.err and "missing.nii" in captured.err
    assert "Traceback" not in captured.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    overview = ["findings.csv", "index.html", "results.csv"]
    assert names == ["dataset_description.json", *overview, "sub-0001", "sub-0004"]


def test_unexpected_error_is_one_sentence_unless_debugging(
    run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(predict, "cut_crop", broken)
    assert run(scan) == 1
    quiet = capsys.readouterr().err
    assert "ZeroDivisionError" in quiet and "--debug" in quiet and "Traceback" not in quiet
    assert run(scan, "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_scan_to_review_says_why(
    run: Run,
    scan: Path,
    toolbox: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    quality = toolbox.quality("review", ("The head seems to be of unusual size.",))
    found = Placement(boxes, quality)
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    assert run(scan) == 0
    printed = capsys.readouterr().out
    assert "review" in printed and "unusual size" in printed


def test_notice_of_a_scan_is_printed_with_it_and_written(
    run: Run, toolbox: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume, path = toolbox.head(), tmp_path / "head.nii"
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ volume.affine, code=1)
    nib.save(image, path)
    assert run(path) == 0
    printed = capsys.readouterr().out
    assert printed.count(TWO_ORIENTATIONS) == 1 and "Which side is left is not certain" in printed
    written = tmp_path / "out" / "sub-0001" / "sub-0001_report"
    report = json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))
    assert report["quality"]["verdict"] == "review"
    assert TWO_ORIENTATIONS in report["model"]["notices"]
    assert TWO_ORIENTATIONS in written.with_suffix(".html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["n" * 300 + ".nii.gz"])
@pytest.mark.parametrize("option", [[], ["--keep-names"], ["--dicom-out"]])
def test_name_that_no_file_can_have_stops_no_other_scan(
    run: Run, scan: Path, name: str, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan.with_name(name), scan, *option) == 1
    captured = capsys.readouterr()
    assert "1 of 2 scans scored" in captured.out and "unexpected" not in captured.err


@pytest.mark.parametrize("option", ["-o", "--model", "--boxes"])
def test_option_with_a_name_that_no_file_can_have(
    run: Run, scan: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long = str(scan.with_name("n" * 300))
    output = [] if option == "-o" else ["-o", str(scan.with_name("out"))]
    assert main(["predict", str(scan), option, long, *output]) == 1
    told = capsys.readouterr().err
    assert "too long" in told and "unexpected" not in told


# ----------------------------------------------------------------------------------- devices


def test_devices_are_listed_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "cpu   CPU, " in capsys.readouterr().out
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"]["cpu"].startswith("CPU")


# ----------------------------------------------------------------------------------- command


def test_out_that_is_a_file_is_wrong_usage(scan: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(scan), "-o", str(scan)])
    assert stop.value.code == 2


def test_a_terminal_that_has_gone_or_lacks_letters_stops_nothing(scan: Path) -> None:
    odd = scan.with_name("头部\udcff.nii")
    command = f"{sys.executable} -m ParanasalSSLLib.cli.main predict"
    options = f"-o {scan.parent / 'out'}"
    script = f"{command} {shlex.quote(str(odd))} none.nii {options} 2>&1 | head -n 2"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", os.fsencode(script)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr and "Exception" not in done.stderr


def test_a_users_data_set_is_refused_before_any_work(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    description = tmp_path / "out" / "dataset_description.json"
    description.write_text('{"Name": "A study", "BIDSVersion": "1.10.0"}')
    assert run(scan) == 1
    assert "another data set" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == [description]
    assert json.loads(description.read_text())["Name"] == "A study"
