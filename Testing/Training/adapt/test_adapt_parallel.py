"""Jobs in processes: all are done, errors come through, a stop is heard at once."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from paranasal_training.adapt.parallel import run_jobs


@pytest.mark.parametrize("processes", [1, 2])
def test_all_jobs_are_done_and_told(processes: int) -> None:
    told: list[int] = []
    run_jobs(time.sleep, [0.01, 0.02, 0.03], processes, told.append)
    assert told[-1] == 3 and told == sorted(told)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_goes_wrong_in_a_job_is_raised(processes: int) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        run_jobs(float, ["1", "no number"], processes)


def test_a_stop_ends_all_processes_soon() -> None:
    def stop(done: int) -> None:
        if multiprocessing.active_children():
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(time.sleep, [600.0, 600.0, 600.0], 2, stop)
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 60
