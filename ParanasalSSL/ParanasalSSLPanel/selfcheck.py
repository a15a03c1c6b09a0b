"""A stand-in for the library and a made-up scan: they check the way through the scene in a second,
without a model, on any machine.
"""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode

from ParanasalSSLLib.sinuses import SINUSES, Decision, Side
from ParanasalSSLPanel.compute import Findings, Settings, Watcher

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.results.sinus_record import SinusRecord
    from ParanasalSSLLib.scans.volume import Volume

CENTERS_RAS_MM = {Side.LEFT: (-24.0, 30.0, -20.0), Side.RIGHT: (24.0, 30.0, -20.0)}
PROBABILITIES = {Side.LEFT: 0.8, Side.RIGHT: 0.1}
SHAPE = (56, 64, 48)
SPACING_MM = 3.0
OPACITY_MM = 8.0  # radius of the opacity that the stand-in finds, around each box's centre


def addMadeUpScan(name: str = "Made-up scan") -> vtkMRMLScalarVolumeNode:
    """A volume of noise in the scene, large enough for both boxes; voxels run towards L, P, S."""
    voxels = np.random.default_rng(1).normal(100, 20, SHAPE).astype(np.float32)
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) / 2)
    return slicer.util.addVolumeFromArray(
        voxels.transpose(2, 1, 0).copy(), affine, name, "vtkMRMLScalarVolumeNode"
    )


def checkTheWay(test: unittest.TestCase) -> None:
    """From a scan to its results in the scene, for Slicer's *Reload and Test*."""
    from ParanasalSSLPanel import results, tables
    from ParanasalSSLPanel.logic import ParanasalSSLLogic

    logic, scan = ParanasalSSLLogic(StandIn(), ensure=lambda path: None), addMadeUpScan()
    logic.placeBoxes(scan)
    findings = logic.run(scan)
    residual = slicer.util.arrayFromVolume(results.residualOf(scan))
    test.assertEqual(residual.shape, slicer.util.arrayFromVolume(scan).shape)
    test.assertAlmostEqual(float(residual.max()), float(findings.residual.max()))
    segmentation = results.segmentationOf(scan).GetSegmentation()
    test.assertEqual(segmentation.GetNumberOfSegments(), len(Side))
    test.assertEqual(tables.tableOf(scan).GetNumberOfRows(), len(Side))


class StandIn:
    """A `Computation` that places fixed boxes and finds a ball of opacity in the middle of each.

    It remembers what it was asked to score. Its quality can be set.
    """

    def __init__(
        self, verdict: str = "ok", reasons: tuple[str, ...] = (), simulatedModel: bool = True
    ) -> None:
        self.verdict = verdict
        self.reasons = reasons
        self.simulatedModel = simulatedModel
        self.scored: dict[Side, SinusBox] = {}

    def place(self, volume: Volume, watcher: Watcher[Placement]) -> StandIn:
        """Give the boxes at once."""
        watcher.done(self.placement())
        return self

    def placement(self) -> Placement:
        """Two boxes at made-up places, turned by 10 degrees."""
        from ParanasalSSLLib.boxes.box import SinusBox
        from ParanasalSSLLib.boxes.placement import Placement
        from ParanasalSSLLib.boxes.quality import Evidence, Quality

        angle = np.deg2rad(10)
        turned = np.array(
            [
                [np.cos(angle), -np.sin(angle), 0],
                [np.sin(angle), np.cos(angle), 0],
                [0, 0, 1],
            ]
        )
        boxes = {side: SinusBox(side, center, turned) for side, center in CENTERS_RAS_MM.items()}
        evidence = Evidence(
            mutual_information=0.7,
            start_distance_mm=1.0,
            scale=(1.0, 1.0, 1.0),
            shear=0.01,
            rotation_deg=10.0,
            tissue_fraction=1.0,
            stretch_ratio=1.0,
        )
        inside = dict.fromkeys(boxes, 1.0)
        return Placement(boxes, Quality(self.verdict, self.reasons, evidence, inside))

    def start(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        settings: Settings,
        watcher: Watcher[Findings],
    ) -> StandIn:
        """Give the findings at once."""
        from ParanasalSSLLib.progress import Progress, Stage

        watcher.progress(Progress.at(Stage.ANALYSE))
        self.scored = dict(boxes)
        self.settings = settings
        watcher.done(self.findings(volume, boxes, quality))
        return self

    def cancel(self) -> None:
        """Too late: it is done."""

    kill = wait = cancel

    def findings(
        self, volume: Volume, boxes: Mapping[Side, SinusBox], quality: Quality
    ) -> Findings:
        """A ball of residual 0.4 in each box."""
        masks = {side: _ball(volume, box) for side, box in boxes.items()}
        residual = np.zeros(volume.shape, np.float32)
        for mask in masks.values():
            residual[mask] = 0.4
        sinuses = {
            side: _record(boxes[side], float(mask.sum()) * volume.voxel_ml)
            for side, mask in masks.items()
        }
        notices = ("Stand-in, no model.",)
        return Findings(residual, masks, sinuses, quality, notices, "stand-in 0")


def _record(box: SinusBox, opacityMl: float) -> SinusRecord:
    """Made-up numbers of one side, with a finding on the left."""
    from ParanasalSSLLib.results.sinus_record import BoxRecord, FindingRecord, SinusRecord

    left, size = box.side == Side.LEFT, 2 * OPACITY_MM
    center = tuple(float(value) for value in box.center_ras_mm)
    finding = FindingRecord(opacityMl, size, OPACITY_MM, "floor", "dome", center)
    return SinusRecord(
        name=SINUSES[box.side].name,
        probability=PROBABILITIES[box.side],
        decision=Decision.ANOMALY if left else Decision.CLEAR,
        threshold=0.5,
        opacity_ml=opacityMl,
        opacity_fraction=0.0,
        box=BoxRecord.of(box),
        cavity_ml=20.0,
        filled_fraction=opacityMl / 20.0,
        depth_mm=OPACITY_MM,
        grade=1 if left else 0,
        findings=(finding,) if left else (),
    )


def _ball(volume: Volume, box: SinusBox) -> np.ndarray:
    """Bool (I, J, K): voxels near the box's centre. By hand: the grid's own maps need nibabel."""
    index = np.indices(volume.shape).reshape(3, -1)
    ras = volume.affine[:3, :3] @ index + volume.affine[:3, 3:]
    distance = np.linalg.norm(ras - box.center_ras_mm[:, None], axis=0)
    return (distance < OPACITY_MM).reshape(volume.shape)
