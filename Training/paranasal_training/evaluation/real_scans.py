"""A bundle against real scans: scores of clear sinuses, and lesions inserted into them.

Lesions of known kind and volume are grown in the air of real sinuses, painted into the *scan's own
grid* with partial volume (so that a 7 mm slice blurs them as it blurs anatomy), and the scan is scored
again. The table `real_scans.csv` says which sides are clear.

A thickening of a given volume may spread over the whole wall: 2 ml can be thinner than healthy lining.
The bars count these; a second set, at least 2 mm deep, is reported beside them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from paranasal_training.cohort.donors import outline_air
from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.evaluation.config import RealCheckConfig
from paranasal_training.evaluation.lesion_pictures import LesionPictures
from paranasal_training.evaluation.metrics import dice, surface_distance_mm
from paranasal_training.evaluation.sides_table import read_sides
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.files import write_whole, write_whole_folder
from ParanasalSSLLib.geometry import Grid, apply_affine
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.predict import FoundSinuses, SinusResult, score_sinuses
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Kind, Side

logger = logging.getLogger(__name__)

VOLUMES_ML = (0.5, 1.0, 2.0, 4.0, 8.0)
BARRED_ML = 2.0  # the bars below are for lesions of at least this volume
GROWN = (Kind.THICKENING, Kind.POLYP, Kind.CYST)
DEEP_MM = 2.0
DEEP = "thickening of 2 mm or more"


@dataclass(frozen=True)
class AcceptanceCriteria:
    """What the shipped bundle is to reach; each with the figure found."""

    clear_below_threshold: str
    sensitivity_2ml: float
    overlap_2ml: float
    dice_2ml: float

    @property
    def met(self) -> dict[str, bool]:
        """What a releasable bundle must reach, and whether this one does."""
        below, clear = self.clear_below_threshold.split(" of ")
        return {
            "every clear sinus below the threshold": below == clear,
            "at least 90 % of lesions of 2 ml or more found": self.sensitivity_2ml >= 0.9,
            "largest part of the mask on the lesion in at least 80 %": self.overlap_2ml >= 0.8,
            "mean Dice at least 0.4": self.dice_2ml >= 0.4,
        }


def check_real(config: RealCheckConfig, output: Path) -> dict[str, Any]:
    """Run the check; writes `clear.csv`, `lesions.csv`, `summary.json`, `summary.md`, `sheet.png`.

    Raises:
        UnsafeOutput: the output folder is not empty.
        BadConfig: the table is unusable, the folder holds none of its scans, or nothing in them is
            clear and large enough for a lesion. A scan that cannot be read is left out, and told.
    """
    sides = read_sides(config.table)
    bundle = load_bundle(config.bundle or shipped_bundle_path())
    _warn_of_missing(config, list(sides["scan"].unique()))
    with write_whole_folder(output) as folder:  # what cannot be written is known before the work
        seen = _Seen(config.seed)
        for scan, of_scan in tqdm(list(sides.groupby("scan", sort=False)), desc="real scans"):
            _look(str(scan), dict(of_scan[["side", "clear"]].to_numpy()), config, bundle, seen)
        for words in seen.left_out:
            logger.warning("left out: %s", words)
        if not seen.lesions:
            raise BadConfig(f"{config.scans}: no lesion could be inserted into a clear sinus.")
        clear, lesions = pd.DataFrame(seen.clear), pd.DataFrame(seen.lesions)
        bars = _bars(clear, lesions)
        _write(folder, clear, lesions, bars, bundle, seen.left_out)
        seen.pictures.draw(folder / "sheet.png")
    return {**bars.__dict__, "met": bars.met, "left_out": len(seen.left_out)}


class _Seen:
    """Of all scans: a row for each sinus, one for each lesion, what was left out and why."""

    def __init__(self, seed: int) -> None:
        self.clear: list[dict[str, object]] = []
        self.lesions: list[dict[str, object]] = []
        self.left_out: list[str] = []
        self.pictures = LesionPictures(seed)


def _look(
    scan: str, sides: dict[str, str], config: RealCheckConfig, bundle: Bundle, seen: _Seen
) -> None:
    """Score the sides of one scan. sides: by name, "yes" where one is clear."""
    try:
        volume = read_volume(config.scans / scan)
        found = FoundSinuses(volume, find_boxes(volume))
    except (ParanasalError, OSError) as error:  # one bad scan never stops the others
        seen.left_out.append(f"{scan}: {explain(error)}".replace(f"{config.scans}/", ""))
        return
    for side, is_clear in sides.items():
        if Side(side) not in found.placement.boxes:
            seen.left_out.append(f"{scan}: the {side} sinus is not in the image.")
            continue
        sinus = RealSinus(found, Side(side), bundle)
        seen.clear.append({"scan": scan, "side": side, "clear": is_clear} | sinus.facts())
        for row, result in sinus.with_lesions(config) if is_clear == "yes" else ():
            seen.lesions.append({"scan": scan, "side": side} | row)
            seen.pictures.add(f"{scan} {side} {row['kind']} {row['ml']:.1f} ml", result)


def _warn_of_missing(config: RealCheckConfig, names: list[str]) -> None:
    """Raises `BadConfig`: no scan is there."""
    missing = [name for name in names if not (config.scans / name).exists()]
    if len(missing) == len(names):
        raise BadConfig(f"None of the scans in {config.table.name} lies in {config.scans}.")
    if missing:
        words = "%d of %d scans are not in %s: left out; first %s"
        logger.warning(words, len(missing), len(names), config.scans, missing[0])


class RealSinus:
    """One sinus of a real scan, scored as it is and with lesions inserted."""

    def __init__(self, found: FoundSinuses, side: Side, bundle: Bundle) -> None:
        self.found = replace(
            found, placement=replace(found.placement, boxes={side: found.placement.boxes[side]})
        )
        self.side, self.bundle = side, bundle
        self.crop = cut_crop(found.volume, self.box, bundle.card.crop)
        self.air = outline_air(self.crop.data) & self.crop.inside

    @property
    def box(self) -> SinusBox:
        """The box of this side."""
        return self.found.placement.boxes[self.side]

    def score(self, volume: Volume) -> SinusResult:
        """This side of another volume in the same grid, in the same box."""
        return score_sinuses(replace(self.found, volume=volume), self.bundle).sinuses[self.side]

    def facts(self) -> dict[str, object]:
        """Score of the sinus as it is."""
        result = self.score(self.found.volume)
        return {
            "quality": self.found.placement.quality.verdict,
            "judged": result.is_judged,  # no sinus recognised: neither clear nor a number of it
            "probability": round(result.score.probability, 4) if result.is_judged else None,
            "anomalous": result.score.anomalous,
            "mask_ml": round(result.opacity_ml, 2),
            "air_ml": round(float(self.air.sum()) / 1000, 1),
        }

    def with_lesions(
        self, config: RealCheckConfig
    ) -> Iterator[tuple[dict[str, object], SinusResult]]:
        """Insert lesions of every kind and volume that fits, and score each."""
        if not self.air.any():
            logger.warning("no air outlined in the %s sinus: no lesions inserted", self.side)
            return
        rng = np.random.default_rng([config.seed, self.side == Side.LEFT])
        air_ml = self.air.sum() / 1000
        volumes = [ml for ml in VOLUMES_ML if ml <= 0.7 * air_ml]
        wanted = [(kind, ml, 0.0) for kind in GROWN for ml in volumes]
        wanted.append((Kind.FULL, 0.92 * air_ml, 0.0))
        wanted += [(Kind.THICKENING, ml, DEEP_MM) for ml in volumes]
        for kind, ml, least_mm in wanted:
            for _ in range(config.repeats):
                lesion = grow_lesion(self.air, kind, ml, rng, least_mm)
                result = self.score(self.insert(lesion, rng))
                name = DEEP if least_mm else kind.name.lower()
                yield {"kind": name} | _compare(lesion, result), result

    def insert(self, lesion: np.ndarray, rng: np.random.Generator) -> Volume:
        """The scan with `lesion` (bool, crop grid) painted in, as bright as mucosa may be."""
        volume = self.found.volume
        occupancy = share_in_scan_grid(lesion, self.crop, volume)
        tissue = self.crop.data[self.crop.inside & ~self.air & (self.crop.data > 0.2)]
        low, high = self.crop.window
        signal = low + (high - low) * float(np.quantile(tissue, rng.uniform(0.5, 0.95)))
        noise = rng.normal(0, 0.03 * (high - low), volume.data.shape).astype(np.float32)
        return replace(volume, data=volume.data + occupancy * (signal + noise - volume.data))


def share_in_scan_grid(lesion: np.ndarray, crop: Grid, scan: Grid) -> np.ndarray:
    """Share 0..1 of each scan voxel that the lesion fills.

    Args:
        lesion: bool (n, n, n) in the crop's grid.
        crop: a grid of 1 mm.
        scan: its voxels are sampled at about every millimetre and averaged.

    Returns:
        float32 array of the scan's shape.
    """
    soft = ndimage.gaussian_filter(lesion.astype(np.float32), 0.5)
    start, stop = scan.window_around(crop.to_world(np.argwhere(lesion)), margin=2)
    block = scan.cut(start, stop)
    to_crop = block.index_to(crop)
    steps = [np.linspace(-0.5, 0.5, 2 * max(1, round(s)) + 1)[1::2] for s in scan.spacing_mm]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    share = sum(
        ndimage.affine_transform(soft, to_crop[:3, :3], point, output_shape=block.shape, order=1)
        for point in apply_affine(to_crop, offsets)
    )
    result = np.zeros(scan.shape, np.float32)
    result[tuple(map(slice, start, stop))] = share / len(offsets)
    return result


def _compare(lesion: np.ndarray, result: SinusResult) -> dict[str, object]:
    """Score, Dice and overlap of one inserted lesion."""
    mask = result.opacity
    return {
        "ml": round(float(lesion.sum()) / 1000, 2),
        "probability": round(result.score.probability, 4),
        "found": result.score.anomalous,
        "mask_ml": round(float(mask.sum()) / 1000, 2),
        "dice": round(dice(mask, lesion), 3),
        "surface_distance_mm": round(surface_distance_mm(mask, lesion), 2),
        "largest_part_on_lesion": bool((largest_part(mask) & lesion).any()),
    }


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a mask (all False when it is empty)."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


def _bars(clear: pd.DataFrame, lesions: pd.DataFrame) -> AcceptanceCriteria:
    really_clear = clear[clear["clear"] == "yes"]
    large = lesions[(lesions["ml"] >= BARRED_ML - 0.01) & (lesions["kind"] != DEEP)]
    return AcceptanceCriteria(
        f"{int((really_clear['judged'] & ~really_clear['anomalous']).sum())} of {len(really_clear)}",
        round(float(large["found"].mean()), 3),
        round(float(large["largest_part_on_lesion"].mean()), 3),
        round(float(large["dice"].mean()), 3),
    )


def _by_volume(lesions: pd.DataFrame) -> pd.DataFrame:
    edges = [0, 0.75, 1.5, 3, 6, 100]
    names = ["0.5 ml", "1 ml", "2 ml", "4 ml", "8 ml and more"]
    lesions = lesions[lesions["kind"] != DEEP]
    groups = lesions.groupby(pd.cut(lesions["ml"], edges, labels=names), observed=True)
    return groups.agg(
        lesions=("ml", "size"),
        found=("found", "mean"),
        largest_part_on_lesion=("largest_part_on_lesion", "mean"),
        dice=("dice", "mean"),
    ).round(2)


def _write(
    output: Path,
    clear: pd.DataFrame,
    lesions: pd.DataFrame,
    bars: AcceptanceCriteria,
    bundle: Bundle,
    left_out: list[str],
) -> None:
    by_kind = lesions[lesions["ml"] >= BARRED_ML - 0.01].groupby("kind")
    kinds = by_kind[["found", "largest_part_on_lesion", "dice"]].mean().round(2)
    lines = ["### Real sinuses as they are", "", _markdown(clear), ""]
    lines += ["### Inserted lesions by volume", "", _markdown(_by_volume(lesions).reset_index())]
    lines += [
        "",
        "### Inserted lesions of 2 ml or more by kind",
        "",
        _markdown(kinds.reset_index()),
    ]
    lines += ["", f'### AcceptanceCriteria (without the lesions named "{DEEP}")', ""]
    figures = (
        bars.clear_below_threshold,
        bars.sensitivity_2ml,
        bars.overlap_2ml,
        bars.dice_2ml,
    )
    for (bar, met), figure in zip(bars.met.items(), figures, strict=True):
        lines.append(f"- {bar}: {figure} ({'met' if met else 'NOT met'})")
    lines += ["", "### Left out", "", *(f"- {words}" for words in left_out)] if left_out else []
    summary = {"weights_sha256": bundle.card.weights_sha256, "bars": bars.__dict__, "met": bars.met}
    for name, text in (
        ("clear.csv", clear.to_csv(index=False)),
        ("lesions.csv", lesions.to_csv(index=False)),
        ("summary.json", json.dumps(summary, indent=2)),
        ("summary.md", "\n".join(lines) + "\n"),
    ):
        with write_whole(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy()]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
