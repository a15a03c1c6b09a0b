"""What the panel says of scans and boxes that cannot be scored, or not without a look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def test_a_failed_registration_is_told_in_words_and_nothing_is_scored(
    openPanel: Callable[[Any], Any], module: ModuleType, scan: Any
) -> None:
    from ParanasalSSLPanel.results import tableOf
    from ParanasalSSLPanel.selfcheck import StandIn

    panel = openPanel(StandIn("failed", ("Only 20% of the face around the sinuses shows signal.",)))
    panel.ui.placeBoxesButton.click()
    assert "were not found. Only 20%" in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    assert "were not found. Only 20%" in panel.ui.messageLabel.text
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
    assert panel.ui.messageLabel.text.startswith("Made-up scan has several values a voxel.")


def test_a_frame_of_a_4d_series_is_refused_in_words(slicer: Any, panel: Any, scan: Any) -> None:
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for time in "012":
        series.SetDataNodeAtValue(scan, time)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(series.GetID())
    browser.AddProxyNode(scan, series, False)
    panel.ui.placeBoxesButton.click()
    assert panel.ui.messageLabel.text.startswith(
        "Made-up scan is one frame of a time or diffusion series"
    )


def test_a_ct_is_refused_in_words(slicer: Any, panel: Any) -> None:
    voxels = np.random.default_rng(0).normal(-1000, 20, (40, 40, 40)).astype(np.float32)
    voxels[10:30, 10:30, 10:30] += 1050
    node = slicer.util.addVolumeFromArray(voxels, np.diag([4.0, 4.0, 4.0, 1.0]), "Head CT")
    panel.ui.scanSelector.setCurrentNode(node)
    panel.ui.placeBoxesButton.click()
    assert "Head CT" in panel.ui.messageLabel.text and "CT" in panel.ui.messageLabel.text.replace(
        "Head CT", ""
    )


def test_declined_packages_are_told_in_words(
    panel: Any, module: ModuleType, standIn: Any, scan: Any
) -> None:
    from ParanasalSSLPanel.packages import PackagesMissing

    def declined(path: str) -> None:
        raise PackagesMissing("The Python packages were not installed.")

    panel.logic = module.ParanasalSSLLogic(standIn, ensure=declined)
    panel.ui.placeBoxesButton.click()
    assert panel.ui.messageLabel.text == "The Python packages were not installed."


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
    assert "were not found" in panel.ui.messageLabel.text
    assert tableOf(panel.parameters.scan) is None
