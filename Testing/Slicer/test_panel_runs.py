"""Runs in a real process: bundles, devices, cancelling, what stays in the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.sinuses import Side

BUNDLE = Path(__file__).resolve().parents[2] / "ParanasalSSLLib" / "bundles" / "compact"


@pytest.fixture
def untrainedBundle(tmp_path: Path) -> Path:
    """A small bundle with the weights that it was born with."""
    from ParanasalSSLLib.crop import CropConfig
    from ParanasalSSLLib.model.bundle import Bundle
    from ParanasalSSLLib.model.bundle_saving import save_bundle
    from ParanasalSSLLib.model.calibration import Calibration
    from ParanasalSSLLib.model.card import BundleCard
    from ParanasalSSLLib.model.encoders import EncoderConfig
    from ParanasalSSLLib.model.masks import MaskConfig
    from ParanasalSSLLib.model.networks import CAE, CAEConfig, Classifier
    from ParanasalSSLLib.model.residual import ResidualConfig
    from ParanasalSSLLib.model.torch_networks import TorchNetworks

    cae, classifier = CAEConfig(8, channels=(2, 4, 8)), EncoderConfig((2, 4, 8, 16))
    parts = (CropConfig(), ResidualConfig(0), MaskConfig(minimum_part_voxels=0), Calibration())
    card = BundleCard("untrained", "0", cae, classifier, *parts, 0.5, True, "tests", "none")
    thresholds = np.full((64, 64, 64), 0.4, np.float32)
    networks = TorchNetworks(CAE(cae).eval(), Classifier(classifier).eval())
    return save_bundle(Bundle(card, networks, thresholds), tmp_path / "bundle", "For tests.")


@pytest.fixture
def realPanel(openPanel: Callable[[Any], Any], standIn: Any) -> Any:
    """A panel that scores in a real process; boxes are placed by the stand-in, as if by hand."""
    from ParanasalSSLPanel.separateProcess import SeparateProcess

    from ParanasalSSLLib.boxes.placement import Placement

    def place(volume: Any, watcher: Any) -> Any:
        def done(found: Any) -> None:
            boxes = {side: replace(box, origin="hand") for side, box in found.boxes.items()}
            watcher.done(Placement(boxes, found.quality))

        return standIn.place(volume, replace(watcher, done=done))

    computation = SeparateProcess()
    computation.place = place  # type: ignore[method-assign]
    return openPanel(computation)


def wait_for_run(panel: Any, timeout_s: float = 120) -> None:
    import headless

    headless.wait_until(lambda: not panel.activity.isRunning, timeout_s)


def temporary_folders(slicer: Any) -> list[Path]:
    return list(Path(slicer.app.temporaryPath).glob("ParanasalSSL-*"))


def test_an_added_bundle_scores_the_boxes_in_the_scene(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel import models, results, tables

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
    assert panel.ui.messageLabel.text == ""
    residual = slicer.util.arrayFromVolume(results.residualOf(scan))
    assert 0 < residual.max() <= 1
    probabilities = [float(row[1]) for row in geometry.tableRows(tables.tableOf(scan))]
    assert len(probabilities) == 2 and all(0 < p < 1 for p in probabilities)
    assert "Model untrained 0" in panel.ui.noticesLabel.text
    assert "are simulated" in panel.ui.noticesLabel.text
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
    assert "SHA-256" in panel.ui.messageLabel.text
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
    assert "is no model bundle" in realPanel.ui.messageLabel.text


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
    assert "could not be shown" in realPanel.ui.messageLabel.text
    assert realPanel.ui.runButton.enabled and not realPanel.ui.progressBar.visible


def test_a_run_ends_while_another_module_is_open(
    slicer: Any, realPanel: Any, scan: Any, untrainedBundle: Path
) -> None:
    from ParanasalSSLPanel import models
    from ParanasalSSLPanel.tables import tableOf

    models.addModel(str(untrainedBundle))
    realPanel.runSection.listModels(str(untrainedBundle))
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    realPanel.exit()
    wait_for_run(realPanel)
    assert tableOf(scan) is not None
    realPanel.enter()
    assert realPanel.ui.scoresLabel.text
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert not any(c.GetForegroundVolumeID() for c in composites), "the reader's views"


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
    progress = panel.activity.onProgress

    def watch(report: Any) -> None:
        progress(report)
        seen.append(report.stage.value)

    panel.activity.onProgress = watch
    panel.ui.runButton.click()
    headless.wait_until(lambda: stage in seen, 60)
    process = panel.activity.work
    panel.ui.cancelButton.click()
    wait_for_run(panel)
    assert not process.isRunning
    # The process may have been faster than the click: then all is there, else nothing is.
    if panel.ui.messageLabel.text == "Cancelled. Nothing was changed.":
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes
        assert panel.ui.scoresLabel.text == ""
    else:
        assert panel.ui.scoresLabel.text
    assert temporary_folders(slicer) == []
    assert panel.ui.runButton.enabled and not panel.ui.progressBar.visible


def test_closing_the_scene_ends_a_run(slicer: Any, realPanel: Any, scan: Any) -> None:
    realPanel.ui.placeBoxesButton.click()
    realPanel.ui.runButton.click()
    assert realPanel.activity.isRunning
    slicer.mrmlScene.Clear()
    assert not realPanel.activity.isRunning
    assert temporary_folders(slicer) == []
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")


@pytest.mark.slow
@pytest.mark.skipif(not (BUNDLE / "bundle.json").exists(), reason="the shipped bundle is missing")
def test_the_sample_head_is_scored_as_by_the_command_line(
    slicer: Any, openPanel: Callable[[Any], Any], geometry: Any, sample_head: Path
) -> None:
    from ParanasalSSLPanel import results, tables
    from ParanasalSSLPanel.boxes import boxesOf
    from ParanasalSSLPanel.separateProcess import SeparateProcess

    from ParanasalSSLLib.model.bundle import load_bundle
    from ParanasalSSLLib.predict import predict_scan

    panel = openPanel(SeparateProcess())
    scan = slicer.util.loadVolume(str(sample_head))
    panel.ui.placeBoxesButton.click()
    assert panel.ui.cancelButton.enabled, "the panel stays usable"
    wait_for_run(panel)
    assert panel.ui.qualityLabel.text != "No boxes yet."
    assert "not found" not in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    wait_for_run(panel)
    assert panel.ui.messageLabel.text == ""
    assert tables.tableOf(scan).GetNumberOfRows() == 2
    assert slicer.util.arrayFromVolume(results.residualOf(scan)).max() > 0
    assert "are simulated" in panel.ui.noticesLabel.text
    rows = {cells[0]: cells for cells in geometry.tableRows(tables.tableOf(scan))}
    decisions = {side: cells[3] for side, cells in rows.items()}
    assert decisions == {"left": "Anomaly suspected", "right": "No anomaly suspected"}
    by_command = predict_scan(sample_head, load_bundle(BUNDLE))
    for side, sinus in by_command.sinuses.items():
        assert float(rows[side.value][1]) == pytest.approx(sinus.probability, abs=0.006)
        moved = boxesOf(scan)[side]
        assert np.allclose(
            moved.center_ras_mm, by_command.placement.boxes[side].center_ras_mm, atol=0.1
        )
        assert moved.origin == "registration"
