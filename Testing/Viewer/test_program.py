"""A program beside a server: what it says is heard in the event loop, and its end is always noticed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ParanasalSSLViewer.program import ThreadedProgram


class Ear:
    def __init__(self) -> None:
        self.heard: dict[str, bytes] = {"out": b"", "err": b""}
        self.end: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    def onOutput(self, channel: str, content: bytes) -> None:
        self.heard[channel] += content

    def onFinished(self, status: int, crashed: bool) -> None:
        self.end.set_result((status, crashed))

    def onNotStarted(self) -> None:
        self.end.set_result((-1, False))


async def ended(code: str, path: str = sys.executable, stop_ms: int = 0) -> tuple[Ear, int, bool]:
    ear = Ear()
    program = ThreadedProgram(ear)
    program.start(path, ["-c", code], Path(), {"ADDED": "added"})
    if stop_ms:
        program.stop(stop_ms)
    status, crashed = await asyncio.wait_for(ear.end, 60)
    program.stopWaiting()
    assert not program.isRunning
    return ear, status, crashed


def test_all_lines_come_before_the_end() -> None:
    code = "import os, sys; print(os.environ['ADDED']); print('log', file=sys.stderr); sys.exit(1)"
    ear, status, crashed = asyncio.run(ended(code))
    assert ear.heard == {"out": b"added\n", "err": b"log\n"}
    assert (status, crashed) == (1, False)


def test_one_that_ends_with_its_input_is_asked_to() -> None:
    _ear, status, crashed = asyncio.run(ended("import sys; sys.stdin.read()", stop_ms=50_000))
    assert (status, crashed) == (0, False)


def test_one_that_does_not_is_killed() -> None:
    _ear, _status, crashed = asyncio.run(ended("import time; time.sleep(100)", stop_ms=500))
    assert crashed


def test_one_that_is_not_there_is_told() -> None:
    _ear, status, _crashed = asyncio.run(ended("", path="/nowhere/python"))
    assert status == -1
