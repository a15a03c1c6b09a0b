"""How a call ends before its time: Ctrl-C, SIGTERM and the end of standard input are one thing.

All raise `KeyboardInterrupt` in the main thread, so that whatever is half-done is tidied up.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 130  # exit status
END_AT_LAST_S = 20


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM does as Ctrl-C does, unless whoever started this has asked for something else."""
    in_main = threading.current_thread() is threading.main_thread()
    ours = in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def ignoring_ctrl_c() -> Iterator[None]:
    """Ctrl-C is ignored inside, here and in processes started inside until they say otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_with_input() -> None:
    """Do as Ctrl-C does when standard input ends: its other end was closed, or was killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been started deaf to it

    def wait() -> None:
        # Not through sys.stdin, whose lock a waiting thread would still hold at the normal end.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop_main_thread()

    threading.Thread(target=wait, daemon=True, name="input").start()


def stop_main_thread() -> None:
    """Interrupt the main thread from another one; if it never comes out of a library, end all."""
    if hasattr(signal, "pthread_kill"):  # wakes it from waiting, too
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
    time.sleep(END_AT_LAST_S)
    os._exit(STOPPED)
