"""The panel as it looks in each of its states; `headless` says what these pictures are not.

To look at them: pytest Testing/Slicer/test_pictures.py --basetemp FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def photograph(tmp_path: Path) -> Callable[[Any, str], np.ndarray]:
    """Draws a panel into a file; returns the brightness of its pixels (rows, columns), 0..1."""
    import headless
    from matplotlib.image import imread

    def take(panel: Any, name: str) -> np.ndarray:
        path = headless.picture(panel.parent, tmp_path / f"{name}.png")
        return imread(path)[:, :, :3].mean(axis=2)

    return take


def inkOf(widget: Any, pixels: np.ndarray, panel: Any) -> float:
    """The fraction of a widget's pixels that differ clearly from its commonest brightness."""
    corner = widget.mapTo(panel.parent, widget.rect.topLeft())
    x, y = max(corner.x(), 0), max(corner.y(), 0)
    part = pixels[y : y + widget.height, x : x + widget.width]
    levels = np.round(part, 2)
    values, counts = np.unique(levels, return_counts=True)
    return float((np.abs(levels - values[counts.argmax()]) > 0.2).mean())


def test_every_state_of_the_panel_has_its_own_picture(
    openPanel: Callable[[Any], Any],
    standIn: Any,
    photograph: Callable[[Any, str], np.ndarray],
    slicer: Any,
    geometry: Any,
    tmp_path: Path,
) -> None:
    import headless
    from ParanasalSSLPanel.boxes import boxNode
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel = openPanel(standIn)
    pictures = {"empty": photograph(panel, "empty")}
    addMadeUpScan()
    pictures["scan"] = photograph(panel, "scan")
    headless.click(panel.ui.runButton)
    pictures["error"] = photograph(panel, "error")
    assert inkOf(panel.ui.messageLabel, pictures["error"], panel) > 0.01
    headless.click(panel.ui.placeBoxesButton)
    pictures["boxes"] = photograph(panel, "boxes")
    headless.click(panel.ui.runButton)
    pictures["results"] = photograph(panel, "results")
    for name in ("researchUseLabel", "qualityLabel", "scoresLabel", "noticesLabel", "runButton"):
        widget = getattr(panel.ui, name)
        assert inkOf(widget, pictures["results"], panel) > 0.01, f"{name}: nothing is drawn"

    geometry.move(boxNode(panel.scan, Side.RIGHT), (0, 4, 0))
    pictures["moved"] = photograph(panel, "moved")
    assert inkOf(panel.ui.outdatedLabel, pictures["moved"], panel) > 0.01
    standIn.verdict, standIn.reasons = "review", ("The head is turned by 50 degrees.",)
    headless.click(panel.ui.placeBoxesButton)
    pictures["review"] = photograph(panel, "review")
    standIn.verdict = "failed"
    headless.click(panel.ui.placeBoxesButton)
    pictures["failed"] = photograph(panel, "failed")
    flat = slicer.util.addVolumeFromArray(np.zeros((3, 64, 64), np.float32), np.eye(4), "Flat")
    panel.ui.scanSelector.setCurrentNode(flat)
    pictures["refused"] = photograph(panel, "refused")
    assert inkOf(panel.ui.judgementLabel, pictures["refused"], panel) > 0.01
    panel.ui.worklistCollapsibleButton.collapsed = False
    panel.ui.worklistFolderEdit.currentPath = str(tmp_path / "results")
    panel.ui.addLoadedButton.click()
    pictures["worklist"] = photograph(panel, "worklist")
    assert inkOf(panel.ui.worklistTable, pictures["worklist"], panel) > 0.01

    states = [picture.tobytes() for picture in pictures.values()]
    assert len(set(states)) == len(states)
