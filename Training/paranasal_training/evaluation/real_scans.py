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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage
from tqdm import tqdm

from paranasal_training.cohort.donors import outline_air
from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.evaluation.config import RealCheckConfig
from paranasal_training.evaluation.metrics import dice, surface_distance_mm
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import write_whole
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
SIDES = ("scan", "side", "clear")
SIDES_HELP = (
    "It has one line for each sinus: scan (a file or folder below --scans), side (left or right, the "
    "patient's), clear (yes or no)."
)
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
        BadConfig: the table is unusable, the folder holds none of its scans, or nothing in them is
            clear and large enough for a lesion.
    """
    sides = read_sides(config.table)
    bundle = load_bundle(config.bundle or shipped_bundle_path())
    found = dict(_find_scans(config.scans, sides["scan"].unique()))
    if not found:
        raise BadConfig(f"None of the scans in {config.table.name} lies in {config.scans}.")
    clear_rows, lesion_rows, pictures = [], [], []
    for scan, side_name, is_clear in tqdm(
        list(sides[["scan", "side", "clear"]].itertuples(index=False)), desc="real sinuses"
    ):
        if scan not in found:
            logger.warning("%s is not in the folder: left out", scan)
            continue
        if Side(side_name) not in found[scan].placement.boxes:
            logger.warning("%s: the %s sinus is not in the image: left out", scan, side_name)
            continue
        sinus = RealSinus(found[scan], Side(side_name), bundle)
        clear_rows.append({"scan": scan, "side": side_name, "clear": is_clear} | sinus.facts())
        if is_clear == "yes":
            for row, result in sinus.with_lesions(config):
                lesion_rows.append({"scan": scan, "side": side_name} | row)
                pictures.append((f"{scan} {side_name} {row['kind']} {row['ml']:.1f} ml", result))
    if not lesion_rows:
        raise BadConfig(f"{config.scans}: no lesion could be inserted into a clear sinus.")
    clear, lesions = pd.DataFrame(clear_rows), pd.DataFrame(lesion_rows)
    bars = _bars(clear, lesions)
    _write(output, clear, lesions, bars, bundle)
    _draw(pictures, output / "sheet.png", config.seed)
    return {**bars.__dict__, "met": bars.met}


def read_sides(path: Path) -> pd.DataFrame:
    """The table of sides, checked; columns: see `RealCheckConfig.table`. Raises `BadConfig`."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} cannot be read as a CSV table. {SIDES_HELP}") from error
    if missing := [name for name in SIDES if name not in table]:
        raise BadConfig(f"{path} lacks the column {', '.join(missing)}. {SIDES_HELP}")
    for name, values in (("side", ("left", "right")), ("clear", ("yes", "no"))):
        for number, value in enumerate(table[name], start=2):
            if value not in values:
                raise BadConfig(f"{path}, line {number}: {name} is {value!r}. {SIDES_HELP}")
    if "yes" not in set(table["clear"]):
        raise BadConfig(f"{path} names no clear side: there is nothing to insert lesions into.")
    return table


def _find_scans(folder: Path, names: np.ndarray) -> Iterator[tuple[str, FoundSinuses]]:
    for name in names:
        path = Path(folder) / name
        if path.exists():
            volume = read_volume(path)
            yield name, FoundSinuses(volume, find_boxes(volume))


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
            "probability": round(result.score.probability, 4),
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
        f"{int((~really_clear['anomalous']).sum())} of {len(really_clear)}",
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
    summary = {"weights_sha256": bundle.card.weights_sha256, "bars": bars.__dict__, "met": bars.met}
    output.mkdir(parents=True, exist_ok=True)
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


def _draw(pictures: list[tuple[str, SinusResult]], path: Path, seed: int) -> None:
    """Crops with inserted lesions and the mask found (yellow), a random 24 of them."""
    order = np.random.default_rng(seed).permutation(len(pictures))[:24]
    figure = Figure(figsize=(20, 14))
    axes = figure.subplots(6, 12, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for position, number in enumerate(sorted(order)):
        title, result = pictures[number]
        line, column = divmod(position, 4)
        _draw_planes(list(axes[line, 3 * column : 3 * column + 3]), result)
        axes[line, 3 * column].set_title(f"{title}\np = {result.score.probability:.2f}", fontsize=6)
    figure.tight_layout(pad=0.3, h_pad=1.6)
    with write_whole(path) as temporary:
        figure.savefig(temporary, dpi=80)


def _draw_planes(axes: list[Axes], result: SinusResult) -> None:
    for axis, panel in zip((2, 1, 0), axes, strict=True):
        at = int(result.opacity.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) or 32
        panel.imshow(result.crop.data.take(at, axis).T, cmap="gray", origin="lower")
        outline = result.opacity.take(at, axis).T
        if outline.any():
            panel.contour(outline, [0.5], colors="gold", linewidths=0.8)
