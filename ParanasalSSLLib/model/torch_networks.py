"""A bundle's networks in PyTorch: for a GPU, for training, and for bundles of older formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.bundle_folder import (
    CARD,
    GET_ANOTHER,
    WEIGHTS,
    check_weights,
)
from ParanasalSSLLib.model.card import BundleCard, SinusReading, read_card
from ParanasalSSLLib.model.networks import CAE, Classifier, channels_last
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork

Network = TypeVar("Network", CAE, Classifier, SinusNetwork)


@dataclass(frozen=True, eq=False)
class TorchNetworks:
    """See `runtime.Networks`; all in evaluation mode, on `device`.

    sinus: None for a bundle without sinus networks.
    """

    cae: CAE
    classifier: Classifier
    sinus: SinusEnsemble | None = None
    device: str = "cpu"

    def rebuild(self, crops: np.ndarray) -> np.ndarray:
        """The autoencoder: (N, 1, D, D, D) -> reconstructions of the same shape."""
        return ask(self.cae, crops, self.device)

    def classify(self, images: np.ndarray) -> np.ndarray:
        """The classifier: (N, C, D, D, D) -> logits (N, 2) of clear and anomaly."""
        return ask(self.classifier, images, self.device)

    def outline(self, crops: np.ndarray) -> np.ndarray:
        """The sinus networks: (N, 2, 64, 64, 64) -> probabilities of cavity and opacity, likewise."""
        assert self.sinus is not None
        return ask(self.sinus, crops, self.device)

    def on(self, device: str) -> TorchNetworks:
        """The same on another device; takes no memory of the one that it leaves."""
        sinus = None
        if self.sinus is not None:
            sinus = SinusEnsemble([_copied(member, device) for member in self.sinus.members])
        return TorchNetworks(
            _copied(self.cae, device), _copied(self.classifier, device), sinus, device
        )


def ask(network: nn.Module, images: np.ndarray, device: str = "cpu") -> np.ndarray:
    """What a network, which is on `device`, makes of an array: float32."""
    with torch.inference_mode():
        answer: Tensor = network(torch.from_numpy(images).to(device))
    result: np.ndarray = answer.float().cpu().numpy()
    return result


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all, readable by whom the system lets read new files.

    Safetensors itself makes files that only their owner can read.
    """
    with write_whole(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(dict(tensors), temporary)
        temporary.chmod(mode)


# -------------------------------------------------------------------------------------- load


def load_torch_networks(
    folder: str | Path, card: BundleCard | None = None, device: str = "cpu"
) -> TorchNetworks:
    """The networks of a bundle, in evaluation mode.

    Args:
        folder: of the bundle.
        card: of the bundle, if it has been read.
        device: where to.

    Raises:
        BadBundle: missing, damaged, of another version, or weights that do not fit.
    """
    folder = Path(folder)
    card = card or read_card(folder)
    tensors = _read_weights(folder, card)
    cae, classifier = CAE(card.cae), Classifier(card.classifier)
    _fill(cae, "cae.", tensors, folder)
    _fill(classifier, "classifier.", tensors, folder)
    return TorchNetworks(
        _ready(cae, device),
        _ready(classifier, device),
        _sinus_networks(card.sinus, tensors, folder, device),
        device,
    )


def _sinus_networks(
    reading: SinusReading | None, tensors: dict[str, Tensor], folder: Path, device: str
) -> SinusEnsemble | None:
    if reading is None:
        return None
    members = [SinusNetwork(reading.network) for _ in range(reading.members)]
    alone = not any(name.startswith("sinus.0.") for name in tensors)
    for number, member in enumerate(members):
        _fill(member, "sinus." if alone else f"sinus.{number}.", tensors, folder)
    return SinusEnsemble([_ready(member, device) for member in members])


def _read_weights(folder: Path, card: BundleCard) -> dict[str, Tensor]:
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


def _copied(network: Network, device: str) -> Network:
    """A copy on `device`; filled there, since the device that the network is on may be full."""
    copy = _ready(type(network)(network.config), device)
    copy.load_state_dict(network.state_dict())
    return copy


def _ready(network: Network, device: str) -> Network:
    return channels_last(network.eval().to(device))
