"""A user's eyes, hand and patience."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import slicer
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

PANEL_WIDTH = 420  # pixels, about what Slicer's module panel has


def picture(widget: Any, path: Path | str, width: int = PANEL_WIDTH) -> Path:
    """Draw a widget, at a panel's width and as high as it wants to be, into a PNG."""
    widget.show()
    slicer.app.processEvents()
    layout = widget.layout()
    high = layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else -1
    widget.resize(width, max(high, layout.totalSizeHint().height()))
    slicer.app.processEvents()
    if not widget.grab().save(str(path)):
        raise OSError(f"The picture {path} could not be written.")
    return Path(path)


def click(widget: Any) -> None:
    """Click with the mouse into the middle of a widget; a disabled one does not react."""
    if not widget.visible:
        raise AssertionError(f"{widget.name} is not to be seen, so nobody can click it.")
    QTest.mouseClick(widget, Qt.LeftButton)


def choose(combo: Any, index: int) -> None:
    """Choose an entry of a combo box with the keyboard."""
    QTest.keyClick(combo, Qt.Key_Home)
    for _ in range(index):
        QTest.keyClick(combo, Qt.Key_Down)


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Let Qt work (timers, processes, clicks) until the condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"Waited for {timeout_s} s.")
        QTest.qWait(5)
