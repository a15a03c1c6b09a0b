"""From one scan to the scores of its maxillary sinuses: read, register, crop, analyse.

`predict_scan` is the whole of it. Its two halves, `find_sinuses` (needs no model) and
`score_sinuses`, are public for callers that show or correct the boxes in between.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import THRESHOLDS, Quality, judge_given_boxes
from ParanasalSSLLib.boxes.registration import localize
from ParanasalSSLLib.crop import SinusCrop, cut_crop
from ParanasalSSLLib.errors import DeviceUnavailable, NotAHead, SinusOutsideImage
from ParanasalSSLLib.progress import Progress, ProgressSink, Stage, no_progress
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.model.bundle import Bundle, SinusScore

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
GPU_WAS_FULL = (
    "The memory of the GPU was full, so the CPU was used instead; the results are the same."
)
DEVICE_NAMES: tuple[DeviceName, ...] = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, eq=False)
class FoundSinuses:
    """A scan with the boxes around its sinuses, ready to be scored."""

    volume: Volume
    boxes: Mapping[Side, SinusBox]
    quality: Quality


@dataclass(frozen=True, eq=False)
class SinusResult:
    """One sinus. Maps live in the crop's grid; `crop.affine` and `crop.paste` lead back.

    probability: calibrated probability of an anomaly, 0..1
    anomalous: the decision, probability >= the bundle's threshold
    residual: (64, 64, 64) float32, 0..1, how much the sinus differs from its healthy reconstruction
    mask: (64, 64, 64) bool, where the residual is above what healthy sinuses show
    anomaly_ml: volume of `mask`
    """

    side: Side
    box: SinusBox
    crop: SinusCrop
    probability: float
    anomalous: bool
    residual: np.ndarray
    mask: np.ndarray
    anomaly_ml: float

    @property
    def share_of_cube(self) -> float:
        """Part of the cube that `mask` fills, 0..1."""
        return float(self.mask.mean())


@dataclass(frozen=True, eq=False)
class ScanResult:
    """All that is known of one scan.

    sinuses: one entry per box
    notices: sentences about how it was computed that users must read
    """

    volume: Volume
    quality: Quality
    sinuses: dict[Side, SinusResult]
    notices: tuple[str, ...] = ()


def predict_scan(
    scan: str | Path | Volume,
    bundle: Bundle,
    boxes: Mapping[Side, SinusBox] | None = None,
    progress: ProgressSink = no_progress,
) -> ScanResult:
    """Score the maxillary sinuses of one scan.

    boxes: hand-corrected boxes (one or both sides) in place of the registration.
    Raises `UnreadableScan` or `UnsupportedScan` (reading), `NotAHead` or `SinusOutsideImage`
    (quality "failed"; a scan of quality "review" is scored). When the memory of a GPU is full, the
    CPU computes, and a notice says so.
    """
    return score_sinuses(find_sinuses(scan, boxes, progress), bundle, progress)


def find_sinuses(
    scan: str | Path | Volume,
    boxes: Mapping[Side, SinusBox] | None = None,
    progress: ProgressSink = no_progress,
    placed: Quality | None = None,
) -> FoundSinuses:
    """Read a scan and find (or take) its boxes; refuse what is not to be trusted.

    placed: quality of the registration that placed those of the `boxes` that no hand has moved.
    """
    progress(Progress.at(Stage.READ))
    volume = scan if isinstance(scan, Volume) else read_volume(scan)
    if boxes is None:
        progress(Progress.at(Stage.REGISTER))
    found, quality = place_boxes(volume, boxes, placed)
    refuse_failed(quality)
    return FoundSinuses(volume, found, quality)


def place_boxes(
    volume: Volume,
    given: Mapping[Side, SinusBox] | None = None,
    placed: Quality | None = None,
) -> tuple[Mapping[Side, SinusBox], Quality]:
    """Boxes from the registration, or those given, and their quality, failed or not.

    placed: see `judge_given_boxes`.
    """
    if given is not None:
        return given, judge_given_boxes(volume, given, placed)
    found = localize(volume)
    return found.boxes, found.quality


def score_sinuses(
    found: FoundSinuses, bundle: Bundle, progress: ProgressSink = no_progress
) -> ScanResult:
    """Cut out the sinuses in the way that the bundle was trained on, and score them."""
    progress(Progress.at(Stage.CROP))
    sides = [side for side in Side if side in found.boxes]
    crops = [cut_crop(found.volume, found.boxes[side], bundle.card.crop) for side in sides]
    progress(Progress.at(Stage.ANALYSE))
    scores, notices = _analyse(bundle, crops)
    sinuses = {
        side: _sinus_result(found.boxes[side], crop, score)
        for side, crop, score in zip(sides, crops, scores, strict=True)
    }
    return ScanResult(found.volume, found.quality, sinuses, notices)


def _analyse(bundle: Bundle, crops: list[SinusCrop]) -> tuple[list[SinusScore], tuple[str, ...]]:
    try:
        return bundle.analyse(crops), ()
    except RuntimeError as error:  # torch has no class of its own for every kind of GPU
        if bundle.device == "cpu" or "out of memory" not in str(error).lower():
            raise
    return bundle.on("cpu").analyse(crops), (GPU_WAS_FULL,)


def _sinus_result(box: SinusBox, crop: SinusCrop, score: SinusScore) -> SinusResult:
    mask = score.mask & crop.inside
    voxel_ml = abs(float(np.linalg.det(crop.affine[:3, :3]))) / 1000.0
    return SinusResult(
        side=crop.side,
        box=box,
        crop=crop,
        probability=float(score.probability),
        anomalous=bool(score.anomalous),
        residual=score.residual,
        mask=mask,
        anomaly_ml=float(mask.sum()) * voxel_ml,
    )


def refuse_failed(quality: Quality) -> None:
    """Raise the error that fits a quality of "failed"; others pass."""
    if quality.verdict != "failed":
        return
    reasons = " ".join(quality.reasons)
    inside = min(quality.inside_fraction.values(), default=1.0)
    if inside < THRESHOLDS.failed_inside_fraction:
        raise SinusOutsideImage(
            f"The image does not hold the maxillary sinuses. {reasons} Use a scan that covers the "
            "whole face, or place the boxes by hand and give them with --boxes."
        )
    raise NotAHead(
        f"The maxillary sinuses could not be found. {reasons} Check that this is an MRI of a whole "
        "head, or place the boxes by hand and give them with --boxes."
    )


def resolve_device(name: str = "auto") -> str:
    """The torch device for a name of `DEVICE_NAMES`; "auto" takes a GPU if there is one.

    Raises `DeviceUnavailable` for a device that is not present.
    """
    if name not in DEVICE_NAMES:
        raise DeviceUnavailable(f"Unknown device {name!r}; choose {', '.join(DEVICE_NAMES)}.")
    present = present_devices()
    if name == "auto":
        return present[0]
    if name not in present:
        import torch

        raise DeviceUnavailable(
            f"The device {name} is not present on this machine, or the installed torch "
            f"({torch.__version__}) does not support it. Use auto or cpu."
        )
    return name


def present_devices() -> list[str]:
    """torch's names of the devices of this machine, the best first; the CPU is always there."""
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return [device for device, there in present.items() if there]


def device_title(device: str) -> str:
    """What people call a device of `present_devices`: "NVIDIA H200", "CPU, 16 cores"."""
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return "Apple GPU" if device == "mps" else f"CPU, {os.cpu_count()} cores"
