"""What the panel says of scans and boxes that cannot be scored, or not without a look."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.results.listing import STATE_WORDS
from ParanasalSSLLib.sinuses import DECISION_WORDS, SINUSES, Side


def test_a_failed_registration_is_told_in_words_and_nothing_is_scored(
    openPanel: Callable[[Any], Any], module: ModuleType, scan: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import StandIn
    from ParanasalSSLPanel.tables import tableOf

    panel = openPanel(StandIn("failed", ("Only 20% of the face around the sinuses shows signal.",)))
    panel.ui.placeBoxesButton.click()
    assert "were not found. Only 20%" in panel.ui.qualityLabel.text
    panel.ui.runButton.click()
    assert "were not found. Only 20%" in panel.ui.messageLabel.text
    assert tableOf(scan) is None


def test_boxes_to_be_checked_are_told_and_scored(
    openPanel: Callable[[Any], Any], module: ModuleType, scan: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import StandIn
    from ParanasalSSLPanel.tables import tableOf

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
    from ParanasalSSLPanel.logic import ParanasalSSLLogic
    from ParanasalSSLPanel.packages import PackagesMissing

    def declined(path: str) -> None:
        raise PackagesMissing("The Python packages were not installed.")

    panel.ui.placeBoxesButton.click()
    panel.logic = ParanasalSSLLogic(standIn, ensure=declined)
    panel.ui.runButton.click()
    assert panel.ui.messageLabel.text == "The Python packages were not installed."


def test_a_programs_fault_is_not_hidden(
    panel: Any, scan: Any, standIn: Any, faults: list[BaseException]
) -> None:
    def broken(*given: Any) -> None:
        raise ZeroDivisionError

    standIn.place = broken
    panel.ui.placeBoxesButton.click()
    assert isinstance(faults.pop(), ZeroDivisionError)
    assert panel.ui.runButton.enabled


def test_a_head_without_a_face_is_refused_in_words(
    slicer: Any, openPanel: Callable[[Any], Any], module: ModuleType, sample_head: Path
) -> None:
    import headless
    from ParanasalSSLPanel.separateProcess import SeparateProcess
    from ParanasalSSLPanel.tables import tableOf

    panel = openPanel(SeparateProcess())
    scan = slicer.util.loadVolume(str(sample_head))
    voxels = slicer.util.arrayFromVolume(scan)  # k, j, i
    voxels[:80, 60:] = 0  # all that lies below the eyes and before the ears
    slicer.util.arrayFromVolumeModified(scan)
    panel.ui.placeBoxesButton.click()
    headless.wait_until(lambda: not panel.activity.isRunning, 120)
    panel.ui.runButton.click()
    assert "were not found" in panel.ui.messageLabel.text
    assert tableOf(panel.parameters.scan) is None


PANEL = Path(__file__).resolve().parents[2] / "ParanasalSSL" / "ParanasalSSLPanel"


@pytest.mark.parametrize("path", sorted(PANEL.glob("*.py")), ids=lambda path: path.name)
def test_every_text_stands_whole_where_slicers_translators_look_for_it(path: Path) -> None:
    """Their tool reads the text out of the call: no variable, no f-string."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    texts = [call.args[0] for call in calls if getattr(call.func, "id", "") == "_"]
    assert all(isinstance(text, ast.Constant) for text in texts)


def test_the_panels_words_are_the_librarys(slicer: Any) -> None:
    from ParanasalSSLPanel import words

    from ParanasalSSLLib.progress import Stage

    assert {stage: stage.words for stage in Stage} == {s: words.stageWords(s) for s in Stage}
    assert {state: words.stateWords(state) for state in STATE_WORDS} == STATE_WORDS
    assert {d: words.decisionWords(d) for d in DECISION_WORDS} == DECISION_WORDS
    assert [words.sinusName(side) for side in Side] == [SINUSES[side].name for side in Side]


def contrast(color: str, background: str) -> float:
    """By the formula of WCAG 2."""

    def luminance(name: str) -> float:
        parts = [int(name[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(color), luminance(background)))
    return (high + 0.05) / (low + 0.05)


def test_coloured_words_are_readable_in_both_themes_of_slicer(slicer: Any) -> None:
    import qt
    from ParanasalSSLPanel import colors

    for theme, background in (("dark", "#323232"), ("light", "#efefef")):
        widget = qt.QLabel()
        palette = widget.palette
        palette.setColor(qt.QPalette.Window, qt.QColor(background))
        widget.setPalette(palette)
        for color, style in (
            (colors.ERROR, colors.errorStyle),
            (colors.WARNING, colors.warningStyle),
        ):
            assert color[theme] in style(widget)
            assert contrast(color[theme], background) >= 4.5
