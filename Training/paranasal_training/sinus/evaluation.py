"""The sinus network on real scans: what it says of each side, as a table and as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paranasal_training.evaluation.metrics import dice
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.config import LookAtSinusesConfig
from paranasal_training.sinus.training import load_sinus_networks
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import SinusCrop, cut_crop
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.bundle import measure_crops
from ParanasalSSLLib.model.opacity import SinusMeasures, measure_sinus
from ParanasalSSLLib.model.sinus_network import SinusEnsemble
from ParanasalSSLLib.model.torch_networks import ask as ask_network
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.sinuses import Side

COLUMNS = 12  # sides in a row of the picture


@dataclass(frozen=True, eq=False)
class MeasuredSide:
    """One side of a real scan, and what the network says of it."""

    scan: str
    side: Side
    verdict: str
    crop: SinusCrop
    measures: SinusMeasures


def look_at_sinuses(config: LookAtSinusesConfig) -> Path:
    """Write `sinuses.csv`, one line a side, and `sinuses.png`; returns the table's path."""
    seen = look_at_scans(load_sinus_networks(config.weights), config.scans)
    rows = [
        {"scan": one.scan, "side": one.side.value, "quality": one.verdict}
        | measures_row(one.measures)
        for one in seen
    ]
    config.output.mkdir(parents=True, exist_ok=True)
    with write_whole(config.output / "sinuses.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    if seen:
        with write_whole(config.output / "sinuses.png") as temporary:
            draw_sides(seen).savefig(temporary, dpi=110)
    return config.output / "sinuses.csv"


def look_at_scans(networks: SinusEnsemble, scans: Iterable[Path]) -> list[MeasuredSide]:
    """Both sides of each scan that can be read and whose sinuses are found."""
    seen: list[MeasuredSide] = []
    for path in scans:
        try:
            volume = read_volume(path)
            found = find_boxes(volume)
        except ParanasalError as error:
            print(f"{path.name}: {error}", flush=True)
            continue
        crops = {side: cut_crop(volume, box) for side, box in found.boxes.items()}
        measures = ask(networks, crops)
        seen += [
            MeasuredSide(path.name, side, found.quality.verdict, crops[side], measures[side])
            for side in crops
        ]
    return seen


def draw_sides(seen: Sequence[MeasuredSide]) -> Figure:
    """Each side in an axial (above) and a coronal plane: cavity green, opacity red."""
    rows = -(-len(seen) // COLUMNS)
    figure = Figure(figsize=(1.3 * COLUMNS, 2.9 * rows), layout="tight")
    axes = figure.subplots(2 * rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, one in enumerate(seen):
        row, column = divmod(number, COLUMNS)
        _draw_side(one, axes[2 * row, column], axes[2 * row + 1, column])
    return figure


def _draw_side(one: MeasuredSide, axial: Axes, coronal: Axes) -> None:
    cavity, opacity = one.measures.cavity, one.measures.opacity
    middle = np.argwhere(cavity).mean(axis=0) if cavity.any() else np.array(cavity.shape) / 2
    for axis, direction in ((axial, 2), (coronal, 1)):
        at = int(middle[direction])
        axis.imshow(one.crop.data.take(at, direction).T, cmap="gray", origin="lower", vmax=0.8)
        for mask, color in ((cavity, "lime"), (opacity, "red")):
            plane = mask.take(at, direction)
            if plane.any():
                axis.contour(plane.T, [0.5], colors=color, linewidths=0.6)
    words = f"{one.scan[:14]} {one.side.value}"
    figures = f"{one.measures.opacity_ml:.1f} of {one.measures.cavity_ml:.0f} ml"
    axial.set_title(f"{words}\n{figures}", fontsize=5)


def ask(networks: SinusEnsemble, crops: dict[Side, SinusCrop]) -> dict[Side, SinusMeasures]:
    """Measures of both sides of one scan; each side sees the other."""
    measures = measure_crops(lambda images: ask_network(networks, images), list(crops.values()))
    return dict(zip(crops, measures, strict=True))


def measures_row(measures: SinusMeasures) -> dict[str, float]:
    """The figures of one sinus, for a table."""
    return {
        "cavity_ml": round(measures.cavity_ml, 2),
        "opacity_ml": round(measures.opacity_ml, 3),
        "soft_ml": round(measures.soft_ml, 3),
        "evidence": round(measures.evidence, 4),
        "depth_mm": round(measures.depth_mm, 1),
        "findings": len(measures.findings),
    }


def score_samples(
    networks: SinusEnsemble, samples: SinusSamples, groups: Sequence[str], most: int, seed: int = 0
) -> pd.DataFrame:
    """Samples of these persons, at most so many: truth, figures, Dice of cavity and opacity."""
    rows = []
    for row in samples.draw(groups, True, most, seed):
        batch = samples.batch(np.array([row]))
        with torch.inference_mode():
            cavity, opacity = networks(batch.image)[0].numpy()
        inside = batch.valid[0].numpy() > 0
        measures = measure_sinus(cavity, opacity, inside)
        true_cavity, true_opacity = (
            (truth[0].numpy() >= 0.5) & inside for truth in (batch.cavity, batch.opacity)
        )
        rows.append(
            dict(samples.table.loc[row])
            | {f"seen_{name}": value for name, value in measures_row(measures).items()}
            | {
                "dice_cavity": dice(measures.cavity, true_cavity),
                "dice_opacity": dice(measures.opacity, true_opacity),
                "hit": bool((measures.opacity & true_opacity).any()),
            }
        )
    return pd.DataFrame(rows)
