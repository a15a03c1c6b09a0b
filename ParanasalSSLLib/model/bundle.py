"""A model: its networks and everything that is needed to use them; saved to a folder, and loaded.

What the folder holds is said in `bundle_folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.crop import CropConfig, SinusCrop
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import sha256, tupled, write_json, write_whole
from ParanasalSSLLib.model.bundle_folder import (
    CARD,
    FORMAT_VERSION,
    GET_ANOTHER,
    MODEL_CARD,
    WEIGHTS,
    check_weights,
    read_content,
)
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.masks import MaskConfig, mask_evidence, opacity_mask

if TYPE_CHECKING:
    from torch import Tensor

    from ParanasalSSLLib.model.encoders import EncoderConfig
    from ParanasalSSLLib.model.networks import CAE, CAEConfig, Classifier


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
        simulated: whether the training data was simulated.
        intended_use, licence: for people.
        training: how it was made: cohort, seeds, settings, metrics. No paths.
        weights_sha256: of `model.safetensors`; filled in when the bundle is saved.
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

    def __post_init__(self) -> None:
        if not 0 < self.decision_threshold < 1:
            raise ValueError("decision_threshold lies between 0 and 1")


@dataclass(frozen=True, eq=False)
class SinusScore:
    """What the networks say of one crop; arrays are (64, 64, 64) in the crop's grid.

    Attributes:
        probability: calibrated, 0..1.
        anomalous: probability >= the decision threshold.
        residual: float32, 0..1.
        reconstruction: float32, the healthy sinus that the autoencoder makes of the crop.
        opacity: bool, where the residual is above what healthy sinuses show.
    """

    probability: float
    anomalous: bool
    residual: np.ndarray
    reconstruction: np.ndarray
    opacity: np.ndarray


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded model, ready to score crops.

    Attributes:
        card: see there.
        cae, classifier: in evaluation mode, on `device`.
        residual_thresholds: float32 (64, 64, 64); infinite where no sinus lies.
        device: torch's name of it.
    """

    card: BundleCard
    cae: CAE
    classifier: Classifier
    residual_thresholds: np.ndarray
    device: str = "cpu"

    def on(self, device: str) -> Bundle:
        """The same model on another device; takes no memory of the one that it leaves."""
        if device == self.device:
            return self
        cae, classifier = (_copied(network, device) for network in (self.cae, self.classifier))
        return Bundle(self.card, cae, classifier, self.residual_thresholds, device)

    def analyse(self, crops: list[SinusCrop]) -> list[SinusScore]:
        """Score crops (both sinuses of a scan, say) in one pass.

        Raises:
            RuntimeError: the device's memory is too small ("out of memory" in its text).
        """
        import torch

        from ParanasalSSLLib.model.anomaly import logits_of, native_residuals
        from ParanasalSSLLib.model.resolution import CROP_VOXELS, at_voxels

        if not crops:
            return []
        stacked = torch.from_numpy(np.stack([crop.data for crop in crops])).unsqueeze(1)
        stacked = stacked.to(self.device)
        with torch.inference_mode():
            native, rebuilt = native_residuals(self.cae, stacked, self.card.residual)
            logits = logits_of(self.classifier, stacked, native)
            margins = (logits[:, 1] - logits[:, 0]).tolist()
            maps = [at_voxels(image, CROP_VOXELS).numpy()[:, 0] for image in (native, rebuilt)]
        return [self._score(*one) for one in zip(crops, *maps, margins, strict=True)]

    def _score(
        self, crop: SinusCrop, residual: np.ndarray, rebuilt: np.ndarray, margin: float
    ) -> SinusScore:
        card = self.card
        residual = residual * crop.inside
        probability = card.calibration.probability(margin)
        anomalous = probability >= card.decision_threshold
        evidence = mask_evidence(residual, rebuilt)
        opacity = opacity_mask(evidence, self.residual_thresholds, anomalous, card.mask)
        return SinusScore(probability, anomalous, residual, rebuilt, opacity)


def shipped_bundle_path() -> Path:
    """The bundle that comes with the library."""
    return Path(__file__).parents[1] / "bundles" / "compact"


# -------------------------------------------------------------------------------------- save


