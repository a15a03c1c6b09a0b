"""The whole path through the panel, from a loaded scan to a reloaded scene."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.sinuses import SINUSES, Side


def test_the_whole_path_survives_saving_and_reloading_the_scene(
    slicer: Any, panel: Any, scan: Any, tmp_path: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel import results, tables
    from ParanasalSSLPanel.boxes import boxesOf, qualityOf
    from ParanasalSSLPanel.scanNodes import nodeOf

    path = tmp_path / "scan.nii.gz"
    assert slicer.util.saveNode(scan, str(path))
    slicer.mrmlScene.Clear()
    slicer.util.loadVolume(str(path))
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study of today")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(panel.parameters.scan), study)
    panel.ui.placeBoxesButton.click()
    assert "registration looks good" in panel.ui.qualityLabel.text
    geometry.move(slicer.util.getNode("scan: left sinus box"), (-2, 1, 0))
    panel.ui.runButton.click()
    assert panel.ui.messageLabel.text == ""
    panel.ui.opacitySlider.setValue(0.35)
    panel.ui.thresholdSlider.setValue(0.25)
    panel.ui.levelsButton.click()
    panel.ui.adjustBoxesButton.click()

    scanNode = panel.parameters.scan
    before = {
        "residual": slicer.util.arrayFromVolume(results.residualOf(scanNode)).copy(),
        "table": geometry.tableRows(tables.tableOf(scanNode)),
        "boxes": {side: (box.origin, box.box_to_ras) for side, box in boxesOf(scanNode).items()},
        "notices": results.noticesOf(scanNode),
        "segments": [
            facts(node) for node in (results.segmentationOf(scanNode), nodeOf(scanNode, "levels"))
        ],
        "places": places(slicer),
    }
    masks = segments(slicer, results.segmentationOf(scanNode), scanNode)
    scene = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear()
    assert panel.ui.scoresLabel.text == ""
    slicer.util.loadScene(str(scene))

    scanNode = panel.parameters.scan
    assert scanNode is not None and scanNode.GetName() == "scan"
    assert panel.parameters.overlayOpacity == pytest.approx(0.35)
    assert panel.ui.thresholdSlider.value == pytest.approx(0.25)
    residual = results.residualOf(scanNode)
    assert np.allclose(slicer.util.arrayFromVolume(residual), before["residual"], atol=1e-6)
    assert np.allclose(geometry.ijkToRas(residual), geometry.ijkToRas(scanNode), atol=1e-4)
    assert residual.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    assert residual.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.25)
    assert geometry.tableRows(tables.tableOf(scanNode)) == before["table"]
    column = tables.tableOf(scanNode).GetTable().GetColumnByName("Opacity (ml)")
    assert column.GetDataTypeAsString() == "double"
    for side, box in boxesOf(scanNode).items():
        origin, matrix = before["boxes"][side]
        assert box.origin == origin
        assert np.allclose(box.box_to_ras, matrix, atol=1e-3)
    after = segments(slicer, results.segmentationOf(scanNode), scanNode)
    for side in Side:
        assert np.array_equal(after[side], masks[side])
    assert results.noticesOf(scanNode) == before["notices"]
    assert before["segments"] == [
        facts(node) for node in (results.segmentationOf(scanNode), nodeOf(scanNode, "levels"))
    ]
    assert places(slicer) == before["places"]
    assert panel.ui.adjustBoxesButton.checked
    assert qualityOf(scanNode).verdict == "ok"
    assert panel.ui.scoresLabel.text == tables.scoresHtml(scanNode)
    assert panel.ui.noticesLabel.text.endswith("Stand-in, no model.")
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetForegroundVolumeID() for c in composites} == {residual.GetID()}


def facts(segmentation: Any) -> list[tuple[Any, ...]]:
    """Name, colour and terms of every segment."""
    import vtk

    found = []
    content = segmentation.GetSegmentation()
    for index in range(content.GetNumberOfSegments()):
        segment, terms = content.GetNthSegment(index), vtk.reference("")
        segment.GetTag(segment.GetTerminologyEntryTagName(), terms)
        found.append((segment.GetName(), np.round(segment.GetColor(), 3).tolist(), str(terms)))
    return found


def places(slicer: Any) -> dict[str, str]:
    """Under what each node lies in the subject hierarchy."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsROINode")
    nodes = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
    parents = {n.GetName(): hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in nodes}
    return {name: hierarchy.GetItemName(parent) for name, parent in parents.items()}


def segments(slicer: Any, node: Any, scan: Any) -> dict[Side, np.ndarray]:
    ids = node.GetSegmentation()
    return {
        side: slicer.util.arrayFromSegmentBinaryLabelmap(
            node, ids.GetSegmentIdBySegmentName(SINUSES[side].opacity_name), scan
        ).copy()
        for side in Side
    }


def test_the_panel_says_what_it_is_not_for(panel: Any) -> None:
    words = panel.ui.researchUseLabel.text
    assert "Research use only" in words and "no diagnosis" in words and "simulated" in words


