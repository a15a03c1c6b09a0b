"""The library in a process beside Slicer: the panel stays usable, Cancel really ends it.

The process prints one JSON object a line (`ParanasalSSLLib.cli.events` says which); whatever
else it prints is log. It ends by itself, tidily, when its standard input is closed: after Cancel, and
when Slicer is closed or killed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, Summary, from_json
from ParanasalSSLPanel.program import Ear, Program

KILL_AFTER_MS = 5000
COMMANDS = "ParanasalSSLLib.cli.main"  # `paranasal`
# With status 1, too, all is said: which scans could not be scored, and why. (Without one of these, a
# status of 1 is what Slicer's launcher makes of a crash.)
LAST_EVENTS = (Summary, CallFailed)


class Ending(Enum):
    """How a process came to its end."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    BROKEN = "broken"


@dataclass(frozen=True)
class Listener:
    """Whom a process tells what happens; never from another thread.

    onEvent: every event.
    onLog: every other line.
    onEnd: once, last; with a sentence for the user when it is broken, else "".
    """

    onEvent: Callable[[Event], None]
    onLog: Callable[[str], None]
    onEnd: Callable[[Ending, str], None]


class Toolkit:
    """Of this front end; whoever has no Qt says once what makes its programs."""

    newProgram: Callable[[Ear], Program] | None = None

    @classmethod
    def programFor(cls, ear: Ear) -> Program:
        """A program that is still to be started."""
        if cls.newProgram is not None:
            return cls.newProgram(ear)
        from ParanasalSSLPanel.qtProgram import QtProgram

        return QtProgram(ear)


class LibraryProcess:
    """One call of `paranasal ...`, or of another of the library's programs. Start it once."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._cancelled = False
        self._ended = False
        self._saidAll = False
        self._rest = {"out": b"", "err": b""}
        self._program = Toolkit.programFor(self)

    def start(self, arguments: list[str], module: str = COMMANDS) -> None:
        """Run a module of the library with these arguments."""
        call = ["-m", module, *arguments]
        # The folder is where -m finds the library.
        self._program.start(pythonExecutable(), call, libraryFolder(), _environment())

    @property
    def isRunning(self) -> bool:
        """Whether the process has not ended yet."""
        return self._program.isRunning

    def cancel(self) -> None:
        """Ask the process to stop, and kill it if it does not do so soon. `onEnd` follows."""
        if self._ended:
            return
        self._cancelled = True
        self._program.stop(KILL_AFTER_MS)

    def kill(self) -> None:
        """End the process at once."""
        if not self._ended:
            self._program.kill()

    def wait(self) -> None:
        """Until the end. Only for scripts and for closing Slicer: the panel stands still."""
        if self._cancelled and not self._ended:  # no timer runs meanwhile
            self._program.wait(KILL_AFTER_MS)
            self.kill()
        if not self._ended:
            self._program.wait(-1)

    # ------------------------------------------------------------------ what the program calls

    def onOutput(self, channel: str, content: bytes) -> None:
        """See `Ear`."""
        for line in self._lines(channel, content):
            event = from_json(line) if channel == "out" else None
            if event is None:
                self._listener.onLog(line)
            else:
                self._saidAll = self._saidAll or isinstance(event, LAST_EVENTS)
                self._listener.onEvent(event)

    def _lines(self, channel: str, content: bytes) -> list[str]:
        """Whole lines that have come; what is left waits for its end."""
        *whole, self._rest[channel] = (self._rest[channel] + content).split(b"\n")
        # A bar on a terminal overwrites itself: only its last state is a line.
        lines = [line.rstrip(b"\r").split(b"\r")[-1] for line in whole]
        return [line.decode("utf-8", "replace") for line in lines if line.strip()]

    def onFinished(self, status: int, crashed: bool) -> None:
        """See `Ear`."""
        if self._cancelled:
            self._end(Ending.CANCELLED, "")
        elif not crashed and (status == 0 or (status == 1 and self._saidAll)):
            self._end(Ending.FINISHED, "")
        else:
            self._end(Ending.BROKEN, _("The computation ended unexpectedly. The log says more."))

    def onNotStarted(self) -> None:
        """See `Ear`."""
        self._end(
            Ending.BROKEN,
            _("Slicer's Python ({path}) could not be started. Install Slicer again.").format(
                path=pythonExecutable()
            ),
        )

    def _end(self, ending: Ending, words: str) -> None:
        if not self._ended:
            self._ended = True
            self._program.stopWaiting()
            self._listener.onEnd(ending, words)


def pythonExecutable() -> str:
    """Slicer's own Python as a program."""
    return shutil.which("PythonSlicer") or sys.executable


def libraryFolder() -> Path:
    """The folder that holds the library which this Slicer has loaded."""
    import ParanasalSSLLib

    return Path(ParanasalSSLLib.__file__).resolve().parents[1]


def _environment() -> dict[str, str]:
    """What is added to the environment of the process."""
    # Ahead of an installed library of another version; -m would find the working directory first,
    # but not where Python is told to be safe.
    known = os.environ.get("PYTHONPATH", "")
    parts = [str(libraryFolder()), *([known] if known else [])]
    return {
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        # Slicer's own image readers, which only work inside of it, warn in any other process.
        "ITK_AUTOLOAD_PATH": "",
        "PYTHONPATH": os.pathsep.join(parts),
    }
