"""Where in the cube a sinus may be, and how the thresholds there are learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.errors import BadStore


@dataclass(frozen=True)
class ThresholdConfig:
    """How the threshold of each voxel of the cube is learnt from healthy validation sinuses.

    Only the region where healthy sinuses hold air is ever marked: orbit, cheek and nose differ from
    person to person and are not judged.
    One half of the patients gives the quantile of the residual at each voxel; on the other half each
    level is raised until a fraction of the sinuses shows no more than some ml: nearly all of them
    next to nothing for sinuses that are called normal, half of them little for those called anomalous.
    """

    quantile: float = 0.97
    """Quantile of the healthy sinuses' evidence that is a voxel's threshold, 0 to 1."""
    smoothing_mm: float = 2.0
    """Standard deviation of the Gaussian that smooths the thresholds, mm, 0 or more."""
    floor: float = 0.05
    """Lowest threshold: evidence below it is never called anomalous at level 1."""
    air_fraction: float = 0.5
    """Fraction of the healthy reconstructions with air in a voxel that makes it part of the region,
    0 to 1.
    """
    margin_mm: float = 3.0
    """Margin around the region, mm, 1 or more."""
    normal_fraction: float = 0.95
    """Fraction of healthy sinuses called normal that show at most `normal_ml`, 0 to 1."""
    normal_ml: float = 0.5
    """What they may show, ml."""
    anomalous_fraction: float = 0.5
    """Fraction of healthy sinuses called anomalous that show at most `anomalous_ml`, 0 to 1."""
    anomalous_ml: float = 1.0
    """What they may show, ml."""


def sinus_region(air: np.ndarray, rules: ThresholdConfig) -> np.ndarray:
    """Where a sinus may be: the part with air that holds the cube's centre, and a margin.

    Args:
        air: (n, n, n), mean `air_fraction` of healthy reconstructions.
        rules: the share that counts as air, and the margin.

    Raises:
        BadStore: there is no air in the middle of the cube.
    """
    parts, _ = ndimage.label(ndimage.binary_opening(air > rules.air_fraction, iterations=2))
    middle = parts[tuple(n // 2 for n in air.shape)]
    if middle == 0:
        raise BadStore("The healthy crops have no air in their middle: are they of sinuses?")
    return ndimage.binary_dilation(parts == middle, iterations=max(1, round(rules.margin_mm)))
