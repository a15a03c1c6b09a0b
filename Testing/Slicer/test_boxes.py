"""The boxes as markups ROIs: where they lie, and what is scored after a user has dragged them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, read_placement, write_placement
from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.errors import BadBoxes, NotAHead, SinusOutsideImage
from ParanasalSSLLib.sinuses import SINUSES, Side


def node_of(scan: Any, side: Side) -> Any:
    from ParanasalSSLPanel.boxes import boxNode

    return boxNode(scan, side)


def boxes_of(scan: Any) -> dict[Side, SinusBox]:
    from ParanasalSSLPanel.boxes import boxesOf

    return boxesOf(scan)


def test_the_rois_lie_where_the_library_put_the_boxes(
    logic: Any, standIn: Any, scan: Any, geometry: Any
) -> None:
    logic.placeBoxes(scan)
    wanted = standIn.placement().boxes
    for side, box in wanted.items():
        node = node_of(scan, side)
        assert np.allclose(geometry.objectToWorld(node), box.box_to_ras, atol=1e-6)
        assert np.allclose(node.GetSize(), 64)
        bounds = np.zeros(6)
        node.GetRASBounds(bounds)
        corners = box.corners_ras_mm()
        assert np.allclose(bounds[::2], corners.min(axis=0), atol=1e-3)
        assert np.allclose(bounds[1::2], corners.max(axis=0), atol=1e-3)
        assert node.GetName() == f"Made-up scan: {side.value} sinus box"
        assert node.GetNthControlPointLabel(0) == side.value[0].upper()


def test_untouched_boxes_are_of_registration_and_come_back_exactly(
    logic: Any, standIn: Any, scan: Any
) -> None:
    logic.placeBoxes(scan)
    wanted = standIn.placement().boxes
    for side, box in boxes_of(scan).items():
        assert box.origin == "registration"
        assert np.allclose(box.box_to_ras, wanted[side].box_to_ras, atol=1e-9)


def test_a_dragged_box_is_of_hand_and_is_what_is_scored(
    logic: Any, standIn: Any, scan: Any, geometry: Any
) -> None:
    logic.placeBoxes(scan)
    geometry.move(node_of(scan, Side.LEFT), (-5, 3, 2))
    logic.run(scan)
    placed = standIn.placement().boxes
    moved, other = standIn.scored[Side.LEFT], standIn.scored[Side.RIGHT]
    assert (moved.origin, other.origin) == ("hand", "registration")
    assert np.allclose(moved.center_ras_mm - placed[Side.LEFT].center_ras_mm, (-5, 3, 2))


@pytest.mark.parametrize("meanwhile", [False, True])
def test_boxes_go_to_where_they_were_scored_unless_one_is_moved_meanwhile(
    logic: Any, standIn: Any, scan: Any, geometry: Any, meanwhile: bool
) -> None:
    from ParanasalSSLPanel.results import areOutdated

    whole = standIn.findings
    shifted = {
        side: replace(box, center_ras_mm=box.center_ras_mm + np.array([0, 2, 0]))
        for side, box in standIn.placement().boxes.items()
    }

    def findings(volume: Any, boxes: Any, quality: Any) -> Any:
        if meanwhile:
            geometry.move(node_of(scan, Side.LEFT), (-5, 3, 2))
        return replace(whole(volume, boxes, quality), boxes=shifted)

    standIn.findings = findings
    logic.placeBoxes(scan)
    before = boxes_of(scan)[Side.LEFT].center_ras_mm
    logic.run(scan)
    box = boxes_of(scan)[Side.LEFT]
    expected = (-5, 3, 2) if meanwhile else (0, 2, 0)
    assert np.allclose(box.center_ras_mm - before, expected)
    assert box.origin == ("hand" if meanwhile else "registration")
    assert areOutdated(scan, boxes_of(scan)) is meanwhile


def test_a_box_under_a_transform_is_scored_where_it_is_seen(
    slicer: Any, logic: Any, standIn: Any, scan: Any
) -> None:
    logic.placeBoxes(scan)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:3, 3] = (0, 4, 0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    node_of(scan, Side.LEFT).SetAndObserveTransformNodeID(transform.GetID())
    logic.run(scan)
    before = standIn.placement().boxes[Side.LEFT].center_ras_mm
    assert np.allclose(standIn.scored[Side.LEFT].center_ras_mm - before, (0, 4, 0))


def test_a_resized_box_gets_its_size_back(logic: Any, standIn: Any, scan: Any) -> None:
    logic.placeBoxes(scan)
    node_of(scan, Side.RIGHT).SetSize(30, 64, 64)
    logic.run(scan)
    assert standIn.scored[Side.RIGHT].edge_mm == 64
    assert np.allclose(node_of(scan, Side.RIGHT).GetSize(), 64)


def test_a_deleted_box_leaves_out_its_side(
    slicer: Any, logic: Any, standIn: Any, scan: Any
) -> None:
    logic.placeBoxes(scan)
    slicer.mrmlScene.RemoveNode(node_of(scan, Side.RIGHT))
    findings = logic.run(scan)
    assert list(standIn.scored) == [Side.LEFT] and list(findings.sinuses) == [Side.LEFT]


def test_the_scan_moved_after_placing_is_refused(slicer: Any, logic: Any, scan: Any) -> None:
    logic.placeBoxes(scan)
    x, y, z = scan.GetOrigin()
    scan.SetOrigin(x + 3, y, z)
    with pytest.raises(BadBoxes, match="moved after its boxes were placed"):
        logic.run(scan)


def test_a_scan_under_a_transform_is_read_in_world_coordinates(
    slicer: Any, scan: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.scans import volumeFromNode

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:3, 3] = (7, 0, -2)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    scan.SetAndObserveTransformNodeID(transform.GetID())
    volume = volumeFromNode(scan)
    assert np.allclose(volume.affine, shift @ geometry.ijkToRas(scan))


def test_swapped_boxes_are_refused(logic: Any, scan: Any, geometry: Any) -> None:
    logic.placeBoxes(scan)
    geometry.move(node_of(scan, Side.LEFT), (60, 0, 0))
    with pytest.raises(BadBoxes, match="Swap"):
        logic.run(scan)


def test_a_failed_registration_is_scored_only_with_both_boxes_put_right(
    makeLogic: Any, module: Any, scan: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel.selfcheck import StandIn

    standIn = StandIn("failed", ("It resembles no head.",))
    logic = makeLogic(standIn)
    assert logic.placeBoxes(scan).verdict == "failed"
    with pytest.raises(NotAHead, match="resembles no head"):
        logic.run(scan)
    geometry.move(node_of(scan, Side.LEFT), (0, 2, 0))
    with pytest.raises(NotAHead):
        logic.run(scan)
    geometry.move(node_of(scan, Side.RIGHT), (0, 2, 0))
    logic.run(scan)
    assert {box.origin for box in standIn.scored.values()} == {"hand"}


def test_a_box_dragged_out_of_the_image_is_refused(logic: Any, scan: Any, geometry: Any) -> None:
    logic.placeBoxes(scan)
    geometry.move(node_of(scan, Side.LEFT), (0, 90, 0))
    with pytest.raises(SinusOutsideImage, match="left box lies outside the image"):
        logic.run(scan)


# ------------------------------------------------------------------ the library's .mrk.json files


def turned_boxes() -> dict[Side, SinusBox]:
    """Boxes turned about two axes, each differently."""
    boxes = {}
    for side, (a, b), x in ((Side.LEFT, (0.3, -0.2), -25.0), (Side.RIGHT, (0.25, -0.15), 24.0)):
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        boxes[side] = SinusBox(side, np.array([x, 60.0, -50.0]), about_z @ about_x)
    return boxes


def load_rois(slicer: Any, path: Path) -> dict[Side, Any]:
    """All ROIs of a file, read by Slicer's own markups logic."""
    slicer.modules.markups.logic().LoadMarkups(str(path), "boxes")
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
    return {side: node for side in Side for node in nodes if side.value in node.GetName().lower()}


