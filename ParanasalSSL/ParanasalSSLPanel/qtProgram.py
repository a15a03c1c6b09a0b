"""A program beside Slicer, run by Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from ParanasalSSLPanel.program import Ear


class QtProgram:
    """As `process.Program` says."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._process = qt.QProcess()
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

    @property
    def isRunning(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._process.state() != qt.QProcess.NotRunning)

    def start(self, path: str, arguments: list[str], folder: Path, added: dict[str, str]) -> None:
        """Run it in a folder. added: to the environment."""
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in added.items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.setWorkingDirectory(str(folder))
        self._process.start(path, arguments)

    def stop(self, killAfterMs: int) -> None:
        """Close its input; kill it if it has not ended then."""
        self._process.closeWriteChannel()
        self._patience.start(killAfterMs)

    def stopWaiting(self) -> None:
        """It has ended: nothing is to be killed any more."""
        self._patience.stop()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, ms: int) -> None:
        """Until it has ended, but not longer than that; -1: however long."""
        self._process.waitForFinished(ms)

    def _onOutput(self) -> None:
        self._tell("out", self._process.readAllStandardOutput())

    def _onErrorOutput(self) -> None:
        self._tell("err", self._process.readAllStandardError())

    def _tell(self, channel: str, array: Any) -> None:
        self._ear.onOutput(channel, array.data() or b"")

    def _onFinished(self, status: int, _exit: Any = None) -> None:
        self._onOutput()
        self._onErrorOutput()
        crashed = self._process.exitStatus() != qt.QProcess.NormalExit
        self._ear.onFinished(status, crashed)

    def _onError(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._ear.onNotStarted()
