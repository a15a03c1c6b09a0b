"""The process beside Slicer: what it says is understood, and its end is always noticed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SAMPLE = Path("data") / "sample" / "simulated_head.nii.gz"


class Heard:
    """Notes what a process tells."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.log: list[str] = []
        self.end: tuple[Any, str] | None = None

    def listener(self) -> Any:
        from ParanasalSSLPanel.process import Listener

        return Listener(self.events.append, self.log.append, self.ended)

    def ended(self, ending: Any, words: str) -> None:
        assert self.end is None, "told twice"
        self.end = ending, words


@pytest.fixture
def runFake(fakeLibrary: Callable[[str], None]) -> Callable[..., tuple[Heard, Any]]:
    """Starts a process in which a few lines of Python stand for the library's command line."""
    from ParanasalSSLPanel import process

    def run(code: str) -> tuple[Heard, Any]:
        fakeLibrary(code)
        heard = Heard()
        work = process.LibraryProcess(heard.listener())
        work.start(["predict", "Ä ö ü.nii"])
        return heard, work

    return run


def wait_for_end(heard: Heard, timeout_s: float = 30) -> tuple[str, str]:
    import headless

    headless.wait_until(lambda: heard.end is not None, timeout_s)
    assert heard.end is not None
    ending, words = heard.end
    return ending.value, words


def test_events_are_told_apart_from_whatever_else_is_printed(runFake: Any) -> None:
    heard, _ = runFake(
        """
        print('{"event": "stage", "stage": "read"}', flush=True)
        print("a library's chatter")
        print('{"no event": 1}')
        print('[1, 2]')
        sys.stdout.buffer.write(b"\\xff\\xfe garbage\\n")
        sys.stdout.buffer.write(b'{"event": "su')
        sys.stdout.flush()
        time.sleep(0.2)
        sys.stdout.buffer.write(b'mmary", "out": "')
        sys.stdout.buffer.write(sys.argv[2].encode() + b'"}\\n')
        sys.stderr.write("10 %\\r20 %\\r30 %\\n")
        """
    )
    assert wait_for_end(heard) == ("finished", "")
    assert [event.name for event in heard.events] == ["stage", "summary"]
    assert heard.events[1].out == "Ä ö ü.nii"
    assert "a library's chatter" in heard.log and "30 %" in heard.log
    assert any("garbage" in line for line in heard.log)


@pytest.mark.parametrize(
    "code", ["sys.exit(3)", "sys.exit(1)", "raise ValueError", "os.kill(os.getpid(), 11)"]
)
def test_a_crash_is_told_in_words(runFake: Any, code: str) -> None:
    heard, _ = runFake(code)
    ending, words = wait_for_end(heard)
    assert ending == "broken" and "unexpectedly" in words


def test_a_scan_that_was_not_scored_is_no_crash(runFake: Any) -> None:
    heard, _ = runFake('print(\'{"event": "summary"}\')\nsys.exit(1)')
    assert wait_for_end(heard) == ("finished", "")


@pytest.mark.parametrize("crash", ["sys.exit(1)", "os.kill(os.getpid(), 9)"])
def test_a_scan_on_which_the_process_breaks_is_not_tried_again(
    fakeLibrary: Callable[[str], None], tmp_path: Path, crash: str
) -> None:
    """Slicer's launcher makes an exit status of 1 of every crash."""
    import headless
    from ParanasalSSLPanel.compute import Settings
    from ParanasalSSLPanel.worklist import Worklist, WorklistRun

    from ParanasalSSLLib.scans.source import ScanSource

    first, second = '"id": "sub-0001"', '"id": "sub-0002"'
    fakeLibrary(
        f"""
        if "sub-0001" in open(sys.argv[sys.argv.index("--scan-list") + 1]).read():
            print('{{"event": "stage", "stage": "read", {first}}}', flush=True)
            {crash}
        print('{{"event": "scan_done", {second}}}')
        print('{{"event": "summary"}}')
        """
    )
    worklist, ended = Worklist(tmp_path / "results"), []
    worklist.add({ScanSource(Path(f"/{name}.nii")): "" for name in "ab"})
    WorklistRun(worklist, Settings(), lambda: None, lambda line: None, ended.append).start()
    headless.wait_until(lambda: ended)
    assert [entry.state for entry in worklist.entries.values()] == ["failed", "done"]
    assert "unexpectedly" in worklist.entries["sub-0001"].message


