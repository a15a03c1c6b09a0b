"""The panel's sections, button by button, as a user presses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.sinuses import SINUSES, Side


@pytest.fixture
def panel(openPanel: Callable[[Any], Any], standIn: Any, scan: Any) -> Any:
    """A panel with a scan and its boxes."""
    panel = openPanel(standIn)
    panel.ui.placeBoxesButton.click()
    return panel


def centres_of_views(slicer: Any) -> np.ndarray:
    """(3, 3) where the slice views look, world RAS mm."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return np.array([slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3] for node in nodes])


# --------------------------------------------------------------------------------- scan and boxes


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


# -------------------------------------------------------------------------------------------- run


def test_a_good_bundle_is_added_with_its_card(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import qt

    from ParanasalSSLLib.model.bundle import shipped_bundle_path

    folder = tmp_path / "site model"
    shutil.copytree(shipped_bundle_path(), folder)
    chosen = staticmethod(lambda *_: str(folder))
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", chosen)
    panel.ui.addModelButton.click()
    assert "(site model)" in panel.ui.modelComboBox.currentText
    assert panel.settings.model == folder
    assert "Limits" in panel.ui.logText.toPlainText()
    assert not panel.ui.logCollapsibleButton.collapsed


def test_stages_and_log_are_shown_and_cancel_ends_the_process(
    slicer: Any, openPanel: Callable[[Any], Any], standIn: Any, scan: Any, fakeLibrary: Any
) -> None:
    import headless
    from ParanasalSSLPanel.separateProcess import SeparateProcess

    computation = SeparateProcess()
    computation.place = standIn.place  # type: ignore[method-assign]
    panel = openPanel(computation)
    panel.ui.placeBoxesButton.click()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    fakeLibrary(
        """
        print('{"event": "stage", "stage": "analyse", "fraction": 0.5}', flush=True)
        print("some library's words", flush=True)
        sys.stdin.read()
        """
    )
    panel.ui.runButton.click()
    headless.wait_until(lambda: "some library's words" in panel.ui.logText.toPlainText())
    assert panel.ui.progressBar.value == 50
    assert panel.ui.progressBar.format == "Scoring the sinuses"
    process = panel.activity.work
    panel.ui.cancelButton.click()
    headless.wait_until(lambda: not panel.activity.isRunning)
    assert not process.isRunning
    assert panel.ui.messageLabel.text == "Cancelled. Nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.scoresLabel.text == ""


# ---------------------------------------------------------------------------------------- results


@pytest.fixture
def findings(standIn: Any) -> None:
    """The stand-in finds two things on the left and one, too little to count, on the right."""
    from dataclasses import replace

    from ParanasalSSLLib.results.sinus_record import FindingRecord

    whole = standIn.findings

    def found(*given: Any) -> Any:
        one = whole(*given)
        parts = {
            Side.LEFT: (
                FindingRecord(1.5, 14.0, 6.0, "floor", "dome", (-24.0, 30.0, -25.0)),
                FindingRecord(0.2, 5.0, 2.0, None, "band", (-20.0, 25.0, -15.0)),
            ),
            Side.RIGHT: (FindingRecord(0.1, 3.0, 1.0, "roof", "band", (24.0, 30.0, -15.0)),),
        }
        sinuses = {side: replace(one.sinuses[side], findings=parts[side]) for side in Side}
        return replace(one, sinuses=sinuses)

    standIn.findings = found


def test_the_tour_walks_the_findings_and_leaves_out_clear_sinuses(
    findings: None, slicer: Any, panel: Any, scan: Any
) -> None:
    first, second = (-24.0, 30.0, -25.0), (-20.0, 25.0, -15.0)
    panel.ui.runButton.click()
    for place in (first, second, first):
        panel.ui.nextFindingButton.click()
        np.testing.assert_allclose(centres_of_views(slicer), [place] * 3, atol=1e-3)
    panel.ui.previousFindingButton.click()
    np.testing.assert_allclose(centres_of_views(slicer), [second] * 3, atol=1e-3)
    assert panel.ui.findingLabel.text == "Left maxillary sinus: 0.20 ml, 5 mm, no wall"


def test_a_click_in_the_list_goes_to_the_finding(
    findings: None, slicer: Any, panel: Any, scan: Any
) -> None:
    panel.ui.runButton.click()
    view = panel.ui.findingsView
    assert view.horizontalHeader().length() <= 400, "it fits into Slicer's panel"
    view.clicked.emit(view.model().index(2, 0))
    np.testing.assert_allclose(centres_of_views(slicer), [(24.0, 30.0, -15.0)] * 3, atol=1e-3)


def test_without_single_findings_the_tour_goes_to_the_largest_residual(
    slicer: Any, panel: Any, scan: Any, standIn: Any
) -> None:
    from dataclasses import replace

    from ParanasalSSLPanel.selfcheck import CENTERS_RAS_MM

    whole = standIn.findings

    def older(*given: Any) -> Any:
        one = whole(*given)
        return replace(one, sinuses={s: replace(one.sinuses[s], findings=None) for s in Side})

    standIn.findings = older
    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    assert panel.ui.findingLabel.text == "Left maxillary sinus: its largest residual"
    away = np.linalg.norm(centres_of_views(slicer) - CENTERS_RAS_MM[Side.LEFT], axis=1)
    assert away.max() < 10


def test_all_clear_is_said_in_words(panel: Any, standIn: Any, monkeypatch: Any) -> None:
    from dataclasses import replace

    whole = standIn.findings

    def clear(*given: Any) -> Any:
        one = whole(*given)
        return replace(
            one, sinuses={s: replace(r, decision="clear") for s, r in one.sinuses.items()}
        )

    standIn.findings = clear
    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    assert panel.ui.findingLabel.text == "Both sinuses are clear: no finding."


def test_the_views_show_the_sinuses_as_near_as_they_fit(slicer: Any, panel: Any) -> None:
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        assert min(node.GetFieldOfView()[:2]) == pytest.approx(140)


def test_the_overlay_has_a_legend_and_is_toggled(slicer: Any, panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.results import isOverlayShown, residualOf

    panel.ui.runButton.click()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(residualOf(scan))
    button = panel.ui.overlayButton
    assert button.checked and isOverlayShown(scan) and legend.GetVisibility()
    button.click()
    assert not isOverlayShown(scan) and not legend.GetVisibility()
    button.click()
    assert isOverlayShown(scan) and legend.GetVisibility()


def test_the_overlay_begins_at_the_level_of_the_opacities(panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.results import residualOf

    panel.ui.runButton.click()
    assert residualOf(scan).GetDisplayNode().GetLowerThreshold() == pytest.approx(0.4)
    assert panel.ui.thresholdSlider.value == pytest.approx(0.4)


def test_the_segments_are_shown_in_3d(slicer: Any, panel: Any, scan: Any) -> None:
    import vtk
    from ParanasalSSLPanel.results import isShown3D, segmentationOf

    panel.ui.runButton.click()
    panel.ui.surfaceButton.click()
    surface = vtk.vtkPolyData()
    node = segmentationOf(scan)
    node.GetClosedSurfaceRepresentation(node.GetSegmentation().GetNthSegmentID(0), surface)
    assert isShown3D(scan) and surface.GetNumberOfPoints() > 100
    panel.ui.surfaceButton.click()
    assert not isShown3D(scan)


def test_four_up_shows_three_slices_and_the_boxes_in_3d(slicer: Any, panel: Any) -> None:
    layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    panel.ui.fourUpButton.click()
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView


def test_side_by_side_shows_each_sinus_in_its_own_coronal_view(
    slicer: Any, panel: Any, scan: Any
) -> None:
    """The application makes the views of a layout; here they are there already."""
    from ParanasalSSLPanel import views

    layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    panel.ui.runButton.click()
    nodes = {side: sliceView(slicer, name) for side, name in views.COMPARED.items()}
    panel.ui.sideBySideButton.click()
    assert layout.GetViewArrangement() == views.SIDE_BY_SIDE
    text = layout.GetLayoutDescription(views.SIDE_BY_SIDE)
    assert text.index("ParanasalRight") < text.index("ParanasalLeft"), "right is on the left"
    centers = views.boxCenters(scan)
    for side, node in nodes.items():
        assert min(node.GetFieldOfView()[:2]) == pytest.approx(80)
        np.testing.assert_allclose(centre_of(slicer, node), centers[side], atol=1e-3)
    panel.ui.nextFindingButton.click()
    left, right = (centre_of(slicer, nodes[side]) for side in Side)
    assert left[1] == pytest.approx(right[1]) and right[0] == pytest.approx(centers[Side.RIGHT][0])
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert len({composite.GetForegroundVolumeID() for composite in composites}) == 1
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node in nodes.values():
            slicer.mrmlScene.RemoveNode(node)


def sliceView(slicer: Any, name: str) -> Any:
    made = []
    for kind in (slicer.vtkMRMLSliceNode, slicer.vtkMRMLSliceCompositeNode):
        node = kind()
        node.SetName(name)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        made.append(slicer.mrmlScene.AddNode(node))
    return made[0]


def centre_of(slicer: Any, node: Any) -> np.ndarray:
    return np.array(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3])


def test_the_scan_stays_bright_where_there_is_no_residual(panel: Any, scan: Any) -> None:
    from ParanasalSSLPanel.results import residualOf

    panel.ui.runButton.click()
    panel.ui.thresholdSlider.setValue(0.0)
    assert residualOf(scan).GetDisplayNode().GetLowerThreshold() > 0


# --------------------------------------------------------------------------------------- worklist


@pytest.fixture
def listed(panel: Any, tmp_path: Path) -> Any:
    """A panel with a worklist of two files that are no images."""
    import headless

    folder = tmp_path / "scans"
    for patient in ("A", "B"):
        (folder / patient).mkdir(parents=True)
        (folder / patient / "head.nii").write_text("nothing")
    panel.ui.worklistFolderEdit.currentPath = str(tmp_path)
    panel.worklistSection.sources.addFolder(folder)
    assert panel.ui.cancelWorklistButton.enabled and not panel.ui.addFolderButton.enabled
    headless.wait_until(lambda: not panel.worklistSection.isRunning, 30)
    return panel


def column(panel: Any, number: int) -> list[str]:
    table = panel.ui.worklistTable
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_scans_of_one_name_are_told_apart(listed: Any) -> None:
    assert column(listed, 0) == [str(Path("A") / "head.nii"), str(Path("B") / "head.nii")]


def test_the_table_is_sorted_by_a_click_on_its_header(listed: Any) -> None:
    for _click in range(2):  # the second turns the order around
        listed.ui.worklistTable.horizontalHeader().sectionClicked.emit(0)
    assert column(listed, 0)[0].startswith("B")


def test_loaded_scans_are_added_by_their_names(listed: Any) -> None:
    import slicer

    slicer.util.addVolumeFromArray(np.zeros((3, 64, 64), np.float32), np.eye(4), "Flat")
    listed.ui.addLoadedButton.click()
    assert "Made-up scan" in column(listed, 0) and "Flat" not in column(listed, 0)
    assert listed.ui.worklistLabel.text.startswith("1 new scans.\nFlat has")


def test_what_failed_can_be_tried_again(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        for name in ("sub-0001", "sub-0002"):
            print('{"event": "scan_failed", "message": "Damaged.", "id": "%s"}' % name)
        print('{"event": "summary"}')
        sys.exit(1)
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert column(listed, 4) == ["failed", "failed"]
    assert "Damaged." in listed.ui.worklistTable.item(0, 0).toolTip()
    assert not listed.ui.runWorklistButton.enabled
    listed.ui.tryAgainButton.click()
    assert column(listed, 4) == ["waiting", "waiting"]
    assert listed.ui.runWorklistButton.enabled and not listed.ui.tryAgainButton.enabled


def test_a_broken_model_costs_no_scan(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        print('{"event": "stage", "stage": "read", "id": "sub-0001"}')
        print('{"event": "failed", "message": "The bundle is damaged."}')
        sys.exit(1)
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert listed.ui.worklistLabel.text == "The bundle is damaged."
    assert column(listed, 4) == ["waiting", "waiting"]


def test_a_stopped_worklist_goes_on_later(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        print('{"event": "stage", "stage": "read", "id": "sub-0001"}', flush=True)
        sys.stdin.read()
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: "running" in column(listed, 4))
    listed.ui.cancelWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert column(listed, 4) == ["waiting", "waiting"]


def test_a_worklist_folder_that_is_gone_is_told_in_words(
    listed: Any, fakeLibrary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless
    from ParanasalSSLPanel import worklist

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worklist, "write_json", full)
    fakeLibrary("""print('{"event": "stage", "stage": "read", "id": "sub-0001"}')""")
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert "No space left on device" in listed.ui.worklistLabel.text


def test_the_csv_is_written_where_the_user_says(
    listed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    chosen = staticmethod(lambda *_: str(tmp_path / "list.csv"))
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", chosen)
    listed.ui.csvButton.click()
    assert (tmp_path / "list.csv").read_text().startswith("id,state,quality")


def test_the_next_slicer_opens_the_same_worklist(
    listed: Any, openPanel: Callable[[Any], Any], standIn: Any
) -> None:
    assert column(openPanel(standIn), 0) == column(listed, 0)


def test_dicom_files_are_written_only_on_request(
    listed: Any, fakeLibrary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless

    fakeLibrary(f"open({str(tmp_path / 'arguments')!r}, 'w').write(' '.join(sys.argv))")
    for wanted in (False, True):
        listed.ui.worklistDicomCheckBox.setChecked(wanted)
        listed.ui.runWorklistButton.click()
        headless.wait_until(lambda: not listed.worklistSection.isRunning)
        assert ("--dicom-out" in (tmp_path / "arguments").read_text()) == wanted


# ------------------------------------------------------------------------------------ sample data


def test_the_sample_head_is_offered_with_its_checksum(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from urllib.parse import unquote, urlparse

    import qt
    from ParanasalSSLPanel.sampleData import registerSampleData

    from ParanasalSSLLib.files import sha256

    offered: dict[str, Any] = {}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **given: offered.update(given))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    registerSampleData()
    path = Path(unquote(urlparse(offered["uris"]).path))
    assert path.name == offered["fileNames"]
    assert offered["checksums"] == f"SHA256:{sha256(path)}"
    thumbnail = qt.QImage(offered["thumbnailFileName"])
    assert (thumbnail.width(), thumbnail.height()) == (260, 280)
