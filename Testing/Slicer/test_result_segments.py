"""The segments that a run leaves in the scene, and those of the library's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_nodes import segmentation_of

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


def test_levels_of_an_earlier_run_go_unless_a_user_has_edited_them(
    slicer: Any, logic: Any, scored: Any
) -> None:
    from ParanasalSSLPanel.results import showLevels
    from ParanasalSSLPanel.scanNodes import nodeOf

    gone = showLevels(scored)
    logic.run(scored)
    assert nodeOf(scored, "levels") is None and not slicer.mrmlScene.IsNodePresent(gone)
    own = showLevels(scored)
    segmentation = own.GetSegmentation()
    segmentation.RemoveSegment(segmentation.GetNthSegmentID(0))
    logic.run(scored)
    assert nodeOf(scored, "levels") is None and slicer.mrmlScene.IsNodePresent(own)
    assert own.GetName().endswith("levels (edited)")
