"""What a room asks of its runs."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trame_slicer", reason="needs trame-slicer: make test-browser")

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
