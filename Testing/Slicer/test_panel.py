"""The whole path through the panel, from a loaded scan to a reloaded scene, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.sinuses import SINUSES, Side

BUNDLE = Path(__file__).resolve().parents[2] / "ParanasalSSLLib" / "bundles" / "compact"


@pytest.fixture
def panel(openPanel: Callable[[Any], Any], standIn: Any) -> Any:
    return openPanel(standIn)


def message(panel: Any) -> str:
    return panel.ui.messageLabel.text


def test_the_whole_path_survives_saving_and_reloading_the_scene(
    slicer: Any, panel: Any, scan: Any, tmp_path: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel import results
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
    geometry.move(slicer.util.getNode("Left maxillary sinus box"), (-2, 1, 0))
    panel.ui.runButton.click()
    assert message(panel) == ""
    panel.ui.opacitySlider.setValue(0.35)
    panel.ui.thresholdSlider.setValue(0.25)
    panel.ui.levelsButton.click()
    panel.ui.lockBoxesCheckBox.click()

    scanNode = panel.parameters.scan
    before = {
        "residual": slicer.util.arrayFromVolume(results.residualOf(scanNode)).copy(),
        "table": geometry.tableRows(results.tableOf(scanNode)),
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
    assert panel.ui.tableView.mrmlTableNode() is None
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
    assert geometry.tableRows(results.tableOf(scanNode)) == before["table"]
    column = results.tableOf(scanNode).GetTable().GetColumnByName("Opacity (ml)")
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
    assert panel.ui.lockBoxesCheckBox.checked
    assert qualityOf(scanNode).verdict == "ok"
    assert panel.ui.tableView.mrmlTableNode() is results.tableOf(scanNode)
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
            node, ids.GetSegmentIdBySegmentName(SINUSES[side].residual_name), scan
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
    assert "is a result of this module" in message(panel)


def test_running_without_boxes_says_what_to_do(panel: Any, scan: Any) -> None:
    panel.ui.runButton.click()
    assert message(panel) == "There are no boxes yet. Press Place boxes first."
    assert panel.ui.runButton.enabled and not panel.ui.progressBar.visible


def test_dragging_a_box_after_a_run_says_that_the_numbers_are_old(
    slicer: Any, panel: Any, scan: Any, geometry: Any
) -> None:
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    geometry.move(slicer.util.getNode("Right maxillary sinus box"), (0, 4, 0))
    assert "where the boxes were" in message(panel)
    panel.ui.runButton.click()
    assert message(panel) == ""


def test_what_is_deleted_elsewhere_leaves_the_panel(slicer: Any, panel: Any, scan: Any) -> None:
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Right maxillary sinus box"))
    assert "where the boxes were" in message(panel)
    slicer.mrmlScene.RemoveNode(panel.ui.tableView.mrmlTableNode())
    assert panel.ui.tableView.mrmlTableNode() is None
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
    from ParanasalSSLPanel.results import tableOf
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.scanSelector.setCurrentNode(addMadeUpScan("Other"))
    assert panel.ui.tableView.mrmlTableNode() is None
    assert panel.ui.qualityLabel.text == "No boxes yet."
    panel.ui.scanSelector.setCurrentNode(scan)
    assert panel.ui.tableView.mrmlTableNode() is tableOf(scan)


def test_a_failed_registration_is_told_in_words_and_nothing_is_scored(
    openPanel: Callable[[Any], Any], module: ModuleType, scan: Any
) -> None:
    from ParanasalSSLPanel.results import tableOf
    from ParanasalSSLPanel.selfcheck import StandIn

    panel = openPanel(StandIn("failed", ("Only 20% of the face around the sinuses shows signal.",)))
    panel.ui.placeBoxesButton.click()
    assert "were not found. Only 20%" in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    assert "were not found. Only 20%" in message(panel)
    assert tableOf(scan) is None


def test_boxes_to_be_checked_are_told_and_scored(
    openPanel: Callable[[Any], Any], module: ModuleType, scan: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.results import tableOf
    from ParanasalSSLPanel.selfcheck import StandIn

    panel = openPanel(StandIn("review", ("The head is turned by 50 degrees.",)))
    panel.ui.placeBoxesButton.click()
    assert panel.ui.qualityLabel.text.startswith("Please check the boxes. The head is turned")
    panel.ui.runButton.click()
    assert [row[-1] for row in geometry.tableRows(tableOf(scan))] == ["review", "review"]


def test_several_values_a_voxel_are_refused_in_words(slicer: Any, panel: Any, scan: Any) -> None:
    image = scan.GetImageData()
    image.AllocateScalars(image.GetScalarType(), 3)
    panel.ui.placeBoxesButton.click()
    assert message(panel).startswith("Made-up scan has several values a voxel.")


def test_a_frame_of_a_4d_series_is_refused_in_words(slicer: Any, panel: Any, scan: Any) -> None:
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for time in "012":
        series.SetDataNodeAtValue(scan, time)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(series.GetID())
    browser.AddProxyNode(scan, series, False)
    panel.ui.placeBoxesButton.click()
    assert message(panel).startswith("Made-up scan is one frame of a time or diffusion series")


def test_a_ct_is_refused_in_words(slicer: Any, panel: Any) -> None:
    voxels = np.random.default_rng(0).normal(-1000, 20, (40, 40, 40)).astype(np.float32)
    voxels[10:30, 10:30, 10:30] += 1050
    node = slicer.util.addVolumeFromArray(voxels, np.diag([4.0, 4.0, 4.0, 1.0]), "Head CT")
    panel.ui.scanSelector.setCurrentNode(node)
    panel.ui.placeBoxesButton.click()
    assert "Head CT" in message(panel) and "CT" in message(panel).replace("Head CT", "")


def test_declined_packages_are_told_in_words(
    panel: Any, module: ModuleType, standIn: Any, scan: Any
) -> None:
    from ParanasalSSLPanel.packages import PackagesMissing

    def declined(path: str) -> None:
        raise PackagesMissing("The Python packages were not installed.")

    panel.logic = module.ParanasalSSLLogic(standIn, ensure=declined)
    panel.ui.placeBoxesButton.click()
    assert message(panel) == "The Python packages were not installed."


def test_a_programs_fault_is_not_hidden(
    panel: Any, scan: Any, standIn: Any, faults: list[BaseException]
) -> None:
    def broken(volume: Any) -> None:
        raise ZeroDivisionError

    standIn.localize = broken
    panel.ui.placeBoxesButton.click()
    assert isinstance(faults.pop(), ZeroDivisionError)
    assert panel.ui.runButton.enabled


def test_a_head_without_a_face_is_refused_in_words(
    slicer: Any, openPanel: Callable[[Any], Any], module: ModuleType, sample_head: Path
) -> None:
    from ParanasalSSLPanel.compute import SeparateProcess
    from ParanasalSSLPanel.results import tableOf

    panel = openPanel(SeparateProcess())
    scan = slicer.util.loadVolume(str(sample_head))
    voxels = slicer.util.arrayFromVolume(scan)  # k, j, i
    voxels[:80, 60:] = 0  # all that lies below the eyes and before the ears
    slicer.util.arrayFromVolumeModified(scan)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert "were not found" in message(panel)
    assert tableOf(panel.parameters.scan) is None


@pytest.fixture
def untrainedBundle(tmp_path: Path) -> Path:
    """A small bundle with the weights that it was born with."""
    from ParanasalSSLLib.crop import CropConfig
    from ParanasalSSLLib.model.bundle import Bundle, save_bundle
    from ParanasalSSLLib.model.calibration import Calibration
    from ParanasalSSLLib.model.card import BundleCard
    from ParanasalSSLLib.model.encoders import EncoderConfig
    from ParanasalSSLLib.model.masks import MaskConfig
    from ParanasalSSLLib.model.networks import CAE, CAEConfig, Classifier
    from ParanasalSSLLib.model.residual import ResidualConfig

    cae, classifier = CAEConfig(8, channels=(2, 4, 8)), EncoderConfig((2, 4, 8, 16))
    parts = (CropConfig(), ResidualConfig(0), MaskConfig(minimum_part_voxels=0), Calibration())
    card = BundleCard("untrained", "0", cae, classifier, *parts, 0.5, True, "tests", "none")
    thresholds = np.full((64, 64, 64), 0.4, np.float32)
    bundle = Bundle(card, CAE(cae).eval(), Classifier(classifier).eval(), thresholds)
    return save_bundle(bundle, tmp_path / "bundle", "For tests.")


@pytest.fixture
def realPanel(openPanel: Callable[[Any], Any], standIn: Any) -> Any:
    """A panel that scores in a real process; the registration is the stand-in's."""
    from ParanasalSSLPanel.compute import SeparateProcess

    computation = SeparateProcess()
    computation.localize = standIn.localize  # type: ignore[method-assign]
    return openPanel(computation)