def test_the_first_loaded_scan_is_chosen_and_no_result_of_ours(
    slicer: Any, panel: Any, logic: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    assert not panel.ui.runButton.enabled
    scan = addMadeUpScan()
    assert panel.parameters.scan is scan
    assert panel.ui.runButton.enabled
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    from ParanasalSSLPanel.results import residualOf

    panel.ui.scanSelector.setCurrentNode(residualOf(scan))
    panel.ui.runButton.click()
    assert "is a result of this module" in panel.ui.messageLabel.text


def test_running_without_boxes_says_what_to_do(panel: Any, scan: Any) -> None:
    panel.ui.runButton.click()
    assert panel.ui.messageLabel.text == "There are no boxes yet. Press Place boxes first."
    assert panel.ui.runButton.enabled and not panel.ui.progressBar.visible


def test_results_of_boxes_that_were_moved_since_look_outdated(
    slicer: Any, panel: Any, scan: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.results import segmentationOf

    def faint() -> tuple[bool, bool, float, float]:
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        outline = segmentationOf(scan).GetDisplayNode().GetOpacity()
        overlay = composites[0].GetForegroundOpacity() / panel.parameters.overlayOpacity
        return ui.outdatedLabel.visible, ui.scoresLabel.enabled, outline, round(overlay, 3)

    ui = panel.ui
    ui.placeBoxesButton.click()
    ui.runButton.click()
    assert faint() == (False, True, 1.0, 1.0)
    geometry.move(slicer.util.getNode("Made-up scan: right sinus box"), (0, 4, 0))
    assert faint() == (True, False, 0.3, 0.3)
    ui.adjustBoxesButton.click()
    ui.rightResetButton.click()
    assert faint() == (False, True, 1.0, 1.0)


def test_what_is_deleted_elsewhere_leaves_the_panel(slicer: Any, panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel import tables

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Made-up scan: right sinus box"))
    assert panel.ui.outdatedLabel.visible
    slicer.mrmlScene.RemoveNode(tables.tableOf(scan))
    assert panel.ui.scoresLabel.text == ""
    slicer.mrmlScene.RemoveNode(scan)
    assert not panel.ui.runButton.enabled
    assert panel.ui.qualityLabel.text == "No boxes yet."


def test_the_sliders_change_the_overlay(slicer: Any, panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.results import residualOf

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.opacitySlider.setValue(0.2)
    panel.ui.thresholdSlider.setValue(0.3)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {round(c.GetForegroundOpacity(), 6) for c in composites} == {0.2}
    assert residualOf(scan).GetDisplayNode().GetLowerThreshold() == pytest.approx(0.3)


def test_changing_the_scan_shows_the_other_ones_results(slicer: Any, panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan
    from ParanasalSSLPanel.tables import scoresHtml

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.scanSelector.setCurrentNode(addMadeUpScan("Other"))
    assert panel.ui.scoresLabel.text == ""
    assert panel.ui.qualityLabel.text == "No boxes yet."
    panel.ui.scanSelector.setCurrentNode(scan)
    assert panel.ui.scoresLabel.text == scoresHtml(scan)


def test_the_tour_says_whose_finding_is_shown(panel: Any, scan: Any) -> None:
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    assert panel.ui.findingLabel.text.startswith("Left maxillary sinus: ")
    assert panel.ui.findingLabel.text.endswith(" ml, 16 mm, floor")
    panel.ui.runButton.click()
    assert panel.ui.findingLabel.text == ""


def test_a_users_slice_views_are_left_alone_on_coming_back(
    slicer: Any, panel: Any, scan: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel.ui.placeBoxesButton.click()
    panel.exit()
    other = addMadeUpScan("Other")
    slicer.util.setSliceViewerLayers(background=other)
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Made-up scan: right sinus box"))
    panel.enter()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetBackgroundVolumeID() for c in composites} == {other.GetID()}
    assert panel.parameters.scan is scan
    assert panel.ui.rightBoxLabel.text == "Right: no box"


def test_scans_that_come_in_a_batch_are_found(slicer: Any, panel: Any) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
    scan = addMadeUpScan()
    slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
    assert panel.parameters.scan is scan
    assert panel.ui.placeBoxesButton.enabled


def test_removed_scans_are_not_kept_in_memory(slicer: Any, panel: Any) -> None:
    import gc

    import vtk
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    image = vtk.vtkWeakReference()
    for _ in range(2):
        scan = addMadeUpScan()
        image.Set(scan.GetImageData())
        panel.ui.placeBoxesButton.click()
        panel.exit()
        panel.enter()
        del scan
        slicer.mrmlScene.Clear()
        gc.collect()
        assert image.Get() is None


def test_the_numbers_of_the_table_cannot_be_typed_over(panel: Any, scan: Any) -> None:
    import qt

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    cells = panel.ui.findingsView.model()
    assert not cells.flags(cells.index(0, 1)) & qt.Qt.ItemIsEditable


def test_the_modules_own_test_needs_nothing_that_slicer_lacks(
    slicer: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lacking in ("nibabel", "torch", "safetensors"):
        monkeypatch.setitem(sys.modules, lacking, None)
    monkeypatch.delitem(sys.modules, "ParanasalSSLLib.results.maps", raising=False)
    module.ParanasalSSLTest().runTest()