def save_bundle(bundle: Bundle, folder: str | Path, model_card: str | None = None) -> Path:
    """Write a bundle; `bundle.json` comes last, without it the folder is no bundle.

    Args:
        bundle: what to write; weights become float16.
        folder: where to; files of an older bundle there are replaced or, an old model card, removed.
        model_card: Markdown for people.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in _tensors(bundle)}
    thresholds = torch.from_numpy(bundle.residual_thresholds)
    tensors["residual_thresholds"] = thresholds.half().contiguous()
    for outdated in (CARD, MODEL_CARD):
        (folder / outdated).unlink(missing_ok=True)
    with write_whole(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    content = {
        "format_version": FORMAT_VERSION,
        **asdict(bundle.card),
        "weights_sha256": sha256(folder / WEIGHTS),
    }
    if model_card is not None:
        with write_whole(folder / MODEL_CARD) as temporary:
            temporary.write_text(model_card, encoding="utf-8")
    write_json(folder / CARD, content)
    return folder


def _tensors(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    for prefix, network in (("cae", bundle.cae), ("classifier", bundle.classifier)):
        for name, tensor in network.state_dict().items():
            # A counter that only training needs.
            if not name.endswith("num_batches_tracked"):
                yield f"{prefix}.{name}", tensor.cpu()


# -------------------------------------------------------------------------------------- load


def load_bundle(folder: str | Path, device: str = "cpu") -> Bundle:
    """Read and check a bundle.

    Args:
        folder: of the bundle.
        device: torch's name of the device on which it will run.

    Raises:
        BadBundle: missing, damaged, of another version, or weights that do not fit.
    """
    folder = Path(folder)
    card = read_card(folder)
    tensors = _read_weights(folder, card)
    from ParanasalSSLLib.model.networks import CAE, Classifier

    cae, classifier = CAE(card.cae), Classifier(card.classifier)
    thresholds = tensors.pop("residual_thresholds", None)
    if thresholds is None or tuple(thresholds.shape) != (card.crop.size_voxels,) * 3:
        raise BadBundle(f"{folder / WEIGHTS} has no residual thresholds. {GET_ANOTHER}")
    for prefix, network in (("cae.", cae), ("classifier.", classifier)):
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        _fill(network, own, folder)
    return Bundle(
        card,
        _ready(cae, device),
        _ready(classifier, device),
        thresholds.float().numpy(),
        device,
    )


def read_card(folder: str | Path) -> BundleCard:
    """The card of a bundle, without its weights. Raises `BadBundle`."""
    content = read_content(Path(folder))
    try:
        return _card_from(content)
    except (TypeError, ValueError, KeyError) as error:
        path = Path(folder) / CARD
        raise BadBundle(f"{path} is damaged ({error}). {GET_ANOTHER}") from error


def _card_from(content: dict[str, Any]) -> BundleCard:
    from ParanasalSSLLib.model.encoders import EncoderConfig
    from ParanasalSSLLib.model.networks import CAEConfig

    parts = {
        "cae": CAEConfig,
        "classifier": EncoderConfig,
        "crop": CropConfig,
        "residual": ResidualConfig,
        "mask": MaskConfig,
        "calibration": Calibration,
    }
    typed = {name: kind(**tupled(content[name])) for name, kind in parts.items()}
    return BundleCard(**content | typed)


def _read_weights(folder: Path, card: BundleCard) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    check_weights(folder, card.weights_sha256)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadBundle(f"{path} cannot be read. {GET_ANOTHER}") from error


def _fill(network: Any, tensors: dict[str, Tensor], folder: Path) -> None:
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = tensor
    try:
        network.load_state_dict({k: v.to(expected[k].dtype) for k, v in tensors.items()})
    except (RuntimeError, KeyError) as error:
        raise BadBundle(
            f"{folder / WEIGHTS} does not fit the architecture in {CARD}. {GET_ANOTHER}"
        ) from error


def _copied(network: Any, device: str) -> Any:
    """A copy on `device`; filled there, since the device that the network is on may be full."""
    copy = _ready(type(network)(network.config), device)
    copy.load_state_dict(network.state_dict())
    return copy


def _ready(network: Any, device: str) -> Any:
    from ParanasalSSLLib.model.networks import channels_last

    return channels_last(network.eval().to(device))
