"""How repeatable a bundle's numbers are: one head in several positions, and in two contrasts.

Each scan is scored as it is and in other positions, in which the same head lies elsewhere, or the same
voxels are stored otherwise; the spread of the numbers over the positions is what a reader must allow
for. So that there is an opacity to measure, a rounded lesion of `LESION_ML` is painted into the left
cavity of each scan first; the right side stays as it is. Scans of one head in two contrasts (the same
`sub-` in their names) are compared by their right sides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.sinus.config import RepeatabilityConfig
from ParanasalSSLLib.crop import paste
from ParanasalSSLLib.errors import BadConfig, ParanasalError
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.model.bundle_folder import CARD
from ParanasalSSLLib.model.card import Repeatability
from ParanasalSSLLib.predict import ScanResult, predict_scan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Kind, Side

LESION_ML = 3.0
NUMBERS = ("cavity_ml", "opacity_ml", "probability")
AS_IT_IS = "as it is"


def measure_repeatability(config: RepeatabilityConfig) -> Path:
    """Write `repeatability.csv` (a row a side and position), `.json` and `.md`; returns the last.

    Raises:
        BadConfig: the bundle outlines no cavity, or no scan could be scored.
    """
    folder = config.bundle or shipped_bundle_path()
    bundle = load_bundle(folder)
    if bundle.card.sinus is None:
        raise BadConfig(f"The bundle {folder} has no sinus network, so it measures no cavity.")
    table = pd.DataFrame(
        [row for scan in tqdm(config.scans, desc="scans") for row in score_scan(scan, bundle)]
    )
    if table.empty:
        raise BadConfig("None of the scans could be scored.")
    config.output.mkdir(parents=True, exist_ok=True)
    with write_whole(config.output / "repeatability.csv") as temporary:
        table.to_csv(temporary, index=False)
    found = spread(table)
    write_json(config.output / "repeatability.json", asdict(found))
    if config.into_card:
        note_in_card(folder, found)
    with write_whole(config.output / "repeatability.md") as temporary:
        temporary.write_text(summary(table, found), encoding="utf-8")
    return config.output / "repeatability.md"


def note_in_card(folder: Path, found: Repeatability) -> None:
    """Write the figures into a bundle's card; reports then state them beside volumes."""
    content = json.loads((folder / CARD).read_text(encoding="utf-8"))
    content["sinus"]["repeatability"] = asdict(found)
    write_json(folder / CARD, content)


# ------------------------------------------------------------------------------- positions


def stored_otherwise(volume: Volume) -> Volume:
    """The same voxels at the same places, their axes in another order and running the other way."""
    order = np.array([[2, -1], [0, 1], [1, -1]])
    affine = volume.affine @ nib.orientations.inv_ornt_aff(order, volume.shape)
    return Volume(nib.orientations.apply_orientation(volume.data, order), affine, volume.provenance)


def mirrored(volume: Volume) -> Volume:
    """The head in a mirror: what was left is right."""
    return Volume(volume.data, np.diag([-1.0, 1.0, 1.0, 1.0]) @ volume.affine, volume.provenance)


