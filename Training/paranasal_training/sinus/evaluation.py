"""The sinus network on real scans: what it says of each side, as a table and as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ParanasalSSLLib.crop import SinusCrop, cut_crop
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.localize import localize
from ParanasalSSLLib.model.opacity import SinusMeasures, measure_sinus
from ParanasalSSLLib.model.sinus_network import SinusNetwork, probabilities
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLLib.volume import read_volume

from .batches import SinusSamples


@dataclass(frozen=True, eq=False)
class SeenSide:
    """One side of a real scan, and what the network says of it."""

    scan: str
    side: Side
    verdict: str
    crop: SinusCrop
    measures: SinusMeasures


def look_at_scans(network: SinusNetwork, scans: Iterable[Path]) -> list[SeenSide]:
    """Both sides of each scan that can be read and whose sinuses are found."""
    seen: list[SeenSide] = []
    for path in scans:
        try:
            volume = read_volume(path)
            found = localize(volume)
        except ParanasalError as error:
            print(f"{path.name}: {error}", flush=True)
            continue
        crops = {side: cut_crop(volume, box) for side, box in found.boxes.items()}
        measures = ask(network, crops)
        seen += [
            SeenSide(path.name, side, found.quality.verdict, crops[side], measures[side])
            for side in crops
        ]
    return seen


def ask(network: SinusNetwork, crops: dict[Side, SinusCrop]) -> dict[Side, SinusMeasures]:
    """Measures of both sides of one scan; each side sees the other."""
    sides = list(crops)
    own = np.stack([crops[side].data for side in sides])
    other = own[::-1] if len(sides) == 2 else np.zeros_like(own)
    with torch.inference_mode():
        maps = probabilities(network(torch.from_numpy(np.stack([own, other], axis=1))))
    cavity, opacity = (m.numpy() for m in maps)
    return {
        side: measure_sinus(cavity[n], opacity[n], crops[side].inside)
        for n, side in enumerate(sides)
    }


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
    network: SinusNetwork, samples: SinusSamples, groups: Sequence[str], most: int
) -> pd.DataFrame:
    """Painted samples of these persons: truth, figures, and Dice of cavity and opacity."""
    rows = []
    for row in samples.rows(groups, inside=True)[:most]:
        batch = samples.batch(np.array([row]))
        with torch.inference_mode():
            cavity, opacity = (m.numpy()[0] for m in probabilities(network(batch.image)))
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


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks, 0..1; 1 where both are empty."""
    sizes = int(one.sum() + other.sum())
    return 2 * float((one & other).sum()) / sizes if sizes else 1.0
