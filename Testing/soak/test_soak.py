"""A share of the soak (`python Testing/soak/soak.py` runs all of it)."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak import WHOLE_COMMAND, soak
from soak_command import stand_in_command

from ParanasalSSLLib.scans import archive


def test_forty_hostile_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(archive.tempfile, "tempdir", str(tmp_path / "tmp"))
    with stand_in_command() as command:
        figures = soak(range(WHOLE_COMMAND), 1, tmp_path, command)
    assert not figures.faults, "\n".join(figures.faults)
    assert figures.read > 5 and figures.refused > 5 and figures.scored + figures.failed == 1
