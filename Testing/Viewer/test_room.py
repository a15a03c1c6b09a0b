"""What a room asks of its runs, and what it tells of errors."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trame_slicer", reason="needs trame-slicer: make test-browser")

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.room import Room


@pytest.mark.parametrize(
    ("present", "expected"), [("b", (["b", "a"], "its node")), ("c", (["a", "b"], None))]
)
def test_all_that_wait_are_scored_the_case_on_screen_in_its_boxes(
    present: str, expected: Any
) -> None:
    begun: list[Any] = []
    rows = [{"id": name, "waits": name != "c"} for name in "acb"]
    room: Any = SimpleNamespace(
        state=SimpleNamespace(rows=rows, this_case=present),
        scan="its node",
        runs=SimpleNamespace(begin=lambda *given: begun.append(given)),
        telling=nullcontext,
    )
    Room.runWaiting(room)
    assert begun == [expected]


@pytest.mark.parametrize("kind", [UnreadableScan, ValueError, RuntimeError])
def test_the_terminal_knows_where_a_file_lies_and_the_page_does_not(
    kind: type[Exception], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Meier Anna" / "a.nii"
    cases = CaseList(tmp_path / "out", {"sub-0001": ScanSource(path)})
    room: Any = SimpleNamespace(state=SimpleNamespace(), cases=cases)
    room.say = partial(Room.say, room)
    with Room.telling(room):
        raise kind(f"{path} is cut off.")
    assert "a.nii is cut off." in room.state.words and room.state.failed
    assert "Meier" not in room.state.words and "/" not in room.state.words
    assert f"{path} is cut off." in capsys.readouterr().err


def test_a_damaged_result_without_its_scan_waits_for_nothing(tmp_path: Path) -> None:
    """It cannot be scored, and must not keep what waits behind it from being scored."""
    path = tmp_path / "sub-0001" / "sub-0001_report.json"
    path.parent.mkdir()
    path.write_text("{")
    cases = CaseList(tmp_path, {"sub-0002": ScanSource(tmp_path / "a.nii")})
    room: Any = SimpleNamespace(state=SimpleNamespace(), cases=cases)
    Room.listRows(room)
    rows = {row["id"]: row for row in room.state.rows}
    assert rows["sub-0001"]["state"] == "failed" and "damaged" in rows["sub-0001"]["message"]
    assert [name for name, row in rows.items() if row["waits"]] == ["sub-0002"]
    assert room.state.waiting == 1
