"""Which steps of a workflow failed, and the last that they said.

A step that fails leaves `logs/STEP.log.failed` beside its log (see `LOG` in the Snakefiles).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

LAST_LINES = 8
MARK = ".failed"


def forget_failures(folder: Path) -> None:
    """Remove the marks of an earlier call."""
    for mark in folder.glob(f"logs/*.log{MARK}"):
        mark.unlink(missing_ok=True)


def failures(folder: Path) -> Iterator[str]:
    """For each step that failed: its name, the last lines of its log, and where that lies."""
    for mark in sorted(folder.glob(f"logs/*.log{MARK}")):
        log = mark.with_suffix("")
        yield f"The step {log.stem} failed:"
        yield from (f"    {line}" for line in last_lines(log))
        yield f"    (all that it said: {log})"


def last_lines(log: Path) -> list[str]:
    """The end of a log without bars of progress."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    said = [line for line in lines if line]
    return said[-LAST_LINES:] or ["It ended without a word; was it killed, or the memory full?"]