def wait_for_run(panel: Any, timeout_s: float = 120) -> None:
    import headless

    headless.wait_until(lambda: not panel.runSection.isRunning, timeout_s)


def temporary_folders(slicer: Any) -> list[Path]:
    return list(Path(slicer.app.temporaryPath).glob("ParanasalSSL-*"))


def test_an_added_bundle_scores_the_boxes_in_the_scene(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel import models, results

    panel = realPanel
    models.addModel(str(untrainedBundle))
    panel.runSection.listModels(str(untrainedBundle))
    assert panel.ui.modelComboBox.currentText == "untrained 0 (bundle)"
    panel.ui.modelCardButton.click()
    assert panel.ui.logText.toPlainText() == "For tests."
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert not panel.ui.runButton.enabled and panel.ui.cancelButton.enabled
    wait_for_run(panel)
    assert message(panel) == ""
    residual = slicer.util.arrayFromVolume(results.residualOf(scan))
    assert 0 < residual.max() <= 1
    probabilities = [float(row[1]) for row in geometry.tableRows(results.tableOf(scan))]
    assert len(probabilities) == 2 and all(0 < p < 1 for p in probabilities)
    assert "Model untrained 0" in panel.ui.noticesLabel.text
    assert "simulated data" in panel.ui.noticesLabel.text
    assert temporary_folders(slicer) == []
    assert panel.ui.runButton.enabled and not panel.ui.cancelButton.enabled


def test_moving_one_box_changes_that_sides_numbers_only(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel.boxes import boxNode
    from ParanasalSSLPanel.compute import Settings

    settings = Settings("cpu", untrainedBundle)
    realPanel.logic.placeBoxes(scan)
    before = realPanel.logic.run(scan, settings).sinuses
    geometry.move(boxNode(scan, Side.LEFT), (3, 0, 0))
    after = realPanel.logic.run(scan, settings).sinuses
    assert after[Side.RIGHT] == before[Side.RIGHT]
    assert after[Side.LEFT] != before[Side.LEFT]


def test_the_devices_are_listed_with_their_names(
    openPanel: Callable[[Any], Any], standIn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless
    from ParanasalSSLPanel import packages

    panel = openPanel(standIn)
    devices = panel.ui.deviceComboBox
    headless.choose(devices, devices.findData("cpu"))
    monkeypatch.setattr(packages, "isTorchInstalled", lambda: True)
    panel.exit()
    panel.enter()
    headless.wait_until(lambda: "(" in devices.itemText(0), 120)
    assert devices.itemData(0) == "auto"
    assert devices.currentText.startswith("CPU, ")
    assert panel.settings.device == "cpu"


def test_a_script_waits_for_the_findings(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.compute import Settings

    from ParanasalSSLLib.errors import ParanasalError

    logic = realPanel.logic
    logic.placeBoxes(scan)
    findings = logic.run(scan, Settings("cpu", untrainedBundle))
    assert set(findings.sinuses) == set(Side)
    with pytest.raises(ParanasalError, match="no model bundle"):
        logic.run(scan, Settings("cpu", tmp_path / "nothing"))


def test_a_damaged_bundle_is_refused_when_it_is_added(
    slicer: Any, panel: Any, untrainedBundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    weights = untrainedBundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    chosen = staticmethod(lambda *_: str(untrainedBundle))
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", chosen)
    before = panel.ui.modelComboBox.count
    panel.ui.addModelButton.click()
    assert "SHA-256" in message(panel)
    assert panel.ui.modelComboBox.count == before


def test_a_bundle_that_has_gone_is_told_in_words(
    realPanel: Any, scan: Any, untrainedBundle: Path
) -> None:
    import shutil

    from ParanasalSSLPanel import models

    models.addModel(str(untrainedBundle))
    realPanel.runSection.listModels(str(untrainedBundle))
    shutil.rmtree(untrainedBundle)
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    wait_for_run(realPanel)
    assert "is no model bundle" in message(realPanel)


def test_a_scene_remembers_device_and_model_but_no_path(
    slicer: Any, panel: Any, scan: Any, untrainedBundle: Path, tmp_path: Path
) -> None:
    import headless
    from ParanasalSSLPanel import models

    models.addModel(str(untrainedBundle))
    panel.runSection.listModels()
    device, model = panel.ui.deviceComboBox, panel.ui.modelComboBox
    headless.choose(device, device.findData("cpu"))
    headless.choose(model, model.findData(str(untrainedBundle)))
    assert (panel.settings.device, panel.settings.model) == ("cpu", untrainedBundle)
    assert len(panel.parameters.model) == 64, "a SHA-256, not where the bundle lies"
    scene = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear()
    assert (panel.settings.device, panel.settings.model) == ("auto", None)
    slicer.util.loadScene(str(scene))
    assert (panel.settings.device, panel.settings.model) == ("cpu", untrainedBundle)

    (untrainedBundle / "bundle.json").unlink()  # as on a computer that does not have it
    panel.runSection.showChoices()
    assert (panel.settings.device, panel.settings.model) == ("cpu", None)


def test_the_tour_says_whose_finding_is_shown(panel: Any, scan: Any) -> None:
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    assert panel.ui.findingLabel.text == "Left maxillary sinus: its largest residual"
    panel.ui.previousFindingButton.click()
    assert panel.ui.findingLabel.text == "Right maxillary sinus: its largest residual"
    panel.ui.runButton.click()
    assert panel.ui.findingLabel.text == ""


def test_results_that_cannot_be_shown_do_not_block_the_panel(
    realPanel: Any, scan: Any, untrainedBundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ParanasalSSLPanel import models, results

    def broken(*arguments: Any) -> None:
        raise MemoryError

    models.addModel(str(untrainedBundle))
    realPanel.runSection.listModels(str(untrainedBundle))
    monkeypatch.setattr(results, "showFindings", broken)
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    wait_for_run(realPanel)
    assert "could not be shown" in message(realPanel)
    assert realPanel.ui.runButton.enabled and not realPanel.ui.progressBar.visible


def test_a_users_slice_views_are_left_alone_on_coming_back(
    slicer: Any, panel: Any, scan: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel.ui.placeBoxesButton.click()
    panel.exit()
    other = addMadeUpScan("Other")
    slicer.util.setSliceViewerLayers(background=other)
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Right maxillary sinus box"))
    panel.enter()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetBackgroundVolumeID() for c in composites} == {other.GetID()}
    assert panel.parameters.scan is scan
    assert panel.ui.rightBoxLabel.text == "Right: no box"


def test_a_run_ends_while_another_module_is_open(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path
) -> None:
    from ParanasalSSLPanel import models
    from ParanasalSSLPanel.results import residualOf, tableOf

    models.addModel(str(untrainedBundle))
    realPanel.runSection.listModels(str(untrainedBundle))
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    realPanel.exit()
    wait_for_run(realPanel)
    assert tableOf(scan) is not None
    realPanel.enter()
    assert realPanel.ui.tableView.mrmlTableNode() is tableOf(scan)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetForegroundVolumeID() for c in composites} == {residualOf(scan).GetID()}


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
    cells = panel.ui.tableView.model()
    assert not cells.flags(cells.index(0, 1)) & qt.Qt.ItemIsEditable


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["read", "analyse", "write"])
def test_cancelling_at_any_stage_leaves_the_scene_as_it_was(
    slicer: Any, realPanel: Any, scan: Any, stage: str
) -> None:
    import headless

    panel = realPanel
    panel.ui.placeBoxesButton.click()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    seen: list[str] = []
    progress = panel.runSection.onProgress

    def watch(report: Any) -> None:
        progress(report)
        seen.append(report.stage.value)

    panel.runSection.onProgress = watch
    panel.ui.runButton.click()
    headless.wait_until(lambda: stage in seen, 60)
    process = panel.runSection.work
    panel.ui.cancelButton.click()
    wait_for_run(panel)
    assert not process.isRunning
    # The process may have been faster than the click: then all is there, else nothing is.
    if message(panel) == "Cancelled. Nothing was changed.":
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes
        assert panel.ui.tableView.mrmlTableNode() is None
    else:
        assert panel.ui.tableView.mrmlTableNode() is not None
    assert temporary_folders(slicer) == []
    assert panel.ui.runButton.enabled and not panel.ui.progressBar.visible


def test_closing_the_scene_ends_a_run(slicer: Any, realPanel: Any, scan: Any) -> None:
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    assert realPanel.runSection.isRunning
    slicer.mrmlScene.Clear()
    assert not realPanel.runSection.isRunning
    assert temporary_folders(slicer) == []
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")


@pytest.mark.slow
@pytest.mark.skipif(not (BUNDLE / "bundle.json").exists(), reason="the shipped bundle is missing")
def test_the_sample_head_is_scored_with_the_shipped_model(
    slicer: Any, openPanel: Callable[[Any], Any], geometry: Any, sample_head: Path
) -> None:
    from ParanasalSSLPanel import results
    from ParanasalSSLPanel.compute import SeparateProcess

    panel = openPanel(SeparateProcess())
    scan = slicer.util.loadVolume(str(sample_head))
    panel.ui.placeBoxesButton.click()
    assert "not found" not in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    wait_for_run(panel)
    assert message(panel) == ""
    assert results.tableOf(scan).GetNumberOfRows() == 2
    assert slicer.util.arrayFromVolume(results.residualOf(scan)).max() > 0
    assert "simulated data" in panel.ui.noticesLabel.text
    found = {cells[0]: cells[3] for cells in geometry.tableRows(results.tableOf(scan))}
    assert found == {"left": "Anomaly suspected", "right": "No anomaly suspected"}


def test_the_modules_own_test_needs_nothing_that_slicer_lacks(
    slicer: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lacking in ("nibabel", "torch", "safetensors"):
        monkeypatch.setitem(sys.modules, lacking, None)
    monkeypatch.delitem(sys.modules, "ParanasalSSLLib.results.maps", raising=False)
    module.ParanasalSSLTest().runTest()
