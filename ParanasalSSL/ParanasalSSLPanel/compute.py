"""The library behind the one interface that the panel's logic knows.

`InProcess` computes inside Slicer. Whatever takes its place (a separate process, a fake in a test)
offers the same two methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes import SinusBox
    from ParanasalSSLLib.bundle import Bundle
    from ParanasalSSLLib.localize import Localization
    from ParanasalSSLLib.predict import ScanResult
    from ParanasalSSLLib.progress import Progress
    from ParanasalSSLLib.quality import Quality
    from ParanasalSSLLib.volume import Volume

ProgressSink = Callable[["Progress"], None]


@dataclass(frozen=True)
class SinusFinding:
    """The numbers of one sinus: calibrated probability 0..1, decision, marked volume."""

    probability: float
    anomalous: bool
    anomalyMl: float


@dataclass(frozen=True, eq=False)
class Findings:
    """What a run found, in the scan's own grid.

    Attributes:
        residual: float32 (I, J, K), 0..1, 0 outside the boxes.
        masks: per side, bool (I, J, K): residual above what healthy sinuses show.
        sinuses: per side, the numbers.
        notices: sentences that must stand beside the numbers.
    """

    residual: np.ndarray
    masks: Mapping[Side, np.ndarray]
    sinuses: Mapping[Side, SinusFinding]
    notices: tuple[str, ...]


class Computation(Protocol):
    """What the panel needs computed. Both methods raise `ParanasalError`s."""

    def localize(self, volume: Volume) -> Localization:
        """Boxes by registration, with their quality."""
        ...

    def score(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        progress: ProgressSink,
    ) -> Findings:
        """Score the sinuses in `boxes` (one or both sides)."""
        ...


class InProcess:
    """Computes inside Slicer; the model stays loaded between runs."""

    def __init__(self, bundleFolder: Path | None = None, device: str = "auto") -> None:
        self._bundleFolder = bundleFolder
        self._device = device
        self._bundle: Bundle | None = None

    def localize(self, volume: Volume) -> Localization:
        from ParanasalSSLLib.localize import localize

        return localize(volume)

    def score(
        self,
        volume: Volume,
        boxes: Mapping[Side, SinusBox],
        quality: Quality,
        progress: ProgressSink,
    ) -> Findings:
        from ParanasalSSLLib.predict import FoundSinuses, score_sinuses

        bundle = self._loadedBundle()
        result = score_sinuses(FoundSinuses(volume, boxes, quality), bundle, progress)
        return findingsOf(result, simulatedModel=bundle.card.simulated)

    def _loadedBundle(self) -> Bundle:
        if self._bundle is None:
            from ParanasalSSLLib.bundle import load_bundle, shipped_bundle_path
            from ParanasalSSLLib.predict import resolve_device

            folder = self._bundleFolder or shipped_bundle_path()
            self._bundle = load_bundle(folder, resolve_device(self._device))
        return self._bundle


def findingsOf(result: ScanResult, simulatedModel: bool) -> Findings:
    """The library's result, laid out in the scan's grid as its files are."""
    from ParanasalSSLLib.outputs import (
        RESEARCH_USE,
        SEGMENT_LABELS,
        SIMULATED_MODEL,
        PastedRegion,
    )

    region = PastedRegion.of(result)
    residual = np.zeros(result.volume.shape, np.float32)
    labels = np.zeros(result.volume.shape, np.uint8)
    residual[region.window] = region.residual
    labels[region.window] = region.labels
    return Findings(
        residual=residual,
        masks={side: labels == SEGMENT_LABELS[side] for side in result.sinuses},
        sinuses={
            side: SinusFinding(sinus.probability, sinus.anomalous, sinus.anomaly_ml)
            for side, sinus in result.sinuses.items()
        },
        notices=(RESEARCH_USE, SIMULATED_MODEL) if simulatedModel else (RESEARCH_USE,),
    )