@pytest.mark.application
def test_slicer_reads_the_librarys_boxes(slicer: Any, tmp_path: Path, geometry: Any) -> None:
    boxes = turned_boxes()
    write_placement(Placement(boxes), tmp_path / "boxes.mrk.json")
    nodes = load_rois(slicer, tmp_path / "boxes.mrk.json")
    assert set(nodes) == set(boxes)
    for side, box in boxes.items():
        assert np.allclose(geometry.objectToWorld(nodes[side]), box.box_to_ras, atol=1e-4)
        assert np.allclose(nodes[side].GetSize(), box.edge_mm)
        assert np.allclose(nodes[side].GetDisplayNode().GetSelectedColor(), SINUSES[side].color)
        bounds = np.zeros(6)
        nodes[side].GetRASBounds(bounds)
        assert np.allclose(bounds[::2], box.corners_ras_mm().min(axis=0), atol=1e-3)


@pytest.mark.application
@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_the_library_reads_the_boxes_that_slicer_writes(
    slicer: Any, logic: Any, scan: Any, tmp_path: Path, system: str, geometry: Any
) -> None:
    logic.placeBoxes(scan)
    geometry.move(node_of(scan, Side.LEFT), (-3, 5, 1))
    for side in Side:
        node = node_of(scan, side)
        node.AddDefaultStorageNode(str(tmp_path / "x.mrk.json"))
        storage = node.GetStorageNode()
        storage.SetCoordinateSystem(getattr(storage, f"CoordinateSystem{system}", 0))
        path = tmp_path / f"{side.value}.mrk.json"
        assert slicer.util.saveNode(node, str(path))
        box = read_placement(path).boxes[side]
        assert np.allclose(box.box_to_ras, geometry.objectToWorld(node), atol=1e-3)
        assert box.edge_mm == pytest.approx(64)


