from __future__ import annotations

import subprocess
import sys

import pytest

from ParanasalSSLLib.cli.events import (
    CallFailed,
    Event,
    ScanDone,
    ScanFailed,
    StageBegun,
    Summary,
    from_json,
    to_json,
)

SCAN = {"id": "sub-0001", "scan": 1, "of": 2, "input": "head\udcff.nii"}


@pytest.mark.parametrize(
    "event",
    [
        StageBegun(**SCAN, stage="read", fraction=0.25),  # type: ignore[arg-type]
        ScanDone(**SCAN, folder="out", replaced=True, seconds=3.5, report={"files": {}}),  # type: ignore[arg-type]
        ScanFailed(**SCAN, error="UnreadableScan", message="Damaged.", older_result=True),  # type: ignore[arg-type]
        Summary(done=1, failed=1, out="out", exit_status=1),
        CallFailed("BadBundle", "Damaged."),
    ],
)
def test_events_survive_their_line(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line and line.isascii()
    assert from_json(line) == event


@pytest.mark.parametrize(
    "line", ["", "chatter", "[1]", "1", '{"event": 3}', '{"event": "new"}', '{"a": 1}', "[" * 99999]
)
def test_lines_that_are_no_event_are_passed_over(line: str) -> None:
    assert from_json(line) is None


def test_unknown_fields_are_passed_over() -> None:
    assert from_json('{"event": "summary", "done": 3, "new": 1}') == Summary(done=3)


def test_only_the_standard_library_is_imported() -> None:
    program = (
        "import sys; before = set(sys.modules); import ParanasalSSLLib.cli.events\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "sys.exit(', '.join(new - sys.stdlib_module_names - {'ParanasalSSLLib'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
