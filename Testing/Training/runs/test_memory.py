"""Memory that a step has freed is there for the next."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from paranasal_training.runs.memory import keep_memory
print(keep_memory())
before = 0
for step in range(20):
    parts = [torch.ones(2**20) for _ in range(20)]
    del parts
    if step == 9:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_later_steps_touch_no_new_pages() -> None:
    """Ten steps of 80 MB would be 200 000 pages."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("another C library than glibc")
    assert int(faults) < 2000
