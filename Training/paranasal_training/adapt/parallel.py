"""Jobs over the cores; what each has done lies in files, so that a stopped call can be resumed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from paranasal_training.prepare.parallel import start_process
from ParanasalSSLLib.cli.stopping import ignoring_ctrl_c
from ParanasalSSLLib.devices import available_cores
from ParanasalSSLLib.errors import BadStore

Job = TypeVar("Job")
MOST = 4  # processes, each of which holds a network in training
TICK_S = 1.0
PATIENCE_S = 3.0  # for a process that is training to save


def usual_processes() -> int:
    """As many as there are cores, four at most."""
    return min(available_cores(), MOST)


def run_jobs(
    work: Callable[[Job], None],
    jobs: Sequence[Job],
    processes: int,
    tick: Callable[[int], None] = lambda done: None,
) -> None:
    """Do all jobs; `tick` is called with the number that is done, about once a second.

    Raises:
        BadStore: a process was killed (memory).
        KeyboardInterrupt: after Ctrl-C, at once; processes that are training save what they have.
    """
    if processes == 1:
        for number, job in enumerate(jobs, start=1):
            work(job)
            tick(number)
    elif jobs:
        _in_processes(work, jobs, min(processes, len(jobs)), tick)


def _in_processes(
    work: Callable[[Job], None], jobs: Sequence[Job], processes: int, tick: Callable[[int], None]
) -> None:
    pool = ProcessPoolExecutor(processes, get_context("spawn"), start_process)
    try:
        with ignoring_ctrl_c():  # the processes inherit it: only this one is to be interrupted
            pending = {pool.submit(work, job) for job in jobs}
        while pending:
            done, pending = wait(pending, TICK_S, FIRST_COMPLETED)
            for future in done:
                future.result()
            tick(len(jobs) - len(pending))
    except BrokenProcessPool as error:
        raise BadStore(
            "A process was killed, most likely for lack of memory. The same command goes on where "
            "it stopped; use fewer processes."
        ) from error
    except BaseException:
        _stop_processes()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _stop_processes() -> None:
    """Soon: a process that has saved would take the next job."""
    processes = multiprocessing.active_children()
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0.0))
        process.kill()
