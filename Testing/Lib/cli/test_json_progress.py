"""What `paranasal predict --json-progress` says to programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cli_calls import Run, json_lines

from ParanasalSSLLib import predict
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.errors import BadBundle


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