def test_cancelling_lets_the_process_end_by_itself(runFake: Any, tmp_path: Path) -> None:
    heard, work = runFake(
        f"""
        print('{{"event": "stage"}}', flush=True)
        sys.stdin.read()
        open({str(tmp_path / "tidied")!r}, "w").close()
        sys.exit(130)
        """
    )
    import headless

    headless.wait_until(lambda: heard.events)
    work.cancel()
    assert wait_for_end(heard)[0] == "cancelled"
    assert (tmp_path / "tidied").exists()


@pytest.fixture
def stubborn(runFake: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Heard, Any]:
    """A process under way that does not end by itself, and is soon to be killed."""
    import headless
    from ParanasalSSLPanel import process

    monkeypatch.setattr(process, "KILL_AFTER_MS", 200)
    heard, work = runFake('print(\'{"event": "stage"}\', flush=True)\ntime.sleep(600)')
    headless.wait_until(lambda: heard.events)
    return heard, work


def test_a_process_that_does_not_end_is_killed(stubborn: tuple[Heard, Any]) -> None:
    heard, work = stubborn
    work.cancel()
    assert wait_for_end(heard, 5)[0] == "cancelled"


def test_waiting_for_a_cancelled_process_takes_no_longer_than_killing_it(
    stubborn: tuple[Heard, Any],
) -> None:
    heard, work = stubborn
    work.cancel()
    work.wait()
    assert heard.end is not None and heard.end[0].value == "cancelled"


def test_a_missing_python_is_told_in_words(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ParanasalSSLPanel import process

    monkeypatch.setattr(process, "pythonExecutable", lambda: "/nowhere/PythonSlicer")
    heard = Heard()
    process.LibraryProcess(heard.listener()).start(["predict"])
    ending, words = wait_for_end(heard, 5)
    assert ending == "broken" and "/nowhere/PythonSlicer" in words


@pytest.mark.slow
def test_cancelling_a_registration_ends_it_at_once(module: ModuleType, tmp_path: Path) -> None:
    """As in a worklist, where boxes are placed by the process; see test_panel for the other stages."""
    from ParanasalSSLPanel.compute import Settings
    from ParanasalSSLPanel.process import LibraryProcess, Listener

    import ParanasalSSLLib

    heard = Heard()

    def on_event(event: Any) -> None:
        heard.events.append(event)
        if event.stage == "register":
            work.cancel()

    work = LibraryProcess(Listener(on_event, heard.log.append, heard.ended))
    scan = Path(ParanasalSSLLib.__file__).parent / SAMPLE
    work.start(Settings("cpu").predict({"sub-0001": scan}, tmp_path / "out"))
    assert wait_for_end(heard, 60) == ("cancelled", "")
    assert [event.stage for event in heard.events] == ["read", "register"]
    assert not list((tmp_path / "out").glob("*"))


# A stand-in for Slicer starts `paranasal predict` and tells whom it has started, and what that prints.
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.pid, flush=True)
for line in child.stdout:
    print(line, end="", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whom", "stage"),
    [
        ("slicer", "read"),
        ("slicer", "register"),
        ("slicer", "write"),
        ("process", "analyse"),
        ("process", "write"),
    ],
)
def test_killing_at_any_moment_leaves_no_half_written_result_and_no_process(
    module: ModuleType, tmp_path: Path, whom: str, stage: str
) -> None:
    from ParanasalSSLPanel.compute import Settings

    import ParanasalSSLLib

    scan, out = Path(ParanasalSSLLib.__file__).parent / SAMPLE, tmp_path / "out"
    arguments = Settings("cpu").predict({"sub-0001": scan}, out)
    command = [sys.executable, "-m", "ParanasalSSLLib.cli.main", *arguments]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    while json.loads(parent.stdout.readline()).get("stage") != stage:
        pass
    time.sleep(random.uniform(0, 0.3))
    os.kill(parent.pid if whom == "slicer" else child, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < deadline, "the process went on"
        time.sleep(0.1)
    assert_nothing_half_written(out)
    if whom == "slicer":
        assert not list(out.glob(".*")), "it tidies up by itself"


def assert_nothing_half_written(out: Path) -> None:
    """What can be seen is whole; what was being written is hidden, and goes at the next run."""
    from ParanasalSSLLib.files import write_whole_folder
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.maps import read_maps
    from ParanasalSSLLib.results.record import read_report

    if (out / "sub-0001").exists():
        files = ScanFiles(out / "sub-0001", "sub-0001")
        read_maps(files)
        assert set(read_report(files.report_json).sinuses) == {"left", "right"}
        assert files.report_html.read_text(encoding="utf-8").rstrip().endswith("</html>")
    elif out.exists():
        with write_whole_folder(out / "sub-0001"):
            pass
        assert not list(out.glob(".*"))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not Path("/proc").is_dir()
