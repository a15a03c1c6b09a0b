"""What a run leaves in the scene: overlay and table; what a second run makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_nodes import residual_of, segmentation_of, table_of

from ParanasalSSLLib.sinuses import Side


def test_the_overlay_covers_the_scan_voxel_for_voxel(
    slicer: Any, scored: Any, geometry: Any
) -> None:
    residual = residual_of(scored)
    assert residual.GetImageData().GetDimensions() == scored.GetImageData().GetDimensions()
    assert np.allclose(geometry.ijkToRas(residual), geometry.ijkToRas(scored), atol=1e-9)
    voxels = slicer.util.arrayFromVolume(residual)  # k, j, i
    assert np.array_equal(voxels.transpose(2, 1, 0), scored.findings.residual)


def test_the_overlay_lies_on_the_finding_in_the_head(
    slicer: Any, scored: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import CENTERS_RAS_MM

    residual = residual_of(scored)
    kji = np.argwhere(slicer.util.arrayFromVolume(residual) > 0)
    affine = geometry.ijkToRas(residual)
    ras = kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    for center in CENTERS_RAS_MM.values():
        near = ras[np.linalg.norm(ras - center, axis=1) < 30]
        assert np.allclose(near.mean(axis=0), center, atol=0.5)


def test_the_overlay_is_coloured_windowed_and_thresholded(slicer: Any, scored: Any) -> None:
    from ParanasalSSLPanel.results import showOverlay

    showOverlay(scored, 0.2, 0.7)
    display = residual_of(scored).GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 0.5)
    assert not display.GetAutoWindowLevel()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(0.2)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == scored.GetID()
        assert composite.GetForegroundVolumeID() == residual_of(scored).GetID()
        assert composite.GetForegroundOpacity() == pytest.approx(0.7)


def test_a_scan_without_results_is_shown_alone(slicer: Any, scored: Any) -> None:
    from ParanasalSSLPanel.results import showOverlay
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    showOverlay(scored, 0.2, 0.7)
    other = addMadeUpScan("Other")
    showOverlay(other, 0.2, 0.7)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == other.GetID()
        assert not composite.GetForegroundVolumeID()


def test_the_table_holds_the_numbers(slicer: Any, scored: Any, geometry: Any) -> None:
    table = table_of(scored)
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    assert names == [
        *("Side", "Probability", "In words", "Decision"),
        *("Opacity (ml)", "Of the cavity (%)", "Cavity (ml)", "Depth (mm)", "Grade (0-2)"),
        "Box quality",
    ]
    left, right = geometry.tableRows(table)
    assert (left[0], right[0]) == ("left", "right")
    assert (float(left[1]), float(right[1])) == (0.8, 0.1)
    assert (left[2], right[2]) == ("likely", "unlikely")
    assert (left[3], right[3]) == ("Anomaly suspected", "No anomaly suspected")
    assert float(left[4]) == pytest.approx(scored.findings.sinuses[Side.LEFT].opacity_ml, abs=0.006)
    assert [float(cell) for cell in left[6:8]] == [20.0, 8.0]
    assert (left[8:], right[8:]) == (["1", "ok"], ["0", "ok"])


def test_the_findings_have_a_table_of_their_own(scored: Any, geometry: Any) -> None:
    from ParanasalSSLPanel.tables import findingsTableOf

    [finding] = geometry.tableRows(findingsTableOf(scored))
    assert finding[0] == "left" and finding[4:] == ["floor", "dome"]
    assert [float(cell) for cell in finding[2:4]] == [16.0, 8.0]


def test_without_a_cavity_the_table_has_no_columns_for_it(
    makeLogic: Any, scan: Any, geometry: Any
) -> None:
    from dataclasses import replace

    from ParanasalSSLPanel.selfcheck import StandIn

    class NoCavity(StandIn):
        def findings(self, *arguments: Any) -> Any:
            findings = super().findings(*arguments)
            sinuses = {
                side: replace(sinus, cavity_ml=None, findings=None)
                for side, sinus in findings.sinuses.items()
            }
            return replace(findings, sinuses=sinuses)

    logic = makeLogic(NoCavity())
    logic.placeBoxes(scan)
    logic.run(scan)
    table = table_of(scan)
    assert table.GetColumnName(5) == "Box quality" and table.GetNumberOfColumns() == 6


def test_a_second_run_replaces_the_first_ones_nodes(slicer: Any, logic: Any, scored: Any) -> None:
    def names() -> list[str]:
        nodes = slicer.util.getNodesByClass("vtkMRMLNode")
        return sorted(node.GetClassName() + node.GetName() for node in nodes)

    before = names()
    logic.run(scored)
    assert names() == before
    assert segmentation_of(scored).GetSegmentation().GetNumberOfSegments() == 2
    assert table_of(scored).GetNumberOfRows() == 2


@pytest.mark.application
def test_a_users_edited_segments_are_kept(
    slicer: Any, logic: Any, scored: Any, tmp_path: Path
) -> None:
    edited = segmentation_of(scored)
    identifier = edited.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(edited, identifier, scored)
    smaller = mask.copy()
    smaller[np.unravel_index(smaller.argmax(), smaller.shape)] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, edited, identifier, scored)
    logic.run(scored)
    assert segmentation_of(scored) is not edited
    assert edited.GetName().endswith("(edited)")
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(edited, identifier, scored)
    assert np.array_equal(kept, smaller)

    scene = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(scene))
    scan = slicer.util.getNode("Made-up scan")
    logic.run(scan)
    names = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert len(names) == 2, "what was only saved and loaded was not edited"


def test_placing_the_boxes_anew_removes_results_that_no_longer_fit(
    slicer: Any, logic: Any, scored: Any
) -> None:
    logic.placeBoxes(scored)
    assert residual_of(scored) is None and table_of(scored) is None
    assert segmentation_of(scored) is None


def test_every_scan_of_a_scene_keeps_its_own_results(slicer: Any, logic: Any, scored: Any) -> None:
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    other = addMadeUpScan("Other")
    logic.placeBoxes(other)
    logic.run(other)
    assert residual_of(other).GetID() != residual_of(scored).GetID()
    assert table_of(scored).GetNumberOfRows() == 2


def test_the_results_follow_a_transformed_scan(
    slicer: Any, logic: Any, scan: Any, geometry: Any
) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:3, 3] = (2, 3, 4)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    scan.SetAndObserveTransformNodeID(transform.GetID())
    logic.placeBoxes(scan)
    findings = logic.run(scan)
    for node in (residual_of(scan), segmentation_of(scan)):
        assert node.GetTransformNodeID() == transform.GetID()
    assert np.allclose(geometry.ijkToRas(residual_of(scan)), geometry.ijkToRas(scan))
    segmentation = segmentation_of(scan)
    segment_id = segmentation.GetSegmentation().GetNthSegmentID(0)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, scan)
    assert np.array_equal(voxels.transpose(2, 1, 0) > 0, findings.masks[Side.LEFT])
