from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, write_placement
from ParanasalSSLLib.cli import main as cli
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.cli.jobs import check_ids, plan_jobs
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results import write as outputs
from ParanasalSSLLib.scans.nifti import TWO_ORIENTATIONS
from ParanasalSSLLib.sinuses import Side

Run = Callable[..., int]


@pytest.fixture
def scan(toolbox: Any, tmp_path: Path) -> Path:
    """A readable head, under a name that must not spread."""
    volume = toolbox.head()
    path = tmp_path / "Mustermann_Erika_1970.nii.gz"
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_qform(volume.affine, code=1)
    nib.save(image, path)
    return path


@pytest.fixture
def run(toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`paranasal predict ...` with the networks and the registration replaced by stand-ins."""
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    found = Placement(boxes, toolbox.quality())
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    monkeypatch.setattr(cli_predict, "load_model", lambda model, device: toolbox.bundle)
    monkeypatch.setattr(pictures, "PIXELS", 40)  # small pictures are drawn faster

    def predicting(*arguments: str | Path) -> int:
        return main(["predict", *map(str, arguments), "-o", str(tmp_path / "out")])

    return predicting


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


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


# --------------------------------------------------------------------- whole results or none


def test_ctrl_c_leaves_no_half_written_folder(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "write_segmentation", stopped)
    assert run(scan) == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset_description.json"]


def test_what_a_killed_process_left_is_put_right(run: Run, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(scan) == 0
    (out / "sub-0001").rename(out / ".sub-0001.0badcafe.old")
    (out / ".sub-0001.0badcafe.new").mkdir()
    (out / ".sub-0001.0badcafe.new" / "half.txt").touch()
    assert run(tmp_path / "missing.nii") == 1  # nothing new is written: what there is must not go
    assert (out / ".sub-0001.0badcafe.old" / "sub-0001_report.json").exists()
    assert run(scan) == 0
    assert sorted(path.name for path in out.iterdir()) == ["dataset_description.json", "sub-0001"]
    assert not (out / "sub-0001" / "half.txt").exists()


def test_it_ends_when_its_standard_input_ends(tmp_path: Path) -> None:
    sample = Path(cli.__file__).parents[1] / "data" / "sample" / "simulated_head.nii.gz"
    command = [sys.executable, "-m", "ParanasalSSLLib.cli.main", "predict", str(sample)]
    options = ["-o", str(tmp_path / "out"), "--json-progress", "--end-with-input"]
    with subprocess.Popen(
        command + options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert json.loads(process.stdout.readline())["stage"] == "read"
        process.stdin.close()
        assert process.wait(timeout=60) == 130
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob(".*"))
    assert not (tmp_path / "out" / "sub-0001").exists()


def test_an_open_standard_input_does_not_disturb_the_normal_end(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ParanasalSSLLib.cli.main",
        "predict",
        str(tmp_path / "none.nii"),
    ]
    options = ["-o", str(tmp_path / "out"), "--json-progress", "--end-with-input"]
    with subprocess.Popen(
        command + options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(timeout=120) == 1
        assert process.stdout is not None and process.stderr is not None
        assert b"Fatal" not in process.stderr.read()
        assert b'"scan_failed"' in process.stdout.read()


def test_second_run_replaces_results_of_the_same_place_in_the_list(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(scan)
    report = tmp_path / "out" / "sub-0001" / "sub-0001_report.json"
    (report.parent / "note.txt").write_text("by a user")
    before = report.stat().st_mtime_ns
    run(scan)
    assert "replaced" in capsys.readouterr().out
    assert report.stat().st_mtime_ns > before
    assert (report.parent / "note.txt").read_text() == "by a user"


def test_failed_scan_points_at_an_older_result_of_its_name(
    run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(scan)
    assert run("missing.nii") == 1
    assert "still holds an older result" in capsys.readouterr().err


# ------------------------------------------------------------------------------- JSON lines


def test_json_progress_is_all_that_is_on_standard_output(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, "missing.nii", "--json-progress") == 1
    events = json_lines(capsys.readouterr().out)
    stages = [
        event["stage"] for event in events if event["event"] == "stage" and event["scan"] == 1
    ]
    assert stages == ["read", "register", "crop", "analyse", "write", "done"]
    done = next(event for event in events if event["event"] == "scan_done")
    assert done["id"] == "sub-0001" and done["input"] == str(scan)
    assert set(done["report"]["sinuses"]) == {"left", "right"}
    failed = next(event for event in events if event["event"] == "scan_failed")
    assert failed["error"] == "UnreadableScan" and "missing.nii" in failed["message"]
    summary = {"event": "summary", "done": 1, "failed": 1, "exit_status": 1}
    assert events[-1] == {**summary, "out": str(tmp_path / "out")}


def test_what_a_library_prints_does_not_break_the_json_lines(
    run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_crop = predict.cut_crop

    def chatty(*arguments: Any) -> Any:
        print("a library says hello")
        return cut_crop(*arguments)

    monkeypatch.setattr(predict, "cut_crop", chatty)
    assert run(scan, "--json-progress") == 0
    assert json_lines(capsys.readouterr().out)[-1]["event"] == "summary"


def test_broken_bundle_ends_the_call_with_one_message(
    run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(model: Any, device: Any) -> None:
        raise BadBundle("model.safetensors is damaged. Get the bundle again.")

    monkeypatch.setattr(cli_predict, "load_model", broken)
    assert run(scan, scan) == 1
    assert capsys.readouterr().err.count("model.safetensors is damaged") == 1
    assert run(scan, scan, "--json-progress") == 1
    event = json_lines(capsys.readouterr().out)[-1]
    assert (event["event"], event["error"], event["exit_status"]) == ("failed", "BadBundle", 1)


@pytest.mark.parametrize(
    ("option", "error"),
    [("--boxes", "BadBoxes"), ("--model", "BadBundle"), ("--device", "DeviceUnavailable")],
)
def test_what_is_wrong_with_the_call_is_told_before_any_work(
    run: Run,
    scan: Path,
    option: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loaded(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(cli_predict, "load_model", loaded)
    value = "mps" if option == "--device" and sys.platform != "darwin" else "none.json"
    assert run(scan, option, value, "--json-progress") == 1
    (event,) = json_lines(capsys.readouterr().out)
    assert (event["event"], event["error"]) == ("failed", error)


# ------------------------------------------------------------------------------------- boxes


def test_boxes_by_hand_are_used_as_they_are(
    run: Run, scan: Path, toolbox: Any, tmp_path: Path
) -> None:
    moved = toolbox.centers[Side.RIGHT] + (3.0, 2.0, 1.0)
    file = tmp_path / "hand.mrk.json"
    box = SinusBox(Side.RIGHT, moved, toolbox.turned(5, 2), origin="hand")
    write_placement(Placement({Side.RIGHT: box}), file)
    assert run(scan, "--boxes", file) == 0
    report = json.loads((tmp_path / "out" / "sub-0001" / "sub-0001_report.json").read_text())
    assert list(report["sinuses"]) == ["right"]
    box = report["sinuses"]["right"]["box"]
    np.testing.assert_allclose(box["center_ras_mm"], moved, atol=1e-3)
    assert box["origin"] == "hand"


def test_boxes_that_nobody_moved_keep_the_quality_of_their_registration(
    run: Run, scan: Path, toolbox: Any, tmp_path: Path
) -> None:
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    placement = Placement(boxes, toolbox.quality("review", ("Look at them.",)))
    write_placement(placement, tmp_path / "placed.json")
    assert run(scan, "--boxes", tmp_path / "placed.json") == 0
    report = json.loads((tmp_path / "out" / "sub-0001" / "sub-0001_report.json").read_text())
    assert report["quality"]["verdict"] == "review"
    assert report["quality"]["reasons"] == ["Look at them."]
    assert report["sinuses"]["left"]["box"]["origin"] == "registration"


def test_boxes_belong_to_one_scan(run: Run, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        run(scan, scan, "--boxes", tmp_path / "hand.mrk.json")
    assert stop.value.code == 2


def test_unreadable_boxes_are_said_once(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, "--boxes", tmp_path / "none.mrk.json") == 1
    assert "none.mrk.json" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- devices


def test_devices_are_listed_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "cpu   CPU, " in capsys.readouterr().out
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"]["cpu"].startswith("CPU")


# ------------------------------------------------------------------------------------- names


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
