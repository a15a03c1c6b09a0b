"""The whole path through the panel, from a loaded scan to a reloaded scene, and what it says."""

from __future__ import annotations

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

    path = tmp_path / "scan.nii.gz"
    assert slicer.util.saveNode(scan, str(path))
    slicer.mrmlScene.Clear()
    slicer.util.loadVolume(str(path))
    panel.ui.placeBoxesButton.click()
    assert "registration looks good" in panel.ui.qualityLabel.text
    geometry.move(slicer.util.getNode("Left maxillary sinus box"), (-2, 1, 0))
    panel.ui.runButton.click()
    assert message(panel) == ""
    panel.ui.opacitySlider.setValue(0.35)
    panel.ui.thresholdSlider.setValue(0.25)

    scanNode = panel._parameters.scan
    before = {
        "residual": slicer.util.arrayFromVolume(results.residualOf(scanNode)).copy(),
        "table": geometry.tableRows(results.tableOf(scanNode)),
        "boxes": {side: (box.origin, box.box_to_ras) for side, box in boxesOf(scanNode).items()},
        "notices": results.noticesOf(scanNode),
    }
    masks = segments(slicer, results.segmentationOf(scanNode), scanNode)
    scene = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear()
    assert panel.ui.tableView.mrmlTableNode() is None
    slicer.util.loadScene(str(scene))

    scanNode = panel._parameters.scan
    assert scanNode is not None and scanNode.GetName() == "scan"
    assert panel._parameters.overlayOpacity == pytest.approx(0.35)
    assert panel.ui.thresholdSlider.value == pytest.approx(0.25)
    residual = results.residualOf(scanNode)
    assert np.allclose(slicer.util.arrayFromVolume(residual), before["residual"], atol=1e-6)
    assert np.allclose(geometry.ijkToRas(residual), geometry.ijkToRas(scanNode), atol=1e-4)
    assert residual.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    assert residual.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.25)
    assert geometry.tableRows(results.tableOf(scanNode)) == before["table"]
    column = results.tableOf(scanNode).GetTable().GetColumnByName("Probability")
    assert column.GetDataTypeAsString() == "double"
    for side, box in boxesOf(scanNode).items():
        origin, matrix = before["boxes"][side]
        assert box.origin == origin
        assert np.allclose(box.box_to_ras, matrix, atol=1e-3)
    after = segments(slicer, results.segmentationOf(scanNode), scanNode)
    for side in Side:
        assert np.array_equal(after[side], masks[side])
    assert results.noticesOf(scanNode) == before["notices"]
    assert qualityOf(scanNode).verdict == "ok"
    assert panel.ui.tableView.mrmlTableNode() is results.tableOf(scanNode)
    assert panel.ui.noticesLabel.text == "Stand-in, no model."
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetForegroundVolumeID() for c in composites} == {residual.GetID()}


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
    assert panel._parameters.scan is scan
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


def test_a_defaced_scan_is_refused_in_words(
    slicer: Any, openPanel: Callable[[Any], Any], module: ModuleType, shared_data: Path
) -> None:
    from ParanasalSSLPanel.compute import InProcess
    from ParanasalSSLPanel.results import tableOf

    panel = openPanel(InProcess(Path("no bundle is needed")))
    slicer.util.loadVolume(str(shared_data / "heads" / "flair_2d_3mm_defaced.nii.gz"))
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert "were not found" in message(panel)
    assert tableOf(panel._parameters.scan) is None


@pytest.fixture
def untrainedBundle(tmp_path: Path) -> Path:
    """A small bundle with the weights that it was born with."""
    from ParanasalSSLLib.bundle import Bundle, BundleCard, save_bundle
    from ParanasalSSLLib.calibration import Calibration
    from ParanasalSSLLib.crop import CropConfig
    from ParanasalSSLLib.encoders import EncoderConfig
    from ParanasalSSLLib.networks import CAE, CAEConfig, Classifier
    from ParanasalSSLLib.residual import MaskConfig, ResidualConfig

    cae, classifier = CAEConfig(8, channels=(2, 4, 8)), EncoderConfig((2, 4, 8, 16))
    parts = (CropConfig(), ResidualConfig(0), MaskConfig(minimum_part_voxels=0), Calibration())
    card = BundleCard("untrained", "0", cae, classifier, *parts, 0.5, True, "tests", "none")
    thresholds = np.full((64, 64, 64), 0.4, np.float32)
    bundle = Bundle(card, CAE(cae).eval(), Classifier(classifier).eval(), thresholds)
    return save_bundle(bundle, tmp_path / "bundle", "For tests.")


def test_a_bundle_is_loaded_and_scores_the_boxes_in_the_scene(
    slicer: Any,
    openPanel: Callable[[Any], Any],
    standIn: Any,
    scan: Any,
    untrainedBundle: Path,
    geometry: Any,
) -> None:
    from ParanasalSSLPanel import results
    from ParanasalSSLPanel.compute import InProcess

    computation = InProcess(untrainedBundle, "cpu")
    computation.localize = standIn.localize  # type: ignore[method-assign]
    panel = openPanel(computation)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert message(panel) == ""
    residual = slicer.util.arrayFromVolume(results.residualOf(scan))
    assert 0 < residual.max() <= 1
    probabilities = [float(row[1]) for row in geometry.tableRows(results.tableOf(scan))]
    assert len(probabilities) == 2 and all(0 < p < 1 for p in probabilities)
    assert "simulated data" in panel.ui.noticesLabel.text


def test_a_missing_bundle_is_told_in_words(
    openPanel: Callable[[Any], Any], module: ModuleType, standIn: Any, scan: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.compute import InProcess

    computation = InProcess(tmp_path / "nothing", "cpu")
    computation.localize = standIn.localize  # type: ignore[method-assign]
    panel = openPanel(computation)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    assert "is no model bundle" in message(panel)


@pytest.mark.slow
@pytest.mark.skipif(not (BUNDLE / "bundle.json").exists(), reason="the shipped bundle is missing")
def test_a_real_head_is_scored_with_the_shipped_model(
    slicer: Any, openPanel: Callable[[Any], Any], module: ModuleType, shared_data: Path
) -> None:
    from ParanasalSSLPanel import results
    from ParanasalSSLPanel.compute import InProcess

    panel = openPanel(InProcess(device="cpu"))
    scan = slicer.util.loadVolume(str(shared_data / "donors" / "flair_3d_1mm.nii.gz"))
    panel.ui.placeBoxesButton.click()
    assert "not found" not in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    assert message(panel) == ""
    assert results.tableOf(scan).GetNumberOfRows() == 2
    assert slicer.util.arrayFromVolume(results.residualOf(scan)).max() > 0
    assert "simulated data" in panel.ui.noticesLabel.text


def test_the_modules_own_test_passes(slicer: Any, module: ModuleType) -> None:
    module.ParanasalSSLTest().runTest()
