"""Several processes: no scan stops another, nothing is left half-done, whatever ends the call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_scoring import MakeFake

from ParanasalSSLLib.cli.events import Event, Note, ScanDone, ScanFailed
from ParanasalSSLLib.cli.jobs import Settled, plan_jobs
from ParanasalSSLLib.cli.needs import CallFailedError
from ParanasalSSLLib.cli.pool import default_processes, score_in_parallel

HELPERS = Path(__file__).parents[2] / "helpers"


class Call:
    def __init__(self, out: Path, *names: str, processes: int = 2) -> None:
        self.events: list[Event] = []
        jobs = plan_jobs([Path(name) for name in names])
        self.outcomes = score_in_parallel(
            jobs, processes, MakeFake(out), Settled(out, named=False), self.events.append, out
        )


def folders(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_outcomes_are_in_order_and_every_scans_events_too(tmp_path: Path) -> None:
    call = Call(tmp_path, "a", "bad", "b", "c")
    assert [type(outcome) for outcome in call.outcomes] == [
        ScanDone,
        ScanFailed,
        ScanDone,
        ScanDone,
    ]
    assert [outcome.scan for outcome in call.outcomes] == [1, 2, 3, 4]
    own = [type(event).__name__ for event in call.events if getattr(event, "scan", 0) == 3]
    assert own == ["StageBegun", "ScanDone"]
    assert folders(tmp_path) == ["sub-0001", "sub-0003", "sub-0004"]


def test_process_that_dies_costs_its_scan_only(tmp_path: Path) -> None:
    call = Call(tmp_path, "a", "dies", "dies", "b", "c")
    failed = [outcome for outcome in call.outcomes if isinstance(outcome, ScanFailed)]
    assert [outcome.scan for outcome in failed] == [2, 3]
    assert "--jobs 1" in failed[0].message and failed[0].error == "ProcessDied"
    assert folders(tmp_path) == ["sub-0001", "sub-0004", "sub-0005"]


def test_process_that_dies_before_its_scan_has_an_id_takes_no_other_scans(tmp_path: Path) -> None:
    (tmp_path / "sub-0002").mkdir()
    call = Call(tmp_path, "a", "dies at once")
    assert [outcome.id for outcome in call.outcomes] == ["sub-0001", "sub-0003"]


def test_what_all_scans_need_and_is_not_there_ends_the_call(tmp_path: Path) -> None:
    with pytest.raises(CallFailedError, match="damaged"):
        Call(tmp_path, "no model", "slow", "slow")
    assert folders(tmp_path) == []


PROGRAM = """
import sys
from pathlib import Path
from fake_scoring import MakeFake
from ParanasalSSLLib.cli.events import Note
from ParanasalSSLLib.cli.jobs import Settled, plan_jobs
from ParanasalSSLLib.cli.pool import score_in_parallel
from ParanasalSSLLib.cli.stopping import stopped_by_sigterm

def show(event):
    if isinstance(event, Note):
        print("writing", flush=True)

if __name__ == "__main__":
    out = Path(sys.argv[1])
    jobs = plan_jobs([Path("slow"), Path("slow"), Path("slow")])
    try:
        with stopped_by_sigterm():
            score_in_parallel(jobs, 2, MakeFake(out), Settled(out, False), show, out)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_ends_all_processes_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    program, out = tmp_path / "call.py", tmp_path / "out"
    program.write_text(PROGRAM)
    out.mkdir()
    paths = os.pathsep.join([str(HELPERS), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, program, out],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() and process.stdout.readline()  # both write
        process.send_signal(number)
        status = process.wait(timeout=60)
        deadline = time.monotonic() + 60
        while _is_alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _is_alive(process.pid), "a process of the call goes on"
        assert b"Traceback" not in process.stderr.read()
    assert status == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert folders(out) == []


def _is_alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_are_started_where_they_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ParanasalSSLLib.cli import pool

    monkeypatch.setattr(pool, "available_cores", lambda: 8)
    monkeypatch.setattr(pool, "available_memory_gb", lambda: 100.0)
    assert [default_processes(scans) for scans in (0, 1, 7, 8, 24, 999)] == [1, 1, 1, 2, 6, 8]
    monkeypatch.setattr(pool, "available_memory_gb", lambda: 4.0)
    assert default_processes(999) == 2


def test_notes_of_processes_come_through(tmp_path: Path) -> None:
    assert Note("writing") in Call(tmp_path, "a").events
