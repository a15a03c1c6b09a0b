"""A model, ready to score crops: its networks and everything that is needed to use them.

What the folder of a bundle holds is said in `bundle_folder`. Importing this loads neither PyTorch nor
ONNX Runtime: `load_bundle` takes the one that the device needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.model.bundle_folder import read_thresholds
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.model.masks import mask_evidence, opacity_mask
from ParanasalSSLLib.model.opacity import SinusMeasures, measure_sinus
from ParanasalSSLLib.model.residual import residual_maps
from ParanasalSSLLib.model.resolution import CROP_VOXELS, at_voxels
from ParanasalSSLLib.model.runtime import Networks


@dataclass(frozen=True, eq=False)
class SinusScore:
    """What the networks say of one crop; arrays are (64, 64, 64) in the crop's grid.

    Attributes:
        probability: calibrated, 0..1.
        anomalous: probability >= the decision threshold.
        residual: float32, 0..1.
        reconstruction: float32, the healthy sinus that the autoencoder makes of the crop.
        opacity: bool, what fills the sinus: where the sinus networks say so, or else where the
            residual is above what healthy sinuses show.
        measures: of the sinus networks; None for a bundle without them.
    """

    probability: float
    anomalous: bool
    residual: np.ndarray
    reconstruction: np.ndarray
    opacity: np.ndarray
    measures: SinusMeasures | None = None


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded model, ready to score crops.

    Attributes:
        card: see there.
        networks: see there.
        residual_thresholds: float32 (64, 64, 64); infinite where no sinus lies.
    """

    card: BundleCard
    networks: Networks
    residual_thresholds: np.ndarray

    @property
    def device(self) -> str:
        """PyTorch's name of where the networks run."""
        return self.networks.device

    def on(self, device: str) -> Bundle:
        """The same model on another device; takes no memory of the one that it leaves."""
        return self if device == self.device else replace(self, networks=self.networks.on(device))

    def measure(self, crops: Sequence[SinusCrop]) -> list[SinusMeasures | None]:
        """What the sinus networks say of crops; None of each for a bundle without them.

        Of two crops of different sides, each sees the other.

        Raises:
            RuntimeError: the device's memory is too small ("out of memory" in its text).
        """
        if self.card.sinus is None or not crops:
            return [None] * len(crops)
        return [*measure_crops(self.networks.outline, crops)]

    def analyse(
        self,
        crops: Sequence[SinusCrop],
        measures: Sequence[SinusMeasures | None] | None = None,
    ) -> list[SinusScore]:
        """Score crops in one pass. Raises `RuntimeError`: see `measure`.

        measures: of these crops, where they are known already.
        """
        if not crops:
            return []
        measures = self.measure(crops) if measures is None else measures
        stacked = stack(crops)
        given = at_voxels(stacked, self.card.cae.voxels)
        rebuilt = self.networks.rebuild(given)
        residual = residual_maps(given, rebuilt, self.card.residual)
        maps = [at_voxels(image, CROP_VOXELS)[:, 0] for image in (residual, rebuilt)]
        margins = [one.margin for one in measures if one is not None]
        if not margins:  # else the classifier would have no say
            margins = self._margins(stacked, residual)
        return [self._score(*one) for one in zip(crops, *maps, margins, measures, strict=True)]

    def _margins(self, crops: np.ndarray, residual: np.ndarray) -> list[float]:
        """Of the classifier's logits; each input is brought to the classifier's voxels."""
        config = self.card.classifier
        seen = [crops, residual][: config.channels]
        images = np.concatenate([at_voxels(image, config.voxels) for image in seen], axis=1)
        logits = self.networks.classify(images)
        return [float(margin) for margin in logits[:, 1] - logits[:, 0]]

    def _score(
        self,
        crop: SinusCrop,
        residual: np.ndarray,
        rebuilt: np.ndarray,
        margin: float,
        measures: SinusMeasures | None,
    ) -> SinusScore:
        card = self.card
        residual = residual * crop.inside
        calibration = card.calibration if card.sinus is None else card.sinus.calibration
        probability = calibration.probability(margin)
        anomalous = probability >= card.decision_threshold
        if measures is not None:
            return SinusScore(probability, anomalous, residual, rebuilt, measures.opacity, measures)
        evidence = mask_evidence(residual, rebuilt)
        opacity = opacity_mask(evidence, self.residual_thresholds, anomalous, card.mask)
        return SinusScore(probability, anomalous, residual, rebuilt, opacity)


def stack(crops: Sequence[SinusCrop]) -> np.ndarray:
    """The data of crops as networks take it, float32 (N, 1, 64, 64, 64)."""
    return np.stack([crop.data for crop in crops])[:, None]


def measure_crops(
    outline: Callable[[np.ndarray], np.ndarray], crops: Sequence[SinusCrop]
) -> list[SinusMeasures]:
    """What fills each crop; of two crops of different sides, each sees the other.

    Args:
        outline: see `Networks`.
        crops: of 64 voxels.
    """
    stacked = stack(crops)
    both = len(crops) == 2 and crops[0].side != crops[1].side
    other = stacked[::-1] if both else np.zeros_like(stacked)
    maps = outline(np.concatenate([stacked, other], axis=1))
    return [
        measure_sinus(cavity, opacity, crop.inside, crop.spacing_mm[0])
        for crop, (cavity, opacity) in zip(crops, maps, strict=True)
    ]


def shipped_bundle_path() -> Path:
    """The bundle that comes with the library."""
    return Path(__file__).parents[1] / "bundles" / "compact"


def load_bundle(folder: str | Path, device: str = "cpu") -> Bundle:
    """Read and check a bundle: ONNX Runtime runs it on the CPU, PyTorch on any other device.

    An older bundle, which holds no networks for ONNX Runtime, needs PyTorch on the CPU too.

    Args:
        folder: of the bundle.
        device: PyTorch's name of the device on which it will run.

    Raises:
        BadBundle: missing, damaged, of another version, or weights that do not fit.
        MissingPackage: PyTorch is needed and not installed.
    """
    folder = Path(folder)
    card = read_card(folder)
    thresholds = read_thresholds(folder, card.weights_sha256, card.crop.size_voxels)
    return Bundle(card, _load_networks(folder, card, device), thresholds)


def _load_networks(folder: Path, card: BundleCard, device: str) -> Networks:
    if device == "cpu" and card.onnx_sha256:
        from ParanasalSSLLib.model.onnx_networks import load_onnx_networks

        return load_onnx_networks(folder, card)
    from ParanasalSSLLib.devices import require_torch

    require_torch(f"The model in {folder}" if device == "cpu" else f"The device {device}")
    from ParanasalSSLLib.model.torch_networks import load_torch_networks

    return load_torch_networks(folder, card, device)
