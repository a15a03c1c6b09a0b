"""Masks: where in a sinus the residual is too much, which is what fills it (its opacity).

A plain residual lights up along every edge that the autoencoder blurs. A mask is therefore made with
one threshold for each voxel of the cube, learnt from healthy sinuses
(`paranasal_training.release.bundling`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ParanasalSSLLib.model.residual import parts_larger_than


@dataclass(frozen=True)
class MaskConfig:
    """From residual maps to masks of opacities.

    level_normal: factor on the thresholds in a sinus that the classifier calls normal; calibrated so
        that healthy sinuses stay (almost) empty.
    level_anomalous: the same in one that it calls anomalous, where the whole extent is wanted; lower.
    minimum_part_voxels: smaller connected parts (6 neighbours) are dropped as noise.
    """

    level_normal: float = 2.0
    level_anomalous: float = 1.4
    minimum_part_voxels: int = 200

    def __post_init__(self) -> None:
        if not 0 < self.level_anomalous <= self.level_normal:
            raise ValueError("level_anomalous is above 0 and at most level_normal")
        if self.minimum_part_voxels < 0:
            raise ValueError("minimum_part_voxels is 0 or more")


def mask_evidence(residual: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """The residual, counted double where the healthy sinus would hold air.

    Something in the air is an anomaly; tissue also differs from person to person.

    Args:
        residual: (n, n, n), from `residual_map`.
        reconstruction: of the same shape.
    """
    return residual * (1 + air_fraction(reconstruction))


def air_fraction(image: np.ndarray) -> np.ndarray:
    """How surely each voxel is air: 1 up to a quarter of bright tissue's signal, 0 from a half on."""
    tissue = max(float(np.percentile(image, 80)), 1e-3)
    return np.clip((0.5 - image / tissue) / 0.25, 0, 1).astype(np.float32)


def opacity_mask(
    evidence: np.ndarray,
    thresholds: np.ndarray,
    anomalous: bool,
    config: MaskConfig = MaskConfig(),
) -> np.ndarray:
    """Where the residual is above what healthy sinuses show.

    Args:
        evidence: (n, n, n), from `mask_evidence`.
        thresholds: (n, n, n), what healthy sinuses show at each voxel; infinite where no sinus lies.
        anomalous: what the classifier says of the sinus.
        config: levels and smallest part.

    Returns:
        bool (n, n, n).
    """
    level = config.level_anomalous if anomalous else config.level_normal
    return parts_larger_than(evidence > level * thresholds, config.minimum_part_voxels - 1)
