"""Where in the cube a sinus may be, and how the thresholds there are learnt."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from paranasal_training.evaluation.config import ThresholdConfig
from ParanasalSSLLib.errors import BadStore


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
        raise BadStore(
            "Healthy sinuses show no air in their middle. Where the crops are of sinuses, the "
            "autoencoder has learnt too little to rebuild them: train it for longer."
        )
    return ndimage.binary_dilation(parts == middle, iterations=max(1, round(rules.margin_mm)))
