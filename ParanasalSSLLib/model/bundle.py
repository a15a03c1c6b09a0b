"""A model: its networks and everything that is needed to use them; saved to a folder, and loaded.

What the folder holds is said in `bundle_folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import sha256, write_json, write_whole
from ParanasalSSLLib.model.bundle_folder import (
    CARD,
    FORMAT_VERSION,
    GET_ANOTHER,
    MODEL_CARD,
    WEIGHTS,
    check_weights,
)
from ParanasalSSLLib.model.card import BundleCard, SinusReading, read_card
from ParanasalSSLLib.model.masks import mask_evidence, opacity_mask
from ParanasalSSLLib.model.opacity import SinusMeasures

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ParanasalSSLLib.model.networks import CAE, Classifier
    from ParanasalSSLLib.model.sinus_network import SinusEnsemble


@dataclass(frozen=True, eq=False)
class SinusScore:
    """What the networks say of one crop; arrays are (64, 64, 64) in the crop's grid.

    Attributes:
        probability: calibrated, 0..1.
        anomalous: probability >= the decision threshold.
        residual: float32, 0..1.
        reconstruction: float32, the healthy sinus that the autoencoder makes of the crop.
        opacity: bool, what fills the sinus: where the sinus network says so, or else where the
            residual is above what healthy sinuses show.
        measures: of the sinus network; None for a bundle without one.
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
        cae, classifier: in evaluation mode, on `device`.
        residual_thresholds: float32 (64, 64, 64); infinite where no sinus lies.
        device: torch's name of it.
        sinus: the sinus networks, in evaluation mode, on `device`; None for a bundle without any.
    """

    card: BundleCard
    cae: CAE
    classifier: Classifier
    residual_thresholds: np.ndarray
    device: str = "cpu"
    sinus: SinusEnsemble | None = None

    def on(self, device: str) -> Bundle:
        """The same model on another device; takes no memory of the one that it leaves."""
        if device == self.device:
            return self
        cae, classifier = (_copied(network, device) for network in (self.cae, self.classifier))
        sinus = None
        if self.sinus is not None:
            from ParanasalSSLLib.model.sinus_network import SinusEnsemble

            sinus = SinusEnsemble([_copied(member, device) for member in self.sinus.members])
        return Bundle(self.card, cae, classifier, self.residual_thresholds, device, sinus)

    def analyse(self, crops: list[SinusCrop]) -> list[SinusScore]:
        """Score crops in one pass; of two crops of different sides, each sees the other.

        Raises:
            RuntimeError: the device's memory is too small ("out of memory" in its text).
        """
        import torch

        from ParanasalSSLLib.model.anomaly import logits_of, native_residuals
        from ParanasalSSLLib.model.resolution import CROP_VOXELS, at_voxels
        from ParanasalSSLLib.model.sinus_network import measure_crops

        if not crops:
            return []
        stacked = torch.from_numpy(np.stack([crop.data for crop in crops])).unsqueeze(1)
        stacked = stacked.to(self.device)
        with torch.inference_mode():
            native, rebuilt = native_residuals(self.cae, stacked, self.card.residual)
            maps = [at_voxels(image, CROP_VOXELS).numpy()[:, 0] for image in (native, rebuilt)]
            measures: Sequence[SinusMeasures | None] = [None] * len(crops)
            if self.sinus is None:
                logits = logits_of(self.classifier, stacked, native)
                margins = (logits[:, 1] - logits[:, 0]).tolist()
            else:  # the classifier would have no say
                measures = measured = measure_crops(self.sinus, crops, stacked)
                margins = [one.margin for one in measured]
        return [self._score(*one) for one in zip(crops, *maps, margins, measures, strict=True)]

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
    members = () if bundle.sinus is None else bundle.sinus.members
    networks: dict[str, nn.Module] = {"cae": bundle.cae, "classifier": bundle.classifier}
    networks |= {f"sinus.{number}": member for number, member in enumerate(members)}
    for prefix, network in networks.items():
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
    _fill(cae, "cae.", tensors, folder)
    _fill(classifier, "classifier.", tensors, folder)
    return Bundle(
        card,
        _ready(cae, device),
        _ready(classifier, device),
        thresholds.float().numpy(),
        device,
        _sinus_networks(card.sinus, tensors, folder, device),
    )


def _sinus_networks(
    reading: SinusReading | None, tensors: dict[str, Tensor], folder: Path, device: str
) -> SinusEnsemble | None:
    if reading is None:
        return None
    from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork

    members = [SinusNetwork(reading.network) for _ in range(reading.members)]
    alone = not any(name.startswith("sinus.0.") for name in tensors)
    for number, member in enumerate(members):
        _fill(member, "sinus." if alone else f"sinus.{number}.", tensors, folder)
    return SinusEnsemble([_ready(member, device) for member in members])


def _read_weights(folder: Path, card: BundleCard) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    check_weights(folder, card.weights_sha256)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadBundle(f"{path} cannot be read. {GET_ANOTHER}") from error


def _fill(network: nn.Module, prefix: str, tensors: dict[str, Tensor], folder: Path) -> None:
    """Give a network the tensors of this prefix. Raises `BadBundle` if they are not its own."""
    expected = network.state_dict()
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            own[name] = tensor
    try:
        network.load_state_dict({k: v.to(expected[k].dtype) for k, v in own.items()})
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
