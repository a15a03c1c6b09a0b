"""The scans of `paranasal prepare` over the cores, each in one thread of one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process

from tqdm import tqdm

from paranasal_training.prepare.work import RESUME_HINT, Outcome, ScanJob, do_scan, find_outcome
from ParanasalSSLLib.cli.stopping import ignoring_ctrl_c
from ParanasalSSLLib.devices import available_cores
from ParanasalSSLLib.errors import BadStore


def do_scans(jobs: list[ScanJob], processes: int | None) -> list[Outcome]:
    """Do what an earlier run has not done, over the cores; outcomes in the order of the jobs.

    Raises:
        BadStore: no space left, or a process that was killed (memory).
        KeyboardInterrupt: after Ctrl-C, once the scans at hand are finished.
    """
    found = {job.number: outcome for job in jobs if (outcome := find_outcome(job))}
    todo = [job for job in jobs if job.number not in found]
    with tqdm(total=len(jobs), initial=len(found), desc="scans", unit="scan") as bar:
        for outcome in in_parallel(todo, processes):
            found[outcome.number] = outcome
            bar.update()
    return [found[job.number] for job in jobs]


def in_parallel(jobs: list[ScanJob], processes: int | None) -> Iterator[Outcome]:
    """Outcomes as they come; errors as those of `do_scans`."""
    if not jobs:
        return
    number = min(processes or available_cores(), len(jobs))
    pool = ProcessPoolExecutor(number, get_context("spawn"), start_process)
    futures: list[Future[Outcome]] = []
    try:
        with ignoring_ctrl_c():  # the processes inherit it: only this one is to be interrupted
            futures = [pool.submit(do_scan, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except KeyboardInterrupt:
        tqdm.write(f"Stopping after the scans at hand. {RESUME_HINT}")
        raise
    except BrokenProcessPool as error:
        raise BadStore(
            f"A process was killed, most likely for lack of memory. {RESUME_HINT} Use fewer processes."
        ) from error
    except OSError as error:
        raise BadStore(
            f"A result cannot be written ({error.strerror or error}). {RESUME_HINT}"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def start_process() -> None:
    """One thread a process, since the scans fill the cores; and an end when the parent is killed."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
