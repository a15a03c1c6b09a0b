"""Residuals as segments: marks, levels, residual files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.sinuses import SINUSES, Part, Side, segment_facts


def terms_of(side: Side, part: Part = Part.OPACITY) -> str:
    return segment_facts(side, part).terminology


@pytest.fixture
def graded(slicer: Any, logic: Any, standIn: Any, scan: Any) -> Any:
    """A scored scan whose residual grows from 0.2 to 0.6 along the left mark."""
    logic.placeBoxes(scan)
    findings = standIn.findings
    logic.residual = None

    def with_slope(volume: Any, boxes: Any, quality: Any) -> Any:
        found = findings(volume, boxes, quality)
        i = np.argwhere(found.masks[Side.LEFT]) @ (1.0, 0.31, 0.13)
        slope = 0.2 + 0.4 * ((i - i.min()) / (i.max() - i.min())) ** 1.3
        found.residual[found.masks[Side.LEFT]] = slope
        logic.residual = found.residual
        return found

    standIn.findings = with_slope
    logic.run(scan)
    return scan


def voxels(slicer: Any, node: Any, name: str, scan: Any) -> np.ndarray:
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    assert identifier, name
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, scan)
    return array.transpose(2, 1, 0) > 0


def test_levels_are_nested_parts_of_what_is_marked(slicer: Any, logic: Any, graded: Any) -> None:
    from ParanasalSSLPanel.results import segmentationOf, showLevels

    node = showLevels(graded)
    name = SINUSES[Side.LEFT].opacity_name
    marked = voxels(slicer, segmentationOf(graded), name, graded)
    half, most, top = (
        voxels(slicer, node, f"{name} {p} %".replace(" %", "%"), graded) for p in (50, 75, 95)
    )
    assert np.array_equal(half, marked & (logic.residual >= 0.4 - 1e-6))
    assert np.array_equal(most, marked & (logic.residual >= 0.5 - 1e-6))
    assert top.sum() < most.sum() < half.sum() < marked.sum()
    assert not (most & ~half).any() and not (top & ~most).any()


def test_levels_have_terms_and_colours(slicer: Any, graded: Any) -> None:
    from ParanasalSSLPanel.results import showLevels

    node = showLevels(graded)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 6
    colors = set()
    for index in range(6):
        segment = segmentation.GetNthSegment(index)
        side = Side.LEFT if "eft" in segment.GetName() else Side.RIGHT
        assert terminology(segment) == terms_of(side)
        colors.add(tuple(np.round(segment.GetColor(), 3)))
    assert len(colors) == 6


@pytest.mark.application
def test_everything_lies_under_the_scans_study(slicer: Any, logic: Any, scan: Any) -> None:
    from ParanasalSSLPanel import boxes, results, tables

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(scan), study)
    logic.placeBoxes(scan)
    logic.run(scan)
    results.showLevels(scan)
    for node in (
        results.residualOf(scan),
        results.segmentationOf(scan),
        tables.tableOf(scan),
        results.showLevels(scan),
        *(boxes.boxNode(scan, side) for side in Side),
    ):
        item = hierarchy.GetItemByDataNode(node)
        assert hierarchy.GetItemParent(item) == study, node.GetName()


def terminology(segment: Any) -> str:
    import vtk

    entry = vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), entry)
    return str(entry)


@pytest.mark.application
def test_levels_follow_what_a_user_has_erased(slicer: Any, logic: Any, graded: Any) -> None:
    from ParanasalSSLPanel.results import segmentationOf, showLevels

    node = segmentationOf(graded)
    name = SINUSES[Side.LEFT].opacity_name
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, graded).copy()
    upper = array.transpose(2, 1, 0) * (logic.residual < 0.45)
    edited = np.ascontiguousarray(upper.transpose(2, 1, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited, node, identifier, graded)
    levels = showLevels(graded)
    top = voxels(slicer, levels, f"{name} 95%", graded)
    assert top.any() and logic.residual[top].max() < 0.45


def test_levels_of_a_scan_that_was_not_scored_are_refused(slicer: Any, scan: Any) -> None:
    from ParanasalSSLPanel.results import showLevels

    with pytest.raises(UnsupportedScan, match="Press Run first"):
        showLevels(scan)


# ------------------------------------------------------------------------------ residual files


@pytest.fixture
def written(slicer: Any, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A residual map and a segmentation as `paranasal predict` writes them, and its labels."""
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.maps import PastedRegion, write_residual_map, write_segmentation
    from ParanasalSSLLib.scans.volume import Volume

    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (60, -60, -60)
    volume = Volume(np.zeros((60, 60, 60), np.float32), affine)
    residual, labels = np.zeros(volume.shape, np.float32), np.zeros(volume.shape, np.uint8)
    for label, start in ((1, 38), (2, 10)):  # x grows towards the left: 38 is left
        residual[start : start + 12, 20:40, 20:40] = 0.2
        residual[start + 2 : start + 8, 21:30, 20:27] = 0.7
        labels[start + 2 : start + 8, 21:30, 20:27] = label
    region = PastedRegion(np.zeros(3, int), volume, residual, labels, tuple(Side))
    files = ScanFiles(tmp_path, "sub-0001")
    write_residual_map(region, volume, files.residual_map)
    write_segmentation(region, files.segmentation)
    return files.residual_map, labels