@pytest.mark.application
def test_boxes_that_slicer_saves_again_keep_their_quality_and_moved_ones_say_so(
    slicer: Any, tmp_path: Path, geometry: Any
) -> None:
    quality = Quality("review", ("The head is turned by 50 degrees.",))
    write_placement(Placement(turned_boxes(), quality), tmp_path / "boxes.mrk.json")
    nodes = load_rois(slicer, tmp_path / "boxes.mrk.json")
    geometry.move(nodes[Side.LEFT], (0.0, 2.0, 0.0))
    paths = [tmp_path / f"saved_{side.value}.mrk.json" for side in Side]
    for side, path in zip(Side, paths, strict=True):
        assert slicer.util.saveNode(nodes[side], str(path))
    placement = read_placement(*paths)
    assert {side: box.origin for side, box in placement.boxes.items()} == {
        Side.LEFT: "hand",
        Side.RIGHT: "registration",
    }
    assert placement.quality == quality


# --------------------------------------------------------------------------- corrections by hand


@pytest.fixture
def placed(logic: Any, scan: Any) -> Any:
    logic.placeBoxes(scan)
    return scan


def test_one_box_is_put_back_and_the_other_stays(placed: Any, geometry: Any) -> None:
    from ParanasalSSLPanel.boxes import boxesOf, boxNode, isMoved, resetBox

    before = boxesOf(placed)
    for side in Side:
        geometry.move(boxNode(placed, side), (3, -2, 1))
        assert isMoved(placed, side)
    resetBox(placed, Side.LEFT)
    after = boxesOf(placed)
    assert not isMoved(placed, Side.LEFT) and isMoved(placed, Side.RIGHT)
    np.testing.assert_allclose(after[Side.LEFT].box_to_ras, before[Side.LEFT].box_to_ras)
    shift = after[Side.RIGHT].center_ras_mm - before[Side.RIGHT].center_ras_mm
    np.testing.assert_allclose(shift, (3, -2, 1))


def test_a_box_is_mirrored_from_the_other_side_of_the_head(placed: Any, geometry: Any) -> None:
    """In the frame of the head, which the stand-in turns by 10 degrees."""
    from ParanasalSSLPanel.boxes import boxesOf, boxNode, mirrorBox

    before = boxesOf(placed)
    axes = before[Side.LEFT].rotation
    middle = (before[Side.LEFT].center_ras_mm + before[Side.RIGHT].center_ras_mm) / 2
    geometry.move(boxNode(placed, Side.RIGHT), tuple(axes @ (2.0, -3.0, 4.0)))
    mirrorBox(placed, Side.LEFT)
    after = boxesOf(placed)
    left, right = (axes.T @ (after[side].center_ras_mm - middle) for side in Side)
    np.testing.assert_allclose(left, right * (-1, 1, 1), atol=1e-6)
    assert after[Side.LEFT].origin == "hand"
    # Not turned against the head, so neither is its mirror image.
    np.testing.assert_allclose(after[Side.LEFT].rotation, axes, atol=1e-6)


def displays(scan: Any) -> list[Any]:
    return [node_of(scan, side).GetDisplayNode() for side in Side]


def test_boxes_do_not_cover_the_image(placed: Any) -> None:
    for display in displays(placed):
        assert not display.GetFillVisibility() and display.GetFillOpacity() == 0
        assert not display.GetHandlesInteractive() and not display.GetPropertiesLabelVisibility()


def test_boxes_have_handles_only_while_they_are_adjusted(placed: Any, logic: Any) -> None:
    from ParanasalSSLPanel.boxes import adjustBoxes, areAdjusted

    assert not areAdjusted(placed)
    assert all(node_of(placed, side).GetLocked() for side in Side)
    adjustBoxes(placed, True)
    assert areAdjusted(placed)
    assert not any(node_of(placed, side).GetLocked() for side in Side)
    for display in displays(placed):
        assert display.GetHandlesInteractive() and display.GetTranslationHandleVisibility()
        assert not display.GetRotationHandleVisibility() and not display.GetScaleHandleVisibility()
    adjustBoxes(placed, True, turned=True)
    assert all(display.GetRotationHandleVisibility() for display in displays(placed))
    logic.run(placed)
    assert all(node_of(placed, side).GetLocked() for side in Side)
    assert not any(display.GetHandlesInteractive() for display in displays(placed))


def test_boxes_that_are_not_there_are_said_in_words(scan: Any) -> None:
    from ParanasalSSLPanel.boxes import mirrorBox, resetBox

    for change in (resetBox, mirrorBox):
        with pytest.raises(BadBoxes, match="Press Place boxes first"):
            change(scan, Side.LEFT)
