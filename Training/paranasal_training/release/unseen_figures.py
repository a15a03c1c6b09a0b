"""What networks find in persons whom they never saw: fractions, with intervals over the persons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

LESION_ML = 0.5  # painted disease from this volume on is what a sinus is called anomalous for
SIZES_ML = ((0.5, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, np.inf))
SLICES_MM = ((0.0, 2.5), (2.5, 4.5), (4.5, np.inf))
DARKEST = (0.06, 0.135)  # signal of dark fluid on the crop's scale
DARK_FROM_ML = 5.0
RESAMPLES = 1000


def diseased(samples: pd.DataFrame) -> np.ndarray:
    """Bool (n,), painted with `LESION_ML` or more."""
    return (samples["opacity_ml"] >= LESION_ML).to_numpy()


def clear_or_diseased(samples: pd.DataFrame) -> np.ndarray:
    """Bool (n,), what counts for a class: less disease than `LESION_ML` counts for neither."""
    return (samples["opacity_ml"] == 0).to_numpy() | diseased(samples)


def drawn_persons(groups: pd.Series, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of each resample: as many persons as there are, with replacement, each with all rows."""
    persons = list(groups.groupby(groups.to_numpy()).indices.values())
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        chosen = rng.integers(len(persons), size=len(persons))
        yield np.concatenate([persons[number] for number in chosen])


def dark_fluid(samples: pd.DataFrame) -> np.ndarray:
    """Bool (n,), painted with much dark fluid."""
    dark = samples["signal"].between(*DARKEST).to_numpy()
    return dark & (samples["opacity_ml"] >= DARK_FROM_ML).to_numpy()


def in_ranges(values: pd.Series, ranges: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    """Bool (n,) for each range, the upper end not in it."""
    return [((values >= low) & (values < high)).to_numpy() for low, high in ranges]


def called_at(scores: pd.DataFrame, column: str, specificity: float) -> np.ndarray:
    """Bool (n,), above what leaves this fraction of the sides clear that are as they were scanned."""
    real = scores["as_it_is"].to_numpy(bool)
    return (scores[column] > np.quantile(scores[column][real], specificity)).to_numpy()


def figures(
    scored: pd.DataFrame, as_they_are: pd.DataFrame, called: np.ndarray, false_alarms: np.ndarray
) -> dict[str, Any]:
    """What a bundle's card says of persons left out.

    Args:
        scored: painted samples and clear ones made harder, from `score_samples`.
        as_they_are: clear sides as they were scanned, likewise.
        called, false_alarms: bool, whether each of these samples is called anomalous.
    """
    clear, large = scored["opacity_ml"] == 0, scored["opacity_ml"] >= 2
    real = as_they_are.assign(called=~false_alarms)
    return {
        "samples": len(scored),
        "sides_as_they_are": len(as_they_are[["scan", "side"]].drop_duplicates()),
        "as_they_are_called_clear": fraction(real),
        "clear_called_clear": fraction(scored[clear].assign(called=~called[clear])),
        "found": found(scored.assign(called=called)),
        "clear_by_sequence": by_column(real, "modality"),
        "dice_opacity_from_2_ml": _mean(scored["dice_opacity"][large]),
        "dice_cavity": _mean(scored["dice_cavity"]),
    }


def found(judged: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Painted disease that is called, by volume, kind, sequence and slice thickness.

    Args:
        judged: samples with `called`.
    """
    ill = judged[diseased(judged)]
    return {
        "volume": by_range(ill, "opacity_ml", SIZES_ML, "ml"),
        "dark fluid": {range_name(DARK_FROM_ML, np.inf, "ml"): fraction(ill[dark_fluid(ill)])},
        "kind": by_column(ill, "kind"),
        "sequence": by_column(ill, "modality"),
        "slices": by_range(ill, "slice_mm", SLICES_MM, "mm"),
    }


def by_range(
    judged: pd.DataFrame, column: str, ranges: tuple[tuple[float, float], ...], unit: str
) -> dict[str, Any]:
    """`fraction` of the samples whose value lies in each range, the upper end not in it."""
    return {
        range_name(*ends, unit): fraction(judged[inside])
        for ends, inside in zip(ranges, in_ranges(judged[column], ranges), strict=True)
    }


def range_name(low: float, high: float, unit: str) -> str:
    """As in "0.5 to 1 ml", "up to 2.5 mm", "from 5 ml"."""
    if low == 0:
        return f"up to {high:g} {unit}"
    return f"{low:g} to {high:g} {unit}" if np.isfinite(high) else f"from {low:g} {unit}"


def by_column(judged: pd.DataFrame, column: str) -> dict[str, Any]:
    """`fraction` of the samples with each of a column's values."""
    return {str(value): fraction(some) for value, some in judged.groupby(column)}


def fraction(judged: pd.DataFrame) -> dict[str, Any]:
    """Fraction of the samples with `called`, and its 95 % interval over the persons.

    Persons are drawn with replacement, each with all of its samples.
    """
    if judged.empty:
        return {"samples": 0, "persons": 0, "fraction": None, "interval": None}
    persons = judged.groupby("group")["called"].agg(["sum", "size"]).to_numpy(float)
    draws = np.random.default_rng(0).integers(len(persons), size=(RESAMPLES, len(persons)))
    hits, sizes = persons[draws].sum(axis=1).T
    ends = np.quantile(hits / sizes, [0.025, 0.975])
    return {
        "samples": len(judged),
        "persons": len(persons),
        "fraction": round(float(judged["called"].mean()), 3),
        "interval": [round(float(end), 3) for end in ends],
    }


def as_table(title: str, rows: Mapping[str, Mapping[str, Any]], called: str = "found") -> str:
    """Fractions as a Markdown table, `called` over their column."""
    head = f"| {title} | samples | persons | {called} (95 % interval) |\n| --- | --- | --- | --- |"
    lines = [
        f"| {name} | {row['samples']} | {row['persons']} | {in_words(row)} |"
        for name, row in rows.items()
    ]
    return "\n".join([head, *lines])


def in_words(row: Mapping[str, Any]) -> str:
    """As in "87 % (80-93)"."""
    if row["fraction"] is None:
        return "none there"
    low, high = row["interval"]
    return f"{100 * row['fraction']:.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def _mean(values: pd.Series) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None
