"""The maps of any crops of a store, with the lesions that they are judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.config import ThresholdConfig
from paranasal_training.evaluation.sinus_region import sinus_region
from paranasal_training.stages.residuals import CHUNK, residual_pairs
from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.masks import air_fraction, mask_evidence
from ParanasalSSLLib.model.networks import CAE
from ParanasalSSLLib.sinuses import KIND_NAMES

REGION_CROPS = 200  # healthy validation crops that show where a sinus is


@dataclass(frozen=True, eq=False)
class JudgedCrop:
    """maps: float32 (64, 64, 64) by name; lesion: bool, same shape; kind: name of the lesion."""

    row: int
    maps: dict[str, np.ndarray]
    rebuilt: np.ndarray
    lesion: np.ndarray
    kind: str


@dataclass(frozen=True, eq=False)
class MapSource:
    """Makes the maps of any rows of a store, a few crops in memory at a time."""

    store: CropStore
    lesions: np.ndarray
    network: CAE
    residual: ResidualConfig
    device: str

    def of(self, rows: np.ndarray, what: str) -> Iterator[JudgedCrop]:
        """The crops of rows, with their maps."""
        table = self.store.table
        kinds = table["true_class"] if "true_class" in table else table["class"]
        pairs = self._pairs(rows, self.residual)
        for row, (residual, rebuilt) in tqdm(zip(rows, pairs, strict=True), what, len(rows)):
            maps = {"residual": residual, "evidence": mask_evidence(residual, rebuilt)}
            kind = KIND_NAMES.get(kinds.iloc[row], "unknown")
            yield JudgedCrop(int(row), maps, rebuilt, self.lesions[row] > 0, kind)

    def has_lesion(self, rows: np.ndarray) -> np.ndarray:
        """bool (n,)"""
        return np.array([bool(self.lesions[row].any()) for row in rows])

    def region(self, rows: np.ndarray) -> np.ndarray:
        """bool (64, 64, 64): where the healthy ones among some rows expect a sinus."""
        healthy = rows[~self.has_lesion(rows)][:REGION_CROPS]
        shares = np.zeros(self.store.crops.shape[1:])
        for _, rebuilt in self._pairs(healthy, ResidualConfig(median_kernel_voxels=0)):
            shares += air_fraction(rebuilt)
        return sinus_region(shares / len(healthy), ThresholdConfig())

    def _pairs(
        self, rows: np.ndarray, config: ResidualConfig
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(rows), CHUNK):
            crops = self.store.crops[rows[start : start + CHUNK]]
            yield from residual_pairs(self.network, crops, config, self.device)
