"""The first look at a scan: what the bundle says of each side, and the outline of its air."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from paranasal_training.adapt.scans import SiteScan
from paranasal_training.prepare.work import reason_of
from paranasal_training.sinus.outline import Limits
from paranasal_training.sinus.references import (
    BLOCK,
    Reference,
    ReferenceRow,
    make_reference,
    save_reference,
)
from ParanasalSSLLib.crop import SinusCrop, cut_crop
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.model.bundle import Bundle, SinusScore, load_bundle
from ParanasalSSLLib.predict import place_boxes, refuse_failed
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Side

LEAK_MM = 4.0  # air further outside the cavity that the network sees is the nose's, or a cell's


@dataclass(frozen=True)
class SideFacts:
    """What is known of one side of one scan before anything is learnt from it.

    Attributes:
        scan, person, modality: see `SiteScan`.
        side: the patient's side.
        verdict: on the boxes.
        probability, evidence, opacity_ml, cavity_ml: of the bundle that is adapted.
        outline_ml: volume of the outlined air; 0 where no plausible cavity is found.
        level: of the air, as a fraction of the tissue's.
    """

    scan: str
    person: str
    modality: str
    side: Side
    verdict: str
    probability: float
    evidence: float
    opacity_ml: float
    cavity_ml: float
    outline_ml: float
    level: float

    @property
    def key(self) -> str:
        """Names scan and side: p0001_1:left."""
        return f"{self.scan}:{self.side.value}"


@dataclass(frozen=True)
class Looked:
    """A scan that was looked at. sides: none where it cannot be used. reason: why not."""

    scan: str
    sides: tuple[SideFacts, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class LookJob:
    """The look at one scan, with a bundle; its files go to `folder`."""

    scan: SiteScan
    bundle: Path
    folder: Path

    @property
    def record(self) -> Path:
        """Written last."""
        return self.folder / f"{self.scan.name}.json"


def look_at(job: LookJob) -> None:
    """Look at a scan and write what was seen: `NAME.json`, and crops and references beside it.

    Whatever is wrong with the scan becomes the reason in that file.
    """
    if job.record.exists():
        return
    try:
        sides, reason = _look(job), ""
    except Exception as error:  # one bad scan, whatever is wrong with it, never stops the others
        sides, reason = [], reason_of(error, _names(job.scan.source))
    write_json(
        job.record, {"scan": job.scan.name, "sides": [asdict(s) for s in sides], "reason": reason}
    )


def read_looked(job: LookJob) -> Looked:
    """What `look_at` has written."""
    content = json.loads(job.record.read_text(encoding="utf-8"))
    sides = [SideFacts(**facts | {"side": Side(facts["side"])}) for facts in content["sides"]]
    return Looked(content["scan"], tuple(sides), content["reason"])


def _names(source: ScanSource) -> list[str]:
    """All that an error may call a scan, the longest first."""
    path = source.path
    files = source.files or (path.rglob("*") if path.is_dir() else ())
    return [*map(str, files), str(path), os.path.realpath(path), path.name]


def _look(job: LookJob) -> list[SideFacts]:
    scan = job.scan
    volume = read_volume(scan.source.path, scan.source.files)
    placed = place_boxes(volume)
    refuse_failed(placed.quality)
    bundle = _bundle(job.bundle)
    crops = {side: cut_crop(volume, placed.boxes[side], bundle.card.crop) for side in placed.boxes}
    scores = dict(zip(crops, bundle.analyse(list(crops.values())), strict=True))
    save_crops(job.folder / f"{scan.name}_crops.npz", crops)
    facts = []
    for side, box in placed.boxes.items():
        row = ReferenceRow(scan.name, scan.modality, scan.person, side, True, Limits())
        reference = make_reference(volume, box, row, _region(scores[side]))
        save_reference(reference, reference_path(job.folder, scan.name, side))
        facts.append(_facts(reference, placed.quality.verdict, scores[side]))
    return facts


@cache
def _bundle(folder: Path) -> Bundle:
    import SimpleITK as sitk
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the bundle's networks
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return load_bundle(folder)


def _region(score: SinusScore) -> np.ndarray:
    """Where the outline of the air may run, in the block around the crop."""
    assert score.measures is not None  # `adapt` refuses bundles without sinus networks
    cavity = score.measures.cavity
    block = np.pad(cavity, (BLOCK - cavity.shape[0]) // 2)
    near: np.ndarray = ndimage.distance_transform_edt(~block) <= LEAK_MM
    return near


def reference_path(folder: Path, scan: str, side: Side) -> Path:
    """Where a side's reference lies."""
    return folder / f"{scan}_{side.value}.npz"


def _facts(reference: Reference, verdict: str, score: SinusScore) -> SideFacts:
    measures = score.measures
    assert measures is not None
    return SideFacts(
        scan=reference.scan,
        person=reference.group,
        modality=reference.modality,
        side=reference.side,
        verdict=verdict,
        probability=round(score.probability, 4),
        evidence=round(measures.evidence, 4),
        opacity_ml=round(measures.opacity_ml, 3),
        cavity_ml=round(measures.cavity_ml, 2),
        outline_ml=round(reference.cavity_ml, 2) if reference.clear else 0.0,
        level=round(reference.air / max(reference.tissue, 1e-3), 3),
    )


# ---------------------------------------------------------------------------------------- crops


def save_crops(path: Path, crops: Mapping[Side, SinusCrop]) -> None:
    """Write crops as bytes, for the networks that come later and for pictures."""
    arrays = {}
    for side, crop in crops.items():
        arrays[f"{side.value}_data"] = np.rint(crop.data * 255).astype(np.uint8)
        arrays[f"{side.value}_inside"] = crop.inside
    with write_whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_crops(folder: Path, scan: str) -> dict[Side, tuple[np.ndarray, np.ndarray]]:
    """Data (64, 64, 64), float32 in 0..1, and where it lies in the image, by side."""
    with np.load(folder / f"{scan}_crops.npz") as stored:
        return {
            side: (
                stored[f"{side.value}_data"].astype(np.float32) / 255,
                stored[f"{side.value}_inside"],
            )
            for side in Side
            if f"{side.value}_data" in stored.files
        }


def keep_only(references: Iterable[Path], chosen: Mapping[str, bool], folder: Path) -> None:
    """Put references into `folder`; those that were not chosen stand only beside the other side."""
    from paranasal_training.sinus.references import load_reference

    for path in references:
        reference = load_reference(path)
        if reference.clear and not chosen.get(f"{reference.scan}:{reference.side.value}", False):
            save_reference(replace(reference, clear=False), folder / path.name)
        else:
            os.link(path, folder / path.name)
