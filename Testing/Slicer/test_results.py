"""What a run leaves in the scene: overlay, segments, table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.model.bundle import SinusScore
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.results.maps import PastedRegion, write_segmentation
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SINUSES, Part, Side, segment_facts


def terms_of(side: Side, part: Part = Part.OPACITY) -> str:
    return segment_facts(side, part).terminology


@pytest.fixture
def scored(slicer: Any, logic: Any, scan: Any) -> Any:
    """The made-up scan after a run; the findings of the run are its attribute."""
    logic.placeBoxes(scan)
    scan.findings = logic.run(scan)
    return scan


def residual_of(scan: Any) -> Any:
    from ParanasalSSLPanel.results import residualOf

    return residualOf(scan)


def segmentation_of(scan: Any) -> Any:
    from ParanasalSSLPanel.results import segmentationOf

    return segmentationOf(scan)


def table_of(scan: Any) -> Any:
    from ParanasalSSLPanel.tables import tableOf

    return tableOf(scan)


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


def test_the_segments_are_the_masks_with_names_colours_and_terms(slicer: Any, scored: Any) -> None:
    node = segmentation_of(scored)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 2
    for side in Side:
        segment_id = segmentation.GetSegmentIdBySegmentName(SINUSES[side].opacity_name)
        segment = segmentation.GetSegment(segment_id)
        assert np.allclose(segment.GetColor(), SINUSES[side].opacity_color, atol=1e-6)
        assert tag_of(segment) == terms_of(side)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, scored)
        assert np.array_equal(voxels.transpose(2, 1, 0) > 0, scored.findings.masks[side])


def tag_of(segment: Any) -> str:
    import vtk

    text = vtk.reference("")
    assert segment.GetTag(segment.GetTerminologyEntryTagName(), text)
    return str(text)


@pytest.mark.application
def test_the_segment_names_its_sinus_in_the_terminology(slicer: Any, scored: Any) -> None:
    """Slicer's own logic reads the entry."""
    terminologies = slicer.modules.terminologies.logic()
    for side, word in ((Side.LEFT, "Left"), (Side.RIGHT, "Right")):
        entry = slicer.vtkSlicerTerminologyEntry()
        assert terminologies.DeserializeTerminologyEntry(terms_of(side), entry)
        assert entry.GetTypeObject().GetCodeMeaning() == "Lesion"
        assert entry.GetRegionObject().GetCodeMeaning() == "Maxillary sinus"
        assert entry.GetRegionModifierObject().GetCodeMeaning() == word


def test_cavities_are_segments_beside_the_opacities(slicer: Any, makeLogic: Any, scan: Any) -> None:
    from dataclasses import replace

    from ParanasalSSLPanel.selfcheck import StandIn

    class WithCavities(StandIn):
        def findings(self, *arguments: Any) -> Any:
            findings = super().findings(*arguments)
            cavities = {
                side: np.roll(mask, 1, axis=0) | mask for side, mask in findings.masks.items()
            }
            return replace(findings, cavities=cavities)

    logic = makeLogic(WithCavities())
    logic.placeBoxes(scan)
    found = logic.run(scan)
    node = segmentation_of(scan)
    assert node.GetSegmentation().GetNumberOfSegments() == 4
    for side in Side:
        facts = segment_facts(side, Part.CAVITY)
        segment = node.GetSegmentation().GetSegment(facts.identifier)
        assert (segment.GetName(), tag_of(segment)) == (facts.name, facts.terminology)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, facts.identifier, scan)
        assert np.array_equal(voxels.transpose(2, 1, 0) > 0, found.cavities[side])


def test_a_sinus_without_opacity_has_an_empty_segment(
    slicer: Any, makeLogic: Any, scan: Any
) -> None:
    from dataclasses import replace

    from ParanasalSSLPanel.selfcheck import StandIn

    class NothingFound(StandIn):
        def findings(self, *arguments: Any) -> Any:
            findings = super().findings(*arguments)
            empty = {side: np.zeros_like(mask) for side, mask in findings.masks.items()}
            return replace(findings, masks=empty)

    logic = makeLogic(NothingFound())
    logic.placeBoxes(scan)
    assert not logic.run(scan).masks[Side.LEFT].any()
    assert segmentation_of(scan).GetSegmentation().GetNumberOfSegments() == 2


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


# ---------------------------------------------------------------- the library's .seg.nrrd in Slicer


def library_result() -> ScanResult:
    """A tilted scan with anisotropic voxels; the mask is a ball off the centre of each box."""
    rng = np.random.default_rng(2)
    angle = 0.2
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    tilt = np.vstack([tilt, [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-2.0, 2.5, 3.0])
    shape = (90, 72, 50)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    volume = Volume(rng.normal(100, 20, shape).astype(np.float32), affine)
    sinuses = {}
    for side, x in ((Side.LEFT, -25.0), (Side.RIGHT, 25.0)):
        box = SinusBox(side, np.array([x, 10.0, -5.0]))
        crop = cut_crop(volume, box)
        index = np.indices(crop.data.shape).reshape(3, -1)
        ras = crop.affine[:3, :3] @ index + crop.affine[:3, 3:]
        target = box.center_ras_mm + np.array([np.sign(x) * 6, 4, 3])
        mask = (np.linalg.norm(ras.T - target, axis=1) < 8).reshape(crop.data.shape)
        residual = np.where(mask, 0.4, 0.05).astype(np.float32)
        score = SinusScore(0.5, True, residual, residual, mask)
        sinuses[side] = SinusResult(box, crop, score)
    boxes = {side: sinus.box for side, sinus in sinuses.items()}
    return ScanResult(volume, Placement(boxes, Quality("ok")), sinuses)


def test_slicer_reads_the_librarys_segmentation(slicer: Any, tmp_path: Path) -> None:
    result = library_result()
    region = PastedRegion.of(result)
    path = tmp_path / "x.seg.nrrd"
    write_segmentation(region, path)
    logic = slicer.modules.segmentations.logic()
    node = logic.LoadSegmentationFromFile(str(path), True, "x")
    scan = slicer.util.addVolumeFromArray(
        np.ascontiguousarray(result.volume.data.transpose(2, 1, 0)), result.volume.affine
    )
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 2
    wanted = np.zeros(result.volume.shape, np.uint8)
    window = tuple(slice(a, a + n) for a, n in zip(region.offset, region.labels.shape, strict=True))
    wanted[window] = region.labels
    for label, side in ((1, Side.LEFT), (2, Side.RIGHT)):
        segment_id = segmentation.GetSegmentIdBySegmentName(SINUSES[side].opacity_name)
        segment = segmentation.GetSegment(segment_id)
        assert np.allclose(segment.GetColor(), SINUSES[side].opacity_color, atol=1e-6)
        assert tag_of(segment) == terms_of(side)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, scan)
        assert wanted[wanted == label].size > 50
        assert np.array_equal(voxels.transpose(2, 1, 0) > 0, wanted == label)
