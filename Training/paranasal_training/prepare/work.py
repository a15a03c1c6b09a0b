"""One scan of `paranasal prepare`: planned, cut into crops, its result file written and found again.

Every scan has a result file of its own, written whole, in a hidden folder; a run that was stopped
finds them and resumes. A result counts only for the same file, boxes, settings and version.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paranasal_training.prepare.config import JitterSd
from paranasal_training.prepare.scans import Scan
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.quality import THRESHOLDS
from ParanasalSSLLib.boxes.registration import RegistrationConfig
from ParanasalSSLLib.crop import CropConfig, SinusCrop, cut_crop
from ParanasalSSLLib.errors import ParanasalError, UnreadableScan
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.predict import place_boxes, refuse_failed
from ParanasalSSLLib.results.planes import ORIENTATIONS, Plane
from ParanasalSSLLib.results.record import software_version
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

RESULT_VERSION = 1
PICTURE_PIXELS = 96
PICTURE_MM = 120.0
CROP_BYTES = CropConfig().size_voxels ** 3
PICTURE_BYTES = len(Side) * len(ORIENTATIONS) * PICTURE_PIXELS**2
RESUME_HINT = "What is done is kept: the same command resumes."


@dataclass(frozen=True, eq=False)
class ScanJob:
    """One scan to be done.

    number: the scan's; path: the file; result: where the crops go
    seed: of the jitter; jitter: shifted crops a sinus
    boxes: placed by hand, in place of the registration
    fingerprint: of all that the result depends on
    """

    number: int
    path: Path
    name: str
    result: Path
    jitter: int
    jitter_sd: JitterSd
    seed: tuple[int, ...]
    boxes: Placement | None
    fingerprint: str


@dataclass(frozen=True)
class Outcome:
    """What became of one scan; nothing in it names a patient or a path.

    number: the scan's
    verdict: "ok", "review", or "failed" (no crops)
    reasons: sentences for people
    error: class of the error of a failed scan
    format, modality: of the file, as far as known
    quality: `Quality.to_json()`; None where the scan could not be read
    crops: (side, jitter) of each crop, in the order of the result file
    pictures: sides that the result file has pictures of
    """

    number: int
    verdict: str
    reasons: tuple[str, ...] = ()
    error: str = ""
    format: str = ""
    modality: str = ""
    quality: dict[str, Any] | None = None
    crops: tuple[tuple[str, int], ...] = ()
    pictures: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ScanCrops:
    """Crops of one scan: uint8 (n, 64, 64, 64); pictures: uint8 (sides, 3, pixels, pixels)."""

    crops: np.ndarray
    pictures: np.ndarray


NO_CROPS = ScanCrops(
    np.zeros((0, *(CropConfig().size_voxels,) * 3), np.uint8),
    np.zeros((0, len(ORIENTATIONS), PICTURE_PIXELS, PICTURE_PIXELS), np.uint8),
)


# ------------------------------------------------------------------------------------ planning


def plan_job(
    scan: Scan,
    folder: Path,
    jitter: int,
    jitter_sd: JitterSd,
    seed: int,
    boxes: Placement | None,
) -> ScanJob:
    """The work on one scan; its result will be in `folder`."""
    named = hashlib.sha256(scan.name.encode()).digest()
    settings = {
        "version": [RESULT_VERSION, software_version()],
        "path": os.path.realpath(scan.path),
        "files": stamps(scan.path),
        "jitter": [jitter, asdict(jitter_sd), seed],
        "boxes": None if boxes is None else _placement_facts(boxes),
        "crop": asdict(CropConfig()),
        "search": asdict(RegistrationConfig()),
        "quality": asdict(THRESHOLDS),
    }
    return ScanJob(
        number=scan.number,
        path=scan.path,
        name=scan.name,
        result=folder / f"{named.hex()[:20]}.npz",
        jitter=jitter,
        jitter_sd=jitter_sd,
        # By name, not by number: scans that are added later leave the others as they are.
        seed=(seed, int.from_bytes(named[:8], "big")),
        boxes=boxes,
        fingerprint=hashlib.sha256(json.dumps(settings).encode()).hexdigest(),
    )


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of all in a DICOM folder; none of a dead link."""
    if not path.exists():
        return []
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = [(str(file.relative_to(path)), file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def _placement_facts(placement: Placement) -> list[Any]:
    boxes = [placement.boxes[side] for side in sorted(placement.boxes)]
    return [[_box_facts(box) for box in boxes], placement.quality.to_json()]


def _box_facts(box: SinusBox) -> list[Any]:
    place = [box.center_ras_mm.tolist(), box.rotation.tolist(), box.edge_mm]
    return [box.side.value, *place, box.origin]


# ------------------------------------------------------------------------------------ one scan


def do_scan(job: ScanJob) -> Outcome:
    """Read, register and crop one scan, and write its result file.

    Whatever is wrong with the scan becomes the outcome's reason; only what is wrong with the result
    file raises (OSError: no space left). What could not be read or was refused otherwise than by
    its quality leaves no file, so that a later run tries again.
    """
    started = time.perf_counter()
    try:
        outcome, crops = _crop_scan(job)
    except Exception as error:  # one bad scan, whatever is wrong with it, never stops the others
        outcome, crops = _refusal(job, error), None
    outcome = replace(outcome, seconds=round(time.perf_counter() - started, 2))
    if crops is not None:
        write_result(job, outcome, crops)
    return outcome


def _crop_scan(job: ScanJob) -> tuple[Outcome, ScanCrops]:
    if not job.path.exists():
        raise UnreadableScan(
            f"{job.path} is a link that leads nowhere (git-annex or DataLad: get the file first)."
        )
    volume = read_volume(job.path)
    placement = place_boxes(volume, job.boxes)
    boxes, quality = placement.boxes, placement.quality
    sides = [side for side in Side if side in boxes]
    cut = {side: cut_crop(volume, boxes[side]) for side in sides}
    pictures = np.stack([_pictures(volume, boxes[side], cut[side]) for side in sides])
    outcome = Outcome(
        job.number,
        quality.verdict,
        (*quality.reasons, *volume.provenance.notices),
        format=volume.provenance.format,
        modality=volume.provenance.modality or "",
        quality=quality.to_json(),
        pictures=tuple(side.value for side in sides),
    )
    try:
        refuse_failed(quality)
    except ParanasalError as error:
        failed = replace(outcome, error=type(error).__name__)
        return failed, ScanCrops(NO_CROPS.crops, pictures)
    crops, names = [], []
    for side in sides:
        shifted = shifted_boxes(boxes[side], job.jitter, job.jitter_sd, job.seed)
        crops += [cut[side], *(cut_crop(volume, box) for box in shifted)]
        names += [(side.value, number) for number in range(job.jitter + 1)]
    stored = np.stack([np.round(crop.data * 255).astype(np.uint8) for crop in crops])
    return replace(outcome, crops=tuple(names)), ScanCrops(stored, pictures)


def shifted_boxes(
    box: SinusBox, number: int, sd: JitterSd, seed: tuple[int, ...]
) -> list[SinusBox]:
    """The box, shifted at random along its own axes, `number` times."""
    rng = np.random.default_rng([*seed, list(Side).index(box.side)])
    shifts_mm = rng.standard_normal((number, 3)) * sd.of(box.side)
    return [replace(box, center_ras_mm=box.center_ras_mm + box.rotation @ s) for s in shifts_mm]


def _pictures(volume: Volume, box: SinusBox, crop: SinusCrop) -> np.ndarray:
    """uint8 (3, pixels, pixels): axial, coronal, sagittal through the box; row 0 is the lowest."""
    planes = [
        Plane.through(box.center_ras_mm, box.rotation, orientation, PICTURE_MM).sample(
            volume.data, volume, PICTURE_PIXELS, outside=crop.window[0]
        )
        for orientation in ORIENTATIONS
    ]
    low, high = crop.window
    return (np.clip((np.stack(planes) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _refusal(job: ScanJob, error: Exception) -> Outcome:
    names = (str(job.path), os.path.realpath(job.path), job.name, job.path.name)
    return Outcome(job.number, "failed", (reason_of(error, names),), type(error).__name__)


def reason_of(error: Exception, names: Iterable[str]) -> str:
    """What was wrong with a scan, in words without the source's names of it."""
    if isinstance(error, ParanasalError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "There is not enough memory for this scan. Use fewer processes."
    else:
        text = f"An unexpected problem ({type(error).__name__}: {error})."
    for private in names:
        text = text.replace(private, "The scan")
    return text


# -------------------------------------------------------------------------------- result files


def write_result(job: ScanJob, outcome: Outcome, crops: ScanCrops) -> None:
    """Write crops, pictures and outcome to the job's file, whole or not at all."""
    record = {"fingerprint": job.fingerprint, "outcome": asdict(outcome)}
    with write_whole(job.result) as temporary:
        np.savez(
            temporary, record=np.array(json.dumps(record)), crops=crops.crops,
            pictures=crops.pictures,
        )  # fmt: skip


def find_outcome(job: ScanJob) -> Outcome | None:
    """The outcome of an earlier run, if it is of the same file and settings."""
    try:
        with np.load(job.result, allow_pickle=False) as file:
            record = json.loads(str(file["record"]))
        if record["fingerprint"] != job.fingerprint:
            return None
        found = record["outcome"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return Outcome(
        **found | {
            "number": job.number,  # the scan's place in the table may have changed
            "reasons": tuple(found["reasons"]),
            "crops": tuple((side, number) for side, number in found["crops"]),
            "pictures": tuple(found["pictures"]),
        }
    )  # fmt: skip


def read_crops(job: ScanJob, outcome: Outcome) -> ScanCrops:
    """The crops and pictures of a scan that is done; empty for one that could not be read."""
    if outcome.quality is None:
        return NO_CROPS
    with np.load(job.result, allow_pickle=False) as file:
        return ScanCrops(file["crops"], file["pictures"])
