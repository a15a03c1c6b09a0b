"""What the panel shows of findings: tour, list, views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from slice_views import centres_of_views

from ParanasalSSLLib.sinuses import Side


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


def test_the_tour_of_another_scan_begins_with_its_first_finding(
    findings: None, standIn: Any, slicer: Any, panel: Any, scan: Any
) -> None:
    from dataclasses import replace

    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    panel.ui.scanSelector.setCurrentNode(addMadeUpScan("Other"))
    panel.ui.placeBoxesButton.click()
    of_first, side = standIn.findings, Side.LEFT

    def found(*arguments: Any) -> Any:
        one = of_first(*arguments)
        moved = tuple(replace(each, ml=0.5) for each in one.sinuses[side].findings)
        sinuses = {**one.sinuses, side: replace(one.sinuses[side], findings=moved)}
        return replace(one, sinuses=sinuses)

    standIn.findings = found
    panel.ui.runButton.click()
    panel.ui.nextFindingButton.click()
    np.testing.assert_allclose(centres_of_views(slicer), [(-24.0, 30.0, -25.0)] * 3, atol=1e-3)


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
    assert panel.ui.findingLabel.text == "No finding: no anomaly is suspected."


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