@pytest.mark.parametrize("alone", [False, True])
def test_a_residual_file_becomes_segments_of_its_sides(
    slicer: Any, written: tuple[Path, np.ndarray], alone: bool, tmp_path: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel.results import segmentationOf, showResidualFile
    from ParanasalSSLPanel.scanNodes import nodeOf
    from ParanasalSSLPanel.segments import loadResidualFile

    path, labels = written
    if alone:
        path = path.rename(tmp_path / "somewhere.nii.gz")
    file = loadResidualFile(path, threshold=0.5)
    assert file.calibrated != alone
    showResidualFile(file)
    node = file.node
    segmentation = segmentationOf(node)
    levels = nodeOf(node, "levels")
    assert levels.GetSegmentation().GetNumberOfSegments() == 6
    assert not levels.GetDisplayVisibility()
    for side, label in ((Side.LEFT, 1), (Side.RIGHT, 2)):
        found = voxels(slicer, segmentation, SINUSES[side].opacity_name, node)
        assert np.array_equal(found, labels == label)
        # In the head, whatever the order of voxels in memory: x of the patient's left is negative.
        center = np.argwhere(found).mean(axis=0)
        world = (geometry.ijkToRas(node) @ [*center, 1])[:3]
        assert np.allclose(world, [-25 if side is Side.LEFT else 31, -10, -14], atol=0.01)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {c.GetForegroundVolumeID() for c in composites} == {node.GetID()}


def test_a_residual_file_is_not_taken_for_a_scan(
    openPanel: Any, standIn: Any, written: tuple[Path, np.ndarray]
) -> None:
    panel = openPanel(standIn)
    panel.resultsSection.openResidualFile(written[0])
    assert panel.scan is None and not panel.ui.runButton.enabled
    assert panel.ui.findingLabel.text == "The opacity is that of the segmentation beside the file."


@pytest.mark.parametrize("side", Side)
def test_a_single_cube_is_of_its_side_of_the_image(slicer: Any, tmp_path: Path, side: Side) -> None:
    """As `paranasal residual-files` writes a patient of whom one side is known."""
    from ParanasalSSLPanel.segments import loadResidualFile

    from ParanasalSSLLib.scans.volume import Volume, write_volume

    data = np.zeros((72, 32, 32), np.float32)
    start = 0 if side is Side.LEFT else 40
    data[start : start + 32] = 0.1
    data[start + 10, 10, 10] = 0.8
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-71, -31, -31)
    write_volume(Volume(data, affine), tmp_path / "map.nii.gz")
    file = loadResidualFile(tmp_path / "map.nii.gz", 0.5)
    assert {side for side, mask in file.masks.items() if mask.any()} == {side}


@pytest.mark.application
def test_files_that_hold_no_residual_are_refused(slicer: Any, scan: Any, tmp_path: Path) -> None:
    from ParanasalSSLPanel.segments import loadResidualFile

    slicer.util.saveNode(scan, str(tmp_path / "scan.nii.gz"))
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    with pytest.raises(UnsupportedScan, match="no residual map"):
        loadResidualFile(tmp_path / "scan.nii.gz", 0.5)
    with pytest.raises(UnsupportedScan, match="no residual map"):
        loadResidualFile(tmp_path / "scan.nii.gz", 0.5)
    with pytest.raises(UnreadableScan, match="cannot be read"):
        loadResidualFile(tmp_path / "missing.nii.gz", 0.5)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before
