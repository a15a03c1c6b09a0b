"""The panel's section of scan and boxes, button by button, as a user presses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slice_views import centres_of_views

from ParanasalSSLLib.sinuses import SINUSES, Side


def test_a_volume_that_cannot_be_judged_is_told_before_anything_is_pressed(
    slicer: Any, openPanel: Callable[[Any], Any], standIn: Any
) -> None:
    panel = openPanel(standIn)
    flat = slicer.util.addVolumeFromArray(np.zeros((3, 64, 64), np.float32), np.eye(4), "Flat")
    panel.ui.scanSelector.setCurrentNode(flat)
    assert "Flat" in panel.ui.judgementLabel.text and panel.ui.judgementLabel.visible
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel.ui.scanSelector.setCurrentNode(addMadeUpScan())
    assert panel.ui.judgementLabel.text == "" and not panel.ui.judgementLabel.visible


def test_a_ct_is_known_by_its_dicom_modality(
    slicer: Any, openPanel: Callable[[Any], Any], standIn: Any, scan: Any
) -> None:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(scan), name, "CT")
    assert "CT" in openPanel(standIn).ui.judgementLabel.text


def test_the_views_jump_between_the_boxes_when_they_are_placed(slicer: Any, panel: Any) -> None:
    from ParanasalSSLPanel.selfcheck import CENTERS_RAS_MM

    middle = np.mean(list(CENTERS_RAS_MM.values()), axis=0)
    np.testing.assert_allclose(centres_of_views(slicer), [middle] * 3, atol=1e-3)


@pytest.mark.parametrize("side", Side)
def test_the_buttons_of_a_side_change_that_sides_box(
    panel: Any, scan: Any, geometry: Any, side: Side
) -> None:
    from ParanasalSSLPanel.boxes import boxNode

    def place(of: Side) -> np.ndarray:
        return np.array(geometry.objectToWorld(boxNode(scan, of)))

    other = Side.RIGHT if side is Side.LEFT else Side.LEFT
    reset = getattr(panel.ui, f"{side.value}ResetButton")
    mirror = getattr(panel.ui, f"{side.value}MirrorButton")
    label = getattr(panel.ui, f"{side.value}BoxLabel")
    before, untouched = place(side), place(other)
    panel.ui.adjustBoxesButton.click()
    assert not reset.enabled
    geometry.move(boxNode(scan, side), (0, 5, 0))
    assert "manual" in label.text and reset.enabled
    reset.click()
    np.testing.assert_allclose(place(side), before, atol=1e-6)
    assert "automatic" in label.text

    geometry.move(boxNode(scan, other), (0, 0, 7))
    mirror.click()
    assert place(side)[2, 3] == pytest.approx(before[2, 3] + 7)
    np.testing.assert_allclose(place(other)[:2], untouched[:2], atol=1e-6)


def test_boxes_are_changed_only_after_adjust_boxes(panel: Any, scan: Any, geometry: Any) -> None:
    from ParanasalSSLPanel.boxes import boxNode

    ui = panel.ui
    geometry.move(boxNode(scan, Side.LEFT), (0, 5, 0))
    buttons = (ui.leftResetButton, ui.rightMirrorButton, ui.leftMirrorButton, ui.turnBoxesCheckBox)
    assert not any(button.enabled for button in buttons)
    assert boxNode(scan, Side.LEFT).GetLocked()
    ui.adjustBoxesButton.click()
    assert all(button.enabled for button in buttons)
    assert not boxNode(scan, Side.LEFT).GetLocked()
    ui.turnBoxesCheckBox.click()
    assert boxNode(scan, Side.LEFT).GetDisplayNode().GetRotationHandleVisibility()
    ui.runButton.click()
    assert not ui.adjustBoxesButton.checked and not any(button.enabled for button in buttons)


def test_each_side_has_its_colour(panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.boxes import boxNode

    for side in Side:
        display = boxNode(scan, side).GetDisplayNode()
        assert display.GetColor() == pytest.approx(SINUSES[side].color)
        assert display.GetSelectedColor() == pytest.approx(SINUSES[side].color)
