"""A scan that is moved or put under a transform while, or after, something was computed of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

SHIFT_RAS_MM = (0.0, 0.0, 30.0)


def put_under_transform(slicer: Any, scan: Any) -> Any:
    """As a user does in the module Transforms."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT_RAS_MM
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    scan.SetAndObserveTransformNodeID(transform.GetID())
    return transform


@pytest.fixture
def later(standIn: Any) -> list[Callable[[], None]]:
    """What the stand-in has still to tell: from now on it takes its time."""
    told: list[Callable[[], None]] = []

    def place(volume: Any, watcher: Any) -> Any:
        told.append(lambda: watcher.done(standIn.placement()))
        return standIn

    def start(volume: Any, boxes: Any, quality: Any, settings: Any, watcher: Any) -> Any:
        found = replace(standIn.findings(volume, boxes, quality), boxes=dict(boxes))
        told.append(lambda: watcher.done(found))
        return standIn

    standIn.place, standIn.start = place, start
    return told


def test_what_was_found_where_the_scan_no_longer_is_is_not_shown(
    slicer: Any, logic: Any, later: list[Callable[[], None]], scan: Any
) -> None:
    """Boxes and findings lie in the world, and the scan does not follow them."""
    from ParanasalSSLPanel import boxes, tables
    from ParanasalSSLPanel.compute import Settings, Watcher

    said: list[Any] = []
    watcher = Watcher(lambda found: said.append("done"), said.append)
    logic.startPlacing(scan, watcher)
    transform = put_under_transform(slicer, scan)
    later.pop()()
    assert "moved in the meantime" in said.pop() and boxes.boxesOf(scan) == {}
    scan.SetAndObserveTransformNodeID(None)
    logic.startPlacing(scan, watcher)
    later.pop()()
    logic.start(scan, Settings(), watcher)
    scan.SetAndObserveTransformNodeID(transform.GetID())
    later.pop()()
    assert said[0] == "done" and "moved in the meantime" in said[1]
    assert tables.tableOf(scan) is None


@pytest.mark.application
def test_numbers_are_outdated_as_soon_as_the_scan_is_moved(
    slicer: Any, panel: Any, scan: Any
) -> None:
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    label = panel.ui.outdatedLabel
    assert not label.isVisibleTo(label.parentWidget())
    transform = put_under_transform(slicer, scan)
    assert label.isVisibleTo(label.parentWidget())
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))
    assert not label.isVisibleTo(label.parentWidget())
    scan.SetOrigin(0.0, 0.0, 0.0)
    assert label.isVisibleTo(label.parentWidget())