def turned(volume: Volume, degrees: tuple[float, float, float]) -> Volume:
    """The head turned about its middle, by degrees about the axes to the right, front and top."""
    rotation, middle = np.eye(4), np.eye(4)
    rotation[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    middle[:3, 3] = volume.center_ras_mm
    affine = middle @ rotation @ np.linalg.inv(middle) @ volume.affine
    return Volume(volume.data, affine, volume.provenance)


def resampled(volume: Volume, step: float, shift: float) -> Volume:
    """The head as if scanned with other voxels (trilinear).

    step: their edges, of the old ones. shift: of the middle, in old voxels along each axis.
    """
    shape = tuple(int(n / step) for n in volume.shape)
    steps = volume.affine[:3, :3]
    middle = volume.center_ras_mm + steps @ np.full(3, shift)
    grid = Grid.around(middle, steps * step, (shape[0], shape[1], shape[2]))
    to_old = grid.index_to(volume)
    data = ndimage.affine_transform(
        volume.data, to_old[:3, :3], to_old[:3, 3], output_shape=grid.shape, order=1, mode="nearest"
    )
    return Volume(data, grid.affine, volume.provenance)


POSITIONS: dict[str, Callable[[Volume], Volume]] = {
    AS_IT_IS: lambda volume: volume,
    "stored otherwise": stored_otherwise,
    "mirrored": mirrored,
    "nodded by 8 degrees": lambda volume: turned(volume, (8, 0, 0)),
    "turned by 8, tilted by 5 degrees": lambda volume: turned(volume, (0, 5, 8)),
    "moved by half a voxel": lambda volume: resampled(volume, 1.0, 0.5),
    "voxels a fifth larger": lambda volume: resampled(volume, 1.2, 0.0),
}


# --------------------------------------------------------------------------------- scores


def score_scan(path: Path, bundle: Bundle) -> Iterator[dict[str, object]]:
    """A row for each side in each position; none for a scan that is refused, which is said."""
    try:
        volume = read_volume(path)
        painted = with_lesion(volume, predict_scan(volume, bundle))
    except ParanasalError as error:
        print(f"{path.name}: {error}", flush=True)
        return
    for name, move in POSITIONS.items():
        try:
            result = predict_scan(move(painted), bundle)
        except ParanasalError as error:
            print(f"{path.name}, {name}: {error}", flush=True)
            continue
        for side, sinus in result.sinuses.items():
            own = side if name != "mirrored" else _other(side)
            measures = sinus.score.measures
            assert measures is not None
            yield {
                "head": _head_of(path),
                "scan": path.name.split(".")[0],
                "side": own.value,
                "painted": own == Side.LEFT,
                "position": name,
                "quality": result.placement.quality.verdict,
                "cavity_ml": round(measures.cavity_ml, 3),
                "opacity_ml": round(measures.opacity_ml, 3),
                "probability": round(sinus.score.probability, 4),
            }


def with_lesion(volume: Volume, result: ScanResult, seed: int = 0) -> Volume:
    """The scan with a rounded lesion, as bright as soft tissue, in its left cavity."""
    sinus = result.sinuses[Side.LEFT]
    measures = sinus.score.measures
    if measures is None or not measures.cavity.any():
        return volume
    crop, rng = sinus.crop, np.random.default_rng(seed)
    lesion = grow_lesion(measures.cavity, Kind.CYST, LESION_ML, rng)
    share = paste(lesion.astype(np.float32), crop, volume, outside=0.0)
    low, high = crop.window
    tissue = crop.data[crop.inside & ~measures.cavity & (crop.data > 0.2)]
    level = low + (high - low) * float(np.quantile(tissue, 0.75))
    return Volume(volume.data + share * (level - volume.data), volume.affine, volume.provenance)


def _other(side: Side) -> Side:
    return Side.LEFT if side == Side.RIGHT else Side.RIGHT


def _head_of(path: Path) -> str:
    """The subject in a file's name as BIDS has it, else the name."""
    found = re.match(r"sub-[A-Za-z0-9]+", path.name)
    return found[0] if found else path.name.split(".")[0]


# -------------------------------------------------------------------------------- figures


def spread(table: pd.DataFrame) -> Repeatability:
    """Standard deviations over the positions of one side, pooled over all sides.

    Of volumes in per cent of their mean; of the opacity on painted sides only.
    """
    sides = table.groupby(["scan", "side"])
    painted = table[table["painted"]].groupby(["scan", "side"])
    return Repeatability(
        cavity_percent=round(
            100 * _pooled(sides["cavity_ml"].std() / sides["cavity_ml"].mean()), 1
        ),
        opacity_percent=round(
            100 * _pooled(painted["opacity_ml"].std() / painted["opacity_ml"].mean()), 1
        ),
        probability=round(_pooled(sides["probability"].std()), 3),
    )


def _pooled(deviations: pd.Series) -> float:
    """Root mean square; sides without a spread (no opacity seen, one position) do not count."""
    known = deviations[np.isfinite(deviations)]
    return float(np.sqrt((known**2).mean())) if len(known) else 0.0


def against_as_it_is(table: pd.DataFrame) -> pd.DataFrame:
    """For each position: mean and greatest difference from the scan as it is, over all sides.

    Columns: position, sides, cavity_mean and cavity_most (per cent), opacity_mean and opacity_most
    (per cent, painted sides in which it was seen), probability_mean and probability_most.
    """
    keys = ["scan", "side"]
    first = table[table["position"] == AS_IT_IS].set_index(keys)
    rows = []
    for name in [position for position in POSITIONS if position != AS_IT_IS]:
        now = table[table["position"] == name].set_index(keys)
        both = now.join(first[list(NUMBERS)], rsuffix="_first", how="inner")
        seen = both[both["painted"] & (both["opacity_ml_first"] > 0)]
        row: dict[str, object] = {"position": name, "sides": len(both)}
        for what, sides in (("cavity", both), ("opacity", seen)):
            apart = 100 * abs(sides[f"{what}_ml"] / sides[f"{what}_ml_first"] - 1)
            row |= {f"{what}_mean": apart.mean(), f"{what}_most": apart.max()}
        apart = abs(both["probability"] - both["probability_first"])
        row |= {"probability_mean": apart.mean(), "probability_most": apart.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def between_contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Right sides of heads with several scans, each as it is: the numbers of each scan."""
    right = table[(table["side"] == "right") & (table["position"] == AS_IT_IS)]
    several = right.groupby("head")["scan"].transform("nunique") > 1
    return right[several][["head", "scan", *NUMBERS]]


def summary(table: pd.DataFrame, found: Repeatability) -> str:
    """The figures for a model card, as Markdown."""
    scans, heads = table["scan"].nunique(), table["head"].nunique()
    lines = [
        "### Repeatability",
        "",
        f"{scans} scans of {heads} heads, each in {len(POSITIONS)} positions, a lesion of "
        f"{LESION_ML:g} ml painted into the left sinus. Standard deviation of one side over its "
        f"positions: cavity {found.cavity_percent:g} %, opacity {found.opacity_percent:g} %, "
        f"probability {found.probability:g}.",
        "",
        "| position | sides | cavity, % from as it is: mean (most) | opacity, % | probability |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in against_as_it_is(table).to_dict("records"):
        lines.append(
            f"| {row['position']} | {row['sides']} "
            f"| {row['cavity_mean']:.1f} ({row['cavity_most']:.1f}) "
            f"| {row['opacity_mean']:.1f} ({row['opacity_most']:.1f}) "
            f"| {row['probability_mean']:.3f} ({row['probability_most']:.3f}) |"
        )
    pairs = between_contrasts(table)
    if len(pairs):
        lines += [
            "",
            "One head in two contrasts, right side as it is:",
            "",
            "| head | scan | cavity ml | opacity ml | probability |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in pairs.to_dict("records"):
            lines.append(
                f"| {row['head']} | {row['scan']} | {row['cavity_ml']:.1f} "
                f"| {row['opacity_ml']:.2f} | {row['probability']:.3f} |"
            )
    return "\n".join(lines) + "\n"
