"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("PARANASAL_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real test scans (`heads/`, `donors/`); skips where a user has only the repo."""
    if not (SHARED_DATA / "heads").is_dir():
        pytest.skip(f"real test scans are not at {SHARED_DATA} (set PARANASAL_TEST_DATA)")
    return SHARED_DATA
