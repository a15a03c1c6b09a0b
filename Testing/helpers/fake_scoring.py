"""A stand-in for the scoring of one scan, for tests with several processes (they import it by name).

The name of a scan says what happens to it.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.cli.events import Note, ScanDone, StageBegun
from ParanasalSSLLib.cli.jobs import Job
from ParanasalSSLLib.cli.needs import CallFailedError
from ParanasalSSLLib.cli.score import Ids, Outcome, Show, failure
from ParanasalSSLLib.errors import BadBundle, UnreadableScan
from ParanasalSSLLib.files import write_whole_folder


@dataclass
class FakeScorer:
    out: Path
    ids: Ids
    show: Show

    def score(self, job: Job) -> Outcome:
        name = job.scan.path.name
        self.show(StageBegun(**job.about(), stage="read"))
        print("a library says hello")
        if name == "dies at once":
            os.kill(os.getpid(), signal.SIGKILL)
        job = self.ids.settle(job, name)
        if name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "no model":
            raise CallFailedError(BadBundle("It is damaged."))
        if name == "bad":
            outcome: Outcome = failure(job, UnreadableScan("It is empty."), self.out)
        else:
            self._write(job, 60 if name == "slow" else 0)
            outcome = ScanDone(**job.about(), folder=str(os.getpid()))
        self.show(outcome)
        return outcome

    def _write(self, job: Job, seconds: float) -> None:
        with write_whole_folder(self.out / job.scan_id) as folder:
            (folder / "half").touch()
            self.show(Note("writing"))
            time.sleep(seconds)


@dataclass(frozen=True)
class MakeFake:
    out: Path

    def __call__(self, ids: Ids, show: Show) -> FakeScorer:
        return FakeScorer(self.out, ids, show)
