"""Residuals measured by what healthy sinuses show, so that anomalies remain and edges go.

The plain residual |x - x'| is largest along every edge that the autoencoder blurs, in healthy
sinuses as well. Divided by what held-out healthy sinuses show at the same voxel, it keeps what is
unusual there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from paranasal_training.evaluation.config import ThresholdConfig
from paranasal_training.evaluation.sinus_region import sinus_region
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.model.masks import air_fraction

QUANTILE = 0.95
LEAST = 0.02  # residuals below it are noise everywhere
PARTS = 5  # of the healthy patients; each part is measured by the others


@dataclass(frozen=True, eq=False)
class HealthyResiduals:
    """What held-out healthy sinuses show.

    Attributes:
        quantiles: float32 (PARTS + 1, D, D, D), 95 % quantile of each voxel without one part of the
            patients; the last of all of them.
        region: bool (D, D, D), where sinuses lie.
        part_of: the part that a healthy patient is in.
    """

    quantiles: np.ndarray
    region: np.ndarray
    part_of: dict[str, int]

    def calibrated(self, residuals: np.ndarray, patients: np.ndarray) -> np.ndarray:
        """clip(residual / quantile - 1, 0, 1) where sinuses lie, 0 elsewhere.

        A patient who helped to learn the quantiles is measured by those of the others.

        Args:
            residuals: float (n, D, D, D), 0..1.
            patients: (n,) names.
        """
        numbers = [self.part_of.get(str(patient), len(self.quantiles) - 1) for patient in patients]
        measured = residuals / self.quantiles[numbers] - 1
        return np.clip(measured, 0, 1).astype(np.float32) * self.region


def learn_healthy(
    residuals: np.ndarray, crops: np.ndarray, patients: np.ndarray
) -> HealthyResiduals:
    """Quantiles and region from healthy sinuses that the autoencoder did not learn from.

    Args:
        residuals, crops: float (n, D, D, D), 0..1.
        patients: (n,) names.

    Raises:
        BadStore: of fewer than two patients.
    """
    names = np.unique(patients)
    if len(names) < 2:
        raise BadStore(
            f"Healthy sinuses of {len(names)} held-out patients cannot calibrate residuals: two or "
            "more are needed in the validation part."
        )
    part_of = {str(name): number % min(PARTS, len(names)) for number, name in enumerate(names)}
    part = np.array([part_of[str(patient)] for patient in patients])
    chosen = [part != number for number in range(min(PARTS, len(names)))] + [part >= 0]
    quantiles = np.stack([np.quantile(residuals[of], QUANTILE, axis=0) for of in chosen])
    air = np.mean([air_fraction(image) for image in crops], axis=0)
    rules = ThresholdConfig(margin_mm=3.0 * air.shape[0] / 64)  # the region grows by voxels
    region = sinus_region(air, rules)
    return HealthyResiduals(np.maximum(quantiles, LEAST).astype(np.float32), region, part_of)
