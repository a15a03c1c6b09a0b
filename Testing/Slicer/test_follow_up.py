"""Follow-up: an earlier result beside the present one, in numbers and in linked views."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dicom_header import write_dicom_header

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def views(slicer: Any) -> Any:
    """The views that the application makes for the layout of a comparison; gone at the end."""
    from ParanasalSSLPanel.views import EARLIER, LATER

    nodes = {}
    layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    for name in (*EARLIER.values(), *LATER.values()):
        for kind in (slicer.vtkMRMLSliceNode, slicer.vtkMRMLSliceCompositeNode):
            node = kind()
            node.SetName(name)
            node.SetLayoutName(name)
            node.SetSingletonTag(name)
            nodes[name, kind is slicer.vtkMRMLSliceNode] = slicer.mrmlScene.AddNode(node)
    yield SimpleNamespace(nodes=nodes, layout=layout)
    for node in nodes.values():
        slicer.mrmlScene.RemoveNode(node)


@pytest.fixture
def two(slicer: Any, openPanel: Any, standIn: Any, writing: Any, geometry: Any) -> Any:
    """A panel with two scored scans of one head, the later one turned and moved by the scanner."""
    from ParanasalSSLPanel.boxes import boxesOf, showBoxes
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    from ParanasalSSLLib.boxes.box import SinusBox

    panel = openPanel(standIn)
    panel.ui.worklistFolderEdit.currentPath = ""  # that of another test may be remembered
    earlier = addMadeUpScan("Earlier")
    panel.ui.scanSelector.setCurrentNode(earlier)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    later = addMadeUpScan("Later")
    panel.ui.scanSelector.setCurrentNode(later)
    panel.ui.placeBoxesButton.click()
    angle = np.deg2rad(-12)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = (4, -7, 9)
    moved = {
        side: SinusBox(side, (motion @ [*box.center_ras_mm, 1])[:3], motion[:3, :3] @ box.rotation)
        for side, box in boxesOf(later).items()
    }
    showBoxes(later, moved, standIn.placement().quality)
    panel.ui.runButton.click()
    return SimpleNamespace(panel=panel, earlier=earlier, later=later, motion=motion)


def test_the_numbers_of_both_are_compared_with_what_chance_makes(two: Any) -> None:
    ui = two.panel.ui
    assert [ui.earlierComboBox.itemText(n) for n in range(ui.earlierComboBox.count)] == ["Earlier"]
    ui.compareButton.click()
    words = ui.changesLabel.text
    assert "opacity" in words and " ml" in words and " mm" in words
    assert "\N{BLACK CIRCLE}" in words and "+0.00" in words


def test_an_error_bar_reaches_as_far_as_repeated_scans_differ(two: Any) -> None:
    from ParanasalSSLPanel.followUp import BAR, _bar

    from ParanasalSSLLib.results.follow_up import Change

    grown = _bar(Change(Side.LEFT, "opacity", "ml", 1.0, 3.0, 0.25), 4.0)
    middle = BAR // 2
    assert len(grown) == BAR and grown[middle] == "|"
    assert grown[middle + 4] == "\N{BLACK CIRCLE}"
    assert grown.count("\N{BOX DRAWINGS LIGHT HORIZONTAL}") == 2, "one on either side"
    unknown = _bar(Change(Side.LEFT, "depth", "mm", 3.0, 1.0, None), 4.0)
    assert (
        unknown[middle - 4] == "\N{BLACK CIRCLE}"
        and "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in unknown
    )


def test_linked_views_look_at_the_same_place_of_the_head(slicer: Any, two: Any, views: Any) -> None:
    from ParanasalSSLPanel.views import EARLIER, FOLLOW_UP, LATER

    two.panel.ui.compareButton.click()
    assert views.layout.GetViewArrangement() == FOLLOW_UP
    text = views.layout.GetLayoutDescription(FOLLOW_UP)
    assert text.index(EARLIER["Coronal"]) < text.index(LATER["Coronal"]), "the earlier on the left"
    later, earlier = (views.nodes[names["Axial"], True] for names in (LATER, EARLIER))

    def plane(node: Any) -> np.ndarray:
        return np.array(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()))

    np.testing.assert_allclose(two.motion @ plane(earlier), plane(later), atol=1e-3)
    later.JumpSliceByCentering(11.0, 22.0, -33.0)  # as a reader scrolls
    later.SetFieldOfView(60.0, 60.0, 1.0)
    np.testing.assert_allclose(two.motion @ plane(earlier), plane(later), atol=1e-3)
    assert min(earlier.GetFieldOfView()[:2]) == pytest.approx(60.0)
    earlier.JumpSliceByCentering(1.0, 2.0, -3.0)
    np.testing.assert_allclose(two.motion @ plane(earlier), plane(later), atol=1e-3)


def test_each_scan_is_drawn_in_its_own_views(slicer: Any, two: Any, views: Any) -> None:
    from ParanasalSSLPanel import results
    from ParanasalSSLPanel.boxes import boxNode
    from ParanasalSSLPanel.views import EARLIER, LATER

    ui = two.panel.ui
    assert not results.segmentationOf(two.earlier).GetDisplayVisibility()
    ui.compareButton.click()
    for scan, names in ((two.later, LATER), (two.earlier, EARLIER)):
        assert results.segmentationOf(scan).GetDisplayVisibility()
        shown = {views.nodes[name, True].GetID() for name in names.values()}
        for node in (results.segmentationOf(scan), boxNode(scan, Side.LEFT)):
            assert set(node.GetDisplayNode().GetViewNodeIDs()) == shown
        for name in names.values():
            composite = views.nodes[name, False]
            assert composite.GetBackgroundVolumeID() == scan.GetID()
            assert composite.GetForegroundVolumeID() == results.residualOf(scan).GetID()
    ui.thresholdSlider.setValue(0.45)
    for scan in (two.later, two.earlier):
        display = results.residualOf(scan).GetDisplayNode()
        assert display.GetLowerThreshold() == pytest.approx(0.45)
    ui.overlayButton.click()
    ui.overlayButton.click()
    composite = views.nodes[EARLIER["Axial"], False]
    assert composite.GetBackgroundVolumeID() == two.earlier.GetID(), (
        "the overlay is the later one's"
    )


@pytest.mark.parametrize("how", ["button", "other scan", "closed case", "scene"])
def test_a_comparison_ends_and_leaves_nothing_behind(
    slicer: Any, two: Any, views: Any, how: str
) -> None:
    from ParanasalSSLPanel import results
    from ParanasalSSLPanel.views import EARLIER, LATER

    ui = two.panel.ui
    ui.compareButton.click()
    assert ui.closeComparisonButton.enabled
    if how == "button":
        ui.closeComparisonButton.click()
        assert not results.segmentationOf(two.earlier).GetDisplayVisibility()
        display = results.segmentationOf(two.later).GetDisplayNode()
        assert not display.GetViewNodeIDs()
    elif how == "other scan":
        ui.scanSelector.setCurrentNode(two.earlier)
        assert results.segmentationOf(two.earlier).GetDisplayVisibility()
        assert not results.segmentationOf(two.later).GetDisplayVisibility()
    elif how == "closed case":
        from ParanasalSSLPanel.cases import closeCase

        closeCase(two.earlier)
    else:
        slicer.mrmlScene.Clear()
    assert two.panel.followUpSection.comparison is None
    assert ui.changesLabel.text == "" and not ui.closeComparisonButton.enabled
    if how != "scene":
        earlier, later = (views.nodes[names["Axial"], True] for names in (EARLIER, LATER))
        before = slicer.util.arrayFromVTKMatrix(earlier.GetSliceToRAS())
        later.JumpSliceByCentering(50.0, 50.0, 50.0)
        after = slicer.util.arrayFromVTKMatrix(earlier.GetSliceToRAS())
        np.testing.assert_array_equal(before, after)


def test_scans_of_two_patients_are_told(two: Any, tmp_path: Path) -> None:
    from ParanasalSSLPanel import kept

    for scan, name in ((two.earlier, "4711"), (two.later, "4712")):
        origin = ScanSource(tmp_path, (write_dicom_header(tmp_path / name, PatientID=name),))
        kept.keepOrigin(scan, kept.Origin(origin, kept.resultOf(scan)))
    two.panel.ui.compareButton.click()
    words = two.panel.ui.changesLabel.text
    assert "may be two patients" in words and "patient ID" in words and "opacity" in words
    assert "4711" not in words and "4712" not in words


def test_boxes_that_are_to_be_reviewed_are_told(two: Any, standIn: Any) -> None:
    ui = two.panel.ui
    ui.compareButton.click()
    assert "to be reviewed" not in ui.changesLabel.text
    standIn.verdict, standIn.reasons = "review", ("Hardly any air is in the box.",)
    ui.scanSelector.setCurrentNode(two.earlier)
    ui.placeBoxesButton.click()
    ui.runButton.click()
    ui.scanSelector.setCurrentNode(two.later)
    ui.compareButton.click()
    words = ui.changesLabel.text
    assert "The boxes of the earlier result are to be reviewed. Hardly any air" in words
    assert "later result" not in words and "opacity" in words


def test_an_earlier_scan_of_the_worklist_is_opened_for_it(
    slicer: Any, two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt
    from ParanasalSSLPanel import kept, scans
    from ParanasalSSLPanel.cases import closeCase
    from ParanasalSSLPanel.worklist import Worklist

    from ParanasalSSLLib.results.export import export_result
    from ParanasalSSLLib.scans.volume import write_volume

    folder, path = tmp_path / "list", tmp_path / "2024.nii"
    write_volume(scans.volumeFromNode(two.earlier), path)
    worklist = Worklist(folder)
    worklist.add({ScanSource(path): "June"})
    files = ScanFiles.in_output(folder, "sub-0001")
    export_result(kept.resultOf(two.earlier), files)
    worklist.change("sub-0001", "done")
    closeCase(two.earlier)
    two.panel.ui.worklistFolderEdit.currentPath = str(folder)
    two.panel.refresh()
    assert two.panel.ui.earlierComboBox.currentText == "June"
    two.panel.ui.compareButton.click()
    assert two.panel.ui.messageLabel.text == ""
    comparison = two.panel.followUpSection.comparison
    assert comparison.earlier.GetName() == "2024" and comparison.later is two.later
    assert two.panel.scan is two.later

    two.panel.ui.closeComparisonButton.click()
    chosen = str(tmp_path)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *_: chosen))
    two.panel.ui.compareFolderButton.click()
    assert "no folder of one scan's results" in two.panel.ui.messageLabel.text
    chosen = str(kept.resultOf(two.later).folder)
    two.panel.ui.compareFolderButton.click()
    assert "+0.00" in two.panel.ui.changesLabel.text, "numbers alone"
    assert two.panel.followUpSection.comparison is None


def test_numbers_alone_go_with_their_scan(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another patient's changes must not stand under the scan that is chosen next."""
    import qt
    from ParanasalSSLPanel import kept

    from ParanasalSSLLib.results.export import export_result

    files = ScanFiles.in_output(tmp_path / "elsewhere", "sub-0009")
    export_result(kept.resultOf(two.earlier), files)
    chosen = staticmethod(lambda *_: str(files.folder))
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", chosen)
    ui = two.panel.ui
    for change in (lambda: ui.scanSelector.setCurrentNode(two.earlier), ui.runButton.click):
        ui.compareFolderButton.click()
        assert "opacity" in ui.changesLabel.text
        two.panel.refresh()
        assert "opacity" in ui.changesLabel.text
        change()
        assert ui.changesLabel.text == ""
