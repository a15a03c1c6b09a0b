"""`paranasal predict` in a process beside Slicer: the panel stays usable, Cancel really ends it.

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
from typing import Any

import qt
from slicer.i18n import tr as _

from ParanasalSSLLib.cli.events import CallFailed, Event, Summary, from_json

KILL_AFTER_MS = 5000
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


class LibraryProcess:
    """One call of `paranasal ...`. Start it once."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._cancelled = False
        self._ended = False
        self._saidAll = False
        self._rest = {"out": b"", "err": b""}
        self._process = qt.QProcess()
        self._process.setWorkingDirectory(str(libraryFolder()))  # where -m finds the library
        self._process.setProcessEnvironment(_environment())
        # Kept here: PythonQt holds no reference to what it calls.
        self._slots = {
            "readyReadStandardOutput()": self._onOutput,
            "readyReadStandardError()": self._onErrorOutput,
            "finished(int,QProcess::ExitStatus)": self._onFinished,
            "errorOccurred(QProcess::ProcessError)": self._onError,
        }
        for signal, slot in self._slots.items():
            self._process.connect(signal, slot)
        self._patience = qt.QTimer()
        self._patience.setSingleShot(True)
        self._patience.connect("timeout()", self.kill)

    def start(self, arguments: list[str]) -> None:
        """Run `paranasal` with these arguments."""
        self._process.start(pythonExecutable(), ["-m", "ParanasalSSLLib.cli.main", *arguments])

    @property
    def isRunning(self) -> bool:
        """Whether the process has not ended yet."""
        return bool(self._process.state() != qt.QProcess.NotRunning)

    def cancel(self) -> None:
        """Ask the process to stop, and kill it if it does not do so soon. `onEnd` follows."""
        if self._ended:
            return
        self._cancelled = True
        self._process.closeWriteChannel()
        self._patience.start(KILL_AFTER_MS)

    def kill(self) -> None:
        """End the process at once."""
        if not self._ended:
            self._process.kill()

    def wait(self) -> None:
        """Until the end. Only for scripts and for closing Slicer: the panel stands still."""
        if self._cancelled and not self._ended:  # no timer runs meanwhile
            self._process.waitForFinished(KILL_AFTER_MS)
            self.kill()
        if not self._ended:
            self._process.waitForFinished(-1)

    # ----------------------------------------------------------------------- what Qt calls

    def _onOutput(self) -> None:
        for line in self._lines("out", self._process.readAllStandardOutput()):
            event = from_json(line)
            if event is None:
                self._listener.onLog(line)
            else:
                self._saidAll = self._saidAll or isinstance(event, LAST_EVENTS)
                self._listener.onEvent(event)

    def _onErrorOutput(self) -> None:
        for line in self._lines("err", self._process.readAllStandardError()):
            self._listener.onLog(line)

    def _lines(self, channel: str, array: Any) -> list[str]:
        """Whole lines that have come; what is left waits for its end."""
        *whole, self._rest[channel] = (self._rest[channel] + (array.data() or b"")).split(b"\n")
        # A bar on a terminal overwrites itself: only its last state is a line.
        lines = [line.rstrip(b"\r").split(b"\r")[-1] for line in whole]
        return [line.decode("utf-8", "replace") for line in lines if line.strip()]

    def _onFinished(self, status: int, _exit: Any = None) -> None:
        self._onOutput()
        self._onErrorOutput()
        if self._cancelled:
            self._end(Ending.CANCELLED, "")
        elif self._process.exitStatus() == qt.QProcess.NormalExit and (
            status == 0 or (status == 1 and self._saidAll)
        ):
            self._end(Ending.FINISHED, "")
        else:
            self._end(Ending.BROKEN, _("The computation ended unexpectedly. The log says more."))

    def _onError(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._end(
                Ending.BROKEN,
                _("Slicer's Python ({path}) could not be started. Install Slicer again.").format(
                    path=pythonExecutable()
                ),
            )

    def _end(self, ending: Ending, words: str) -> None:
        if not self._ended:
            self._ended = True
            self._patience.stop()
            self._listener.onEnd(ending, words)


def pythonExecutable() -> str:
    """Slicer's own Python as a program."""
    return shutil.which("PythonSlicer") or sys.executable


def libraryFolder() -> Path:
    """The folder that holds the library which this Slicer has loaded."""
    import ParanasalSSLLib

    return Path(ParanasalSSLLib.__file__).resolve().parents[1]


def _environment() -> Any:
    environment = qt.QProcessEnvironment.systemEnvironment()
    environment.insert("PYTHONUTF8", "1")
    environment.insert("PYTHONUNBUFFERED", "1")
    # Slicer's own image readers, which only work inside of it, warn in any other process.
    environment.insert("ITK_AUTOLOAD_PATH", "")
    # Ahead of an installed library of another version; -m would find the working directory first,
    # but not where Python is told to be safe.
    known = os.environ.get("PYTHONPATH", "")
    parts = [str(libraryFolder()), *([known] if known else [])]
    environment.insert("PYTHONPATH", os.pathsep.join(parts))
    return environment
