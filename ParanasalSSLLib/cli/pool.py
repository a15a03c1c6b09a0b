"""The scans of a call over several processes, each of which has the model and one scan at a time.

The processes know nothing of each other. This one hands out scans, gives the ids, and passes on what
they tell; a process that dies costs its scan, and another one takes its place. They end when this one
is stopped or killed.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ParanasalSSLLib.cli.events import ScanDone, ScanFailed
from ParanasalSSLLib.cli.jobs import Job
from ParanasalSSLLib.cli.needs import CallFailedError
from ParanasalSSLLib.cli.score import Ids, Outcome, Scorer, Show, failure
from ParanasalSSLLib.cli.stopping import STOPPED, ignoring_ctrl_c, stop_main_thread
from ParanasalSSLLib.devices import available_cores
from ParanasalSSLLib.files import tidy_up

PATIENCE_S = 3.0  # with processes that were told to stop
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
MakeScorer = Callable[[Ids, Show], Scorer]


class ProcessDied(Exception):
    """A process ended in the middle of a scan."""

    def __str__(self) -> str:
        return (
            "The process that scored it ended unexpectedly, most likely for lack of memory. Score it "
            "again with --jobs 1."
        )


@dataclass(frozen=True)
class _Settle:
    """The request for the final id of a scan; the answer is a `Job` or an exception."""

    job: Job
    sha256: str | None
    refused: bool


@dataclass(frozen=True)
class _CannotBegin:
    """What all scans need is not there."""

    reason: Exception


# ------------------------------------------------------------------------ the process that hands out


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Any
    job: Job | None = None
    is_settled: bool = False  # the job's id


def score_in_parallel(
    jobs: Sequence[Job], processes: int, make: MakeScorer, ids: Ids, show: Show, out: Path
) -> list[Outcome]:
    """Score the jobs; what happens is shown as it comes, the outcomes are in the order of the jobs.

    Args:
        make: called in every process; has to be picklable.
        out: folder of the results.

    Raises:
        CallFailedError: what all scans need is not there.
        KeyboardInterrupt: stopped; all processes have ended, nothing is left half-written.
    """
    pool = _Pool(list(jobs), make, ids, show, out)
    try:
        pool.start(processes)
        pool.run()
    finally:
        pool.stop()
    return [pool.outcomes[job.number] for job in jobs]


class _Pool:
    def __init__(self, jobs: list[Job], make: MakeScorer, ids: Ids, show: Show, out: Path) -> None:
        self._todo, self._make, self._ids, self._show, self._out = jobs[::-1], make, ids, show, out
        self._workers: list[_Worker] = []
        self._threads = 1
        self.outcomes: dict[int, Outcome] = {}

    def start(self, processes: int) -> None:
        self._threads = max(1, available_cores() // processes)
        for _ in range(min(processes, len(self._todo))):
            self._add_worker()

    def _add_worker(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        what = (theirs, self._make, self._threads)
        process = context.Process(target=_work, args=what, daemon=True)
        with ignoring_ctrl_c():  # until it has said what it does then
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        self._hand_out(self._workers[-1])

    def _hand_out(self, worker: _Worker) -> None:
        worker.job, worker.is_settled = self._todo.pop() if self._todo else None, False
        with suppress(OSError):  # it has died: told when its end is read
            worker.pipe.send(worker.job)

    def run(self) -> None:
        while self._workers:
            ready = connection.wait([worker.pipe for worker in self._workers])
            for worker in [one for one in self._workers if one.pipe in ready]:
                try:
                    self._hear(worker, worker.pipe.recv())
                except (EOFError, OSError):
                    self._bury(worker)

    def _hear(self, worker: _Worker, said: Any) -> None:
        if isinstance(said, _CannotBegin):
            raise CallFailedError(said.reason)
        if isinstance(said, _Settle):
            worker.pipe.send(self._settle(said, worker))
            return
        self._show(said)
        if isinstance(said, ScanDone | ScanFailed):
            self.outcomes[said.scan] = said
            self._hand_out(worker)

    def _settle(self, request: _Settle, worker: _Worker) -> Job | Exception:
        try:
            worker.job = self._ids.settle(request.job, request.sha256, request.refused)
        except Exception as error:  # the scan's
            return error
        worker.is_settled = True
        return worker.job

    def _bury(self, worker: _Worker) -> None:
        """A process has ended: as it was told to, or in the middle of a scan."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        if worker.job is None:
            return
        self._clean(worker.job)
        job = worker.job if worker.is_settled else self._ids.settle(worker.job, None)
        outcome = failure(job, ProcessDied(), self._out)
        self.outcomes[outcome.scan] = outcome
        self._show(outcome)
        if self._todo:
            self._add_worker()

    def stop(self) -> None:
        """End all processes that are left, and what they have begun."""
        for worker in self._workers:
            worker.pipe.close()
        deadline = time.monotonic() + PATIENCE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            if worker.job is not None:
                self._clean(worker.job)

    def _clean(self, job: Job) -> None:
        tidy_up(self._out / job.scan_id)


# ----------------------------------------------------------------------------- a process that scores


class _Line:
    """The pipe to the process that hands out; its end stops the work at hand."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._said: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True, name="line").start()

    def _listen(self) -> None:
        while True:
            try:
                said = self._pipe.recv()
            except (EOFError, OSError):
                self._said.put(KeyboardInterrupt())
                stop_main_thread()
                return
            self._said.put(said)
            if said is None:
                return

    def next(self) -> Any:
        said = self._said.get()
        if isinstance(said, KeyboardInterrupt):
            raise said
        return said

    def tell(self, what: Any) -> None:
        try:
            self._pipe.send(what)
        except OSError as error:  # nobody is there any more
            raise KeyboardInterrupt from error

    def settle(self, job: Job, sha256: str | None, refused: bool = False) -> Job:
        """See `Ids`."""
        self.tell(_Settle(job, sha256, refused))
        answer = self.next()
        if isinstance(answer, Exception):
            raise answer
        settled: Job = answer
        return settled


def _work(pipe: Any, make: MakeScorer, threads: int) -> None:
    """Score what is handed out until there is no more."""
    _prepare_process(threads)
    try:
        line = _Line(pipe)
        scorer = make(line, line.tell)
        while (job := line.next()) is not None:
            scorer.score(job)
    except CallFailedError as error:
        with suppress(KeyboardInterrupt):
            line.tell(_CannotBegin(error.reason))
    except KeyboardInterrupt:
        os._exit(STOPPED)  # at once: nobody waits for a library's threads


def _prepare_process(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.dup2(2, 1)  # what libraries print must not stand among the events
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))


# ------------------------------------------------------------------------------ how many at a time

PROCESS_GB = 1.5  # that one takes at most, beside the scan's own
SCANS_A_PROCESS = 4  # at least: to start one takes as long as a scan or two


def default_processes(scans: int) -> int:
    """As many as cores and memory allow, and as are worth their start."""
    by_memory = int(available_memory_gb() // PROCESS_GB)
    return max(1, min(available_cores(), by_memory, scans // SCANS_A_PROCESS))


def available_memory_gb() -> float:
    """Memory that can be had without swapping; much where the system does not say it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            kilobytes = {line.split(":")[0]: line.split()[1] for line in file}
        return int(kilobytes["MemAvailable"]) / 1e6
    except (OSError, KeyError, IndexError, ValueError):
        return float("inf")
