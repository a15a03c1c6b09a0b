"""A share of the kills (`python Testing/soak/kills.py` runs all of them)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kills import kill_often, predicting


def test_kills_of_a_folder_that_two_processes_score(tmp_path: Path) -> None:
    hit, faults = kill_often(predicting(tmp_path, 3, jobs=2), 4, np.random.default_rng(1))
    assert hit == 4 and not faults, "\n".join(faults)
