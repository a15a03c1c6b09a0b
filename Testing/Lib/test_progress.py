from __future__ import annotations

import io
import time

import pytest

from ParanasalSSLLib import progress
from ParanasalSSLLib.progress import Progress, ProgressBar, Stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_moves_inside_a_stage_and_never_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "CREEP_S", 0.01)
    monkeypatch.setattr(progress, "STAGE_S", 0.05)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    terminal = Terminal()
    bar = ProgressBar(1, terminal)
    bar.report(1, "sub-0001", Progress.at(Stage.REGISTER))
    time.sleep(0.5)
    bar.close()
    shown = [
        int(part.split("%")[0].split()[-1])
        for part in terminal.getvalue().split("\r")
        if "%" in part
    ]
    assert shown == sorted(shown) and 10 in shown and 50 < shown[-1] <= 60
