"""How bright each tissue is: FLAIR-like by default, with T1, T2, PD and fat-suppressed relatives.

Values are relative signal, air 0 and the brightest tissue about 1. The typical values are rounded
readings of open scans; each patient's are drawn around them, far enough that a network cannot rely
on one sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from paranasal_training.cohort.config import ContrastRange


@dataclass(frozen=True)
class Contrast:
    """Relative signal of each tissue (0 = air, about 1 = brightest)."""

    air: float
    cortex: float  # compact bone and teeth
    marrow: float
    fat: float
    muscle: float
    mucosa: float
    vitreous: float
    skin: float
    lesion: float


TYPICAL = {
    "flair": Contrast(0.02, 0.07, 0.55, 0.75, 0.35, 0.75, 0.12, 0.55, 0.75),
    "t1": Contrast(0.02, 0.07, 0.85, 1.00, 0.42, 0.48, 0.22, 0.60, 0.45),
    "t2": Contrast(0.02, 0.06, 0.55, 0.70, 0.22, 0.85, 1.00, 0.45, 0.95),
    "pd": Contrast(0.03, 0.10, 0.70, 0.90, 0.50, 0.80, 0.75, 0.65, 0.85),
    "fat_suppressed": Contrast(0.02, 0.06, 0.20, 0.22, 0.40, 0.90, 0.80, 0.45, 0.95),
}
_AIR_LIKE = ("air", "cortex")


def draw_contrast(rng: np.random.Generator, spread: ContrastRange = ContrastRange()) -> Contrast:
    """One patient's contrast: a typical one, each tissue scaled by a log-normal factor."""
    names, fractions = list(spread.fractions), np.array(list(spread.fractions.values()))
    typical = TYPICAL[names[rng.choice(len(names), p=fractions / fractions.sum())]]
    values = {}
    for field in fields(Contrast):
        value = getattr(typical, field.name) * np.exp(rng.normal(0, spread.spread))
        ceiling = 0.14 if field.name in _AIR_LIKE else 1.2
        values[field.name] = float(np.clip(value, 0.0, ceiling))
    values["lesion"] = max(values["lesion"], 0.25)  # a lesion replaces air by tissue or fluid
    return Contrast(**values)


def draw_curve(
    rng: np.random.Generator, spread: ContrastRange = ContrastRange()
) -> tuple[np.ndarray, np.ndarray]:
    """A random tone curve for donors: knots and values of a piecewise linear map of 0..1.

    Air stays dark; above it half of the curves keep the order of tissues (gamma-like), the others
    draw each brightness anew, which turns a T1 donor into something like T2 or fat suppression.
    """
    knots = np.array([0.0, 0.08, 0.25, 0.42, 0.6, 0.8, 1.0])
    if spread.fraction_plain and rng.random() < spread.fraction_plain:
        return knots, knots ** rng.uniform(0.9, 1.1)
    if rng.random() < 0.6:
        values = knots ** rng.uniform(0.6, 1.6) + rng.normal(0, 0.05, knots.size)
    else:
        values = rng.uniform(0.25, 1.0, knots.size)
        values[2] = rng.uniform(0.2, 0.6)  # half air, half tissue: never the brightest
    values[0] = 0.0
    values[1] = rng.uniform(0.02, 0.1)
    return knots, np.clip(values, 0.0, 1.2)
