"""One case on screen, and the reader's own views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ParanasalSSLLib.sinuses import Side


def drawn(scan: Any) -> list[Any]:
    from ParanasalSSLPanel.boxes import boxNode
    from ParanasalSSLPanel.results import segmentationOf

    return [segmentationOf(scan), *(boxNode(scan, side) for side in Side)]


@pytest.fixture
def two(panel: Any, scan: Any) -> tuple[Any, Any]:
    """Two scored scans, the second of them chosen."""
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    other = addMadeUpScan("Other")
    for each in (scan, other):
        panel.ui.scanSelector.setCurrentNode(each)
        panel.ui.placeBoxesButton.click()
        panel.ui.runButton.click()
    return scan, other


def visible(scan: Any) -> set[bool]:
    return {bool(node.GetDisplayVisibility()) for node in drawn(scan)}


def test_only_the_chosen_case_is_on_screen(panel: Any, two: tuple[Any, Any]) -> None:
    scan, other = two
    assert visible(scan) == {False} and visible(other) == {True}
    panel.ui.scanSelector.setCurrentNode(scan)
    assert visible(scan) == {True} and visible(other) == {False}


def test_what_a_user_has_hidden_stays_hidden(panel: Any, two: tuple[Any, Any]) -> None:
    from ParanasalSSLPanel.results import segmentationOf

    scan, other = two
    segmentationOf(other).SetDisplayVisibility(False)
    for each in (scan, other):
        panel.ui.scanSelector.setCurrentNode(each)
    assert not segmentationOf(other).GetDisplayVisibility()
    assert visible(other) == {True, False}


def test_boxes_and_results_are_called_after_their_scan(slicer: Any, two: tuple[Any, Any]) -> None:
    from ParanasalSSLPanel.cases import nodesOfCase

    for scan in two:
        nodes = nodesOfCase(scan)
        assert len(nodes) >= 5
        assert all(node.GetName().startswith(scan.GetName()) for node in nodes)


def test_closing_a_case_leaves_the_others(slicer: Any, panel: Any, two: tuple[Any, Any]) -> None:
    scan, _other = two
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")]
    panel.ui.closeCaseButton.click()
    left = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")]
    assert left == [name for name in names if not name.startswith("Other")]
    assert panel.scan is None
    panel.ui.scanSelector.setCurrentNode(scan)
    assert visible(scan) == {True}


def test_what_a_deleted_scan_has_left_is_not_drawn_over_the_next_one(
    slicer: Any, panel: Any, two: tuple[Any, Any]
) -> None:
    """A scan that is deleted in the module Data leaves its boxes and outlines in the scene."""
    first, second = two
    left = drawn(second)
    slicer.mrmlScene.RemoveNode(second)
    panel.ui.scanSelector.setCurrentNode(first)
    assert {bool(node.GetDisplayVisibility()) for node in left} == {False}
    assert visible(first) == {True}


def test_a_clone_has_no_part_in_the_original(slicer: Any, panel: Any, scan: Any) -> None:
    """A clone (module Data) takes attributes and references along."""
    from ParanasalSSLPanel.boxes import boxesOf, boxNode
    from ParanasalSSLPanel.cases import closeCase, nodesOfCase

    panel.ui.scanSelector.setCurrentNode(scan)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    nodes, boxes = nodesOfCase(scan), boxesOf(scan)
    clone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    clone.Copy(scan)
    clone.SetName("Clone")
    assert clone.GetNodeReference("ParanasalSSL.left box") is boxNode(scan, Side.LEFT)
    assert nodesOfCase(clone) == [] and boxesOf(clone) == {}
    panel.ui.scanSelector.setCurrentNode(clone)
    assert not any(name.startswith("ParanasalSSL.") for name in clone.GetAttributeNames())
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert len(nodesOfCase(clone)) == len(nodes) and not set(nodesOfCase(clone)) & set(nodes)
    closeCase(clone)
    assert nodesOfCase(scan) == nodes and boxesOf(scan).keys() == boxes.keys()


def test_nothing_of_a_closed_case_stays_in_memory(slicer: Any, panel: Any, scan: Any) -> None:
    """A display node that stays keeps the voxels of its volume."""
    panel.ui.placeBoxesButton.click()
    before = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.runButton.click()
    panel.ui.placeBoxesButton.click()  # the results go, the boxes stay
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    panel.ui.runButton.click()
    panel.ui.closeCaseButton.click()
    for kind in ("Display", "Storage"):
        assert slicer.mrmlScene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") == 0


# ---------------------------------------------------------------------------- the reader's views


def views(slicer: Any) -> list[tuple[Any, ...]]:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [(c.GetBackgroundVolumeID(), c.GetForegroundVolumeID()) for c in composites]


def test_entering_the_module_changes_no_view_and_proposes_what_is_shown(
    slicer: Any, openPanel: Callable[[Any], Any], standIn: Any, scan: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    shown, over = addMadeUpScan("Shown"), addMadeUpScan("Over")
    slicer.util.setSliceViewerLayers(background=shown, foreground=over)
    before = views(slicer)
    layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    panel = openPanel(standIn)
    assert panel.scan is shown
    assert views(slicer) == before
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView


def test_the_sliders_leave_views_alone_that_show_something_else(
    slicer: Any, panel: Any, two: tuple[Any, Any]
) -> None:
    slicer.util.setSliceViewerLayers(foreground=two[0], foregroundOpacity=0.9)
    before = views(slicer)
    panel.ui.opacitySlider.setValue(0.1)
    assert views(slicer) == before
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {round(c.GetForegroundOpacity(), 3) for c in composites} == {0.9}
