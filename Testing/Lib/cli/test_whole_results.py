"""A result is whole or not there, however a call ends; a second one takes its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_calls import Run

from ParanasalSSLLib.cli import main as cli
from ParanasalSSLLib.results import write as outputs


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
        assert (
            process.wait(timeout=15) == 130
        )  # `END_AT_LAST_S` would end what does not end by itself
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob(".*"))
    assert not (tmp_path / "out" / "sub-0001").exists()


def test_a_model_that_is_never_loaded_does_not_hold_a_stopped_call_up() -> None:
    program = """
import sys, threading
from ParanasalSSLLib.cli import needs
needs.LOADING_ENDS_S = 0.1
needs.BundleLoader(threading.Event().wait)
sys.exit(130)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 130


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
    run(scan, "--id", "head")
    assert run("missing.nii", "--id", "head") == 1
    assert "still holds an older result" in capsys.readouterr().err
