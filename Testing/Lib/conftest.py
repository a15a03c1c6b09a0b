"""Small scans and results for the tests of what a user gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.quality import Evidence, Quality
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.crop import CropConfig, SinusCrop, cut_crop
from ParanasalSSLLib.model.bundle import SinusScore
from ParanasalSSLLib.model.card import SinusReading
from ParanasalSSLLib.model.opacity import SinusMeasures, measure_sinus
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

CENTERS = {Side.LEFT: np.array([-24.0, 60.0, -55.0]), Side.RIGHT: np.array([20.0, 58.0, -57.0])}


def turned(degrees: float, axis: int) -> np.ndarray:
    """(3, 3) rotation about a RAS axis."""
    a, b = [i for i in range(3) if i != axis]
    rotation = np.eye(3)
    angle = np.deg2rad(degrees)
    rotation[a, a] = rotation[b, b] = np.cos(angle)
    rotation[a, b], rotation[b, a] = -np.sin(angle), np.sin(angle)
    return rotation


def make_head(axes: str = "RAS", spacing_mm: float = 2.0, tilt: np.ndarray | None = None) -> Volume:
    """A box-shaped "head" with an air ball in each sinus; voxel axes run as the letters say.

    The scan's own grid may be tilted against the head; RAS positions stay what they are.
    """
    shape, affine = (96, 72, 64), np.eye(4)
    affine[:3, :3] *= spacing_mm
    corner = -(np.array(shape) - 1) / 2 * spacing_mm
    rotation = np.eye(3) if tilt is None else tilt
    affine[:3, :3] = rotation @ affine[:3, :3]
    affine[:3, 3] = rotation @ corner + (0.0, 40.0, -40.0)
    index = np.indices(shape).reshape(3, -1)
    ras = (affine[:3, :3] @ index + affine[:3, 3:]).T
    data = 80 + 10 * np.sin(ras[:, 0] / 7) + 10 * np.cos(ras[:, 2] / 5)
    for center in CENTERS.values():
        data[np.linalg.norm(ras - center, axis=1) < 14] = 3.0
    return reoriented(Volume(data.reshape(shape), affine), axes)


def reoriented(volume: Volume, axes: str) -> Volume:
    """The same head with voxel axes that run towards the given letters, for example "PIR"."""
    data, affine = volume.data, volume.affine
    pairs = ["RL", "AP", "SI"]
    order = [next(i for i, pair in enumerate(pairs) if letter in pair) for letter in axes]
    data, affine = data.transpose(order), affine[:, [*order, 3]].copy()
    for axis, letter in enumerate(axes):
        if letter in "LPI":
            data = np.flip(data, axis)
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(data, affine)


def ball(crop: SinusCrop, center_ras: np.ndarray, radius_mm: float) -> np.ndarray:
    """Bool mask in the crop's grid of a ball in the head."""
    index = np.indices(crop.data.shape).reshape(3, -1)
    ras = (crop.affine[:3, :3] @ index + crop.affine[:3, 3:]).T
    near = np.linalg.norm(ras - center_ras, axis=1) < radius_mm
    return near.reshape(crop.data.shape)


def make_result(
    volume: Volume,
    sides: tuple[Side, ...] = tuple(Side),
    rotation: np.ndarray | None = None,
    offset_mm: tuple[float, float, float] = (5.0, 4.0, -6.0),
    verdict: str = "ok",
    reasons: tuple[str, ...] = (),
    measured: bool = False,
    unrecognised: tuple[Side, ...] = (),
) -> ScanResult:
    """A result whose marked part is a ball of 6 mm, `offset_mm` from each box's centre (RAS).

    measured: as from a bundle that outlines the cavity too, a ball of 14 mm in the box's middle;
    unrecognised: sides where it finds none.
    """
    sinuses = {}
    for side in sides:
        box = SinusBox(side, CENTERS[side], np.eye(3) if rotation is None else rotation)
        crop = cut_crop(volume, box)
        mask = ball(crop, CENTERS[side] + offset_mm, 6.0)
        residual = np.where(mask, 0.4, 0.05).astype(np.float32)
        anomalous = side == Side.LEFT
        probability = 0.8 if anomalous else 0.1
        measures = None
        if measured:
            cavity = ball(crop, CENTERS[side], 14.0).astype(np.float32)
            measures = measure_sinus(cavity, mask.astype(np.float32), crop.inside)
            if side in unrecognised:
                measures = SinusMeasures.none()
            mask = measures.opacity
        rebuilt = np.zeros_like(residual)
        score = SinusScore(probability, anomalous, residual, rebuilt, mask, measures)
        sinuses[side] = SinusResult(box, crop, score)
    boxes = {side: sinus.box for side, sinus in sinuses.items()}
    return ScanResult(volume, Placement(boxes, make_quality(verdict, reasons)), sinuses)


def make_quality(
    verdict: str = "ok", reasons: tuple[str, ...] = (), inside: float = 1.0
) -> Quality:
    evidence = Evidence(
        mutual_information=0.7,
        start_distance_mm=0.4,
        scale=(1.0, 1.0, 1.0),
        shear=0.01,
        rotation_deg=3.0,
        tissue_fraction=1.0,
        stretch_ratio=1.0,
    )
    return Quality(verdict, reasons, evidence, dict.fromkeys(Side, inside))  # type: ignore[arg-type]


@dataclass
class StandInCard:
    """As much of a bundle's card as the outputs read."""

    name: str = "stand-in"
    version: str = "1"
    weights_sha256: str = "0" * 64
    simulated: bool = True
    is_trial: bool = False
    decision_threshold: float = 0.5
    crop: CropConfig = field(default_factory=CropConfig)
    sinus: SinusReading | None = None


class StandInBundle:
    """Takes the place of the networks: bright voxels inside the cube's middle are the anomaly."""

    card = StandInCard()

    def measure(self, crops: list[SinusCrop]) -> list[None]:
        return [None] * len(crops)

    def analyse(self, crops: list[SinusCrop], measures: list[None]) -> list[SinusScore]:
        return [self._score(crop) for crop in crops]

    def _score(self, crop: SinusCrop) -> SinusScore:
        middle = np.zeros(crop.data.shape, bool)
        middle[24:40, 24:40, 24:40] = True
        residual = np.where(middle, crop.data, 0.0).astype(np.float32)
        mask = residual > 0.5
        probability = float(mask[middle].mean())
        return SinusScore(
            probability=probability,
            anomalous=probability >= self.card.decision_threshold,
            residual=residual,
            reconstruction=np.zeros_like(residual),
            opacity=mask,
        )


@dataclass(frozen=True)
class Toolbox:
    """What tests build their data with (test files cannot import from each other)."""

    head: Callable[..., Volume] = make_head
    result: Callable[..., ScanResult] = make_result
    quality: Callable[..., Quality] = make_quality
    turned: Callable[[float, int], np.ndarray] = turned
    reoriented: Callable[[Volume, str], Volume] = reoriented
    centers: dict[Side, np.ndarray] = field(default_factory=lambda: dict(CENTERS))
    card: StandInCard = field(default_factory=StandInCard)
    bundle: StandInBundle = field(default_factory=StandInBundle)


@pytest.fixture
def toolbox() -> Toolbox:
    return Toolbox()


@pytest.fixture
def stand_ins(toolbox: Any, monkeypatch: pytest.MonkeyPatch) -> Placement:
    """Networks and registration of `paranasal predict` replaced; what the latter finds."""
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    found = Placement(boxes, toolbox.quality())
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    monkeypatch.setattr(cli_predict, "load_model", lambda model, device: toolbox.bundle)
    return found
