"""A bundle's card: everything about a model but its weights, and its reading from `bundle.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ParanasalSSLLib.crop import CropConfig
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.model.bundle_folder import CARD, GET_ANOTHER, read_content
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.config import (
    CAEConfig,
    EncoderConfig,
    ResidualConfig,
    SinusNetworkConfig,
)
from ParanasalSSLLib.model.masks import MaskConfig


@dataclass(frozen=True)
class Repeatability:
    """How much the numbers of one sinus vary while its head lies otherwise, where it was measured.

    Attributes:
        cavity_percent, opacity_percent: standard deviation of the volumes, per cent of the volume.
        probability: standard deviation.
    """

    cavity_percent: float
    opacity_percent: float
    probability: float


@dataclass(frozen=True)
class SinusReading:
    """How a sinus is read by the network of cavity and filling, where a bundle has one.

    Attributes:
        network: architecture of each member.
        calibration: of the logit of `SinusMeasures.evidence`.
        members: networks whose probabilities are averaged, 1 or more.
        repeatability: of the numbers; None where it was not measured.
    """

    network: SinusNetworkConfig
    calibration: Calibration
    members: int = 1
    repeatability: Repeatability | None = None

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError("a sinus is read by one network or more")


@dataclass(frozen=True, eq=False)
class BundleCard:
    """Everything about a model but its weights.

    Attributes:
        name: short, for reports.
        version: of the model.
        cae, classifier: architectures.
        crop, residual, mask: what is done before and after the networks.
        calibration: of the classifier's logits.
        decision_threshold: calibrated probability from which a sinus is called anomalous.
        sinus: what decides and outlines in place of the classifier and the residual, if any.
        simulated: whether the training data was simulated.
        intended_use, licence: for people.
        training: how it was made: cohort, seeds, settings, metrics. No paths.
        weights_sha256: of `model.safetensors`; filled in when the bundle is saved.
        onnx_sha256: of each network for ONNX Runtime, by its file; empty where there is none.
    """

    name: str
    version: str
    cae: CAEConfig
    classifier: EncoderConfig
    crop: CropConfig
    residual: ResidualConfig
    mask: MaskConfig
    calibration: Calibration
    decision_threshold: float
    simulated: bool
    intended_use: str
    licence: str
    training: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    sinus: SinusReading | None = None
    onnx_sha256: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.decision_threshold < 1:
            raise ValueError("decision_threshold lies between 0 and 1")

    @property
    def is_trial(self) -> bool:
        """Whether what decides was trained for one epoch, as trials of a workflow are."""
        runs = (self.training.get(name, {}) for name in ("cae", "classifier"))
        return self.sinus is None and any(run.get("config", {}).get("epochs") == 1 for run in runs)


def read_card(folder: str | Path) -> BundleCard:
    """The card of a bundle, without its weights. Raises `BadBundle`."""
    content = read_content(Path(folder))
    try:
        return _card_from(content)
    except (TypeError, ValueError, KeyError) as error:
        path = Path(folder) / CARD
        raise BadBundle(f"{path} is damaged ({error}). {GET_ANOTHER}") from error


def _card_from(content: dict[str, Any]) -> BundleCard:
    parts = {
        "cae": CAEConfig,
        "classifier": EncoderConfig,
        "crop": CropConfig,
        "residual": ResidualConfig,
        "mask": MaskConfig,
        "calibration": Calibration,
    }
    typed = {name: kind(**tupled(content[name])) for name, kind in parts.items()}
    return BundleCard(**content | typed | {"sinus": _sinus_reading(content.get("sinus"))})


def _sinus_reading(content: Mapping[str, Any] | None) -> SinusReading | None:
    if content is None:
        return None
    network = SinusNetworkConfig(**tupled(content["network"]))
    calibration = Calibration(**content["calibration"])
    measured = content.get("repeatability")
    repeatability = None if measured is None else Repeatability(**measured)
    return SinusReading(network, calibration, content.get("members", 1), repeatability)
