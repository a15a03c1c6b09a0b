"""A program beside a server: what `ParanasalSSLPanel.process.Program` asks for, without Qt."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from ParanasalSSLPanel.program import Ear


class ThreadedProgram:
    """Threads read what it prints; the event loop in which it was made hears of it."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def isRunning(self) -> bool:
        """Whether it has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def start(self, path: str, arguments: list[str], folder: Path, added: dict[str, str]) -> None:
        """Run it in a folder. added: to the environment."""
        pipe = subprocess.PIPE
        environment = os.environ | added
        call = [path, *arguments]
        try:
            self._process = subprocess.Popen(
                call, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=environment
            )
        except OSError:
            self._loop.call_soon(self._ear.onNotStarted)
            return
        threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()

    def stop(self, killAfterMs: int) -> None:
        """Close its input; kill it if it has not ended then."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            self._patience = self._loop.call_later(killAfterMs / 1000, self.kill)

    def stopWaiting(self) -> None:
        """It has ended: nothing is to be killed any more."""
        if self._patience is not None:
            self._patience.cancel()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()

    def wait(self, ms: int) -> None:
        """Until it has ended, but not longer than that; -1: however long."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(None if ms < 0 else ms / 1000)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        channels = {"out": process.stdout, "err": process.stderr}
        readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in channels.items()
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        status = process.wait()
        self._tell(self._ear.onFinished, status, status < 0)

    def _read(self, channel: str, pipe: IO[bytes] | None) -> None:
        for line in pipe or ():
            self._tell(self._ear.onOutput, channel, line)

    def _tell(self, call: Callable[..., None], *content: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call, *content)
