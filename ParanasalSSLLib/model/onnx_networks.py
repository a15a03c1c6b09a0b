"""A bundle's networks in ONNX Runtime, on the CPU: no PyTorch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.devices import cpu_threads
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.model.bundle_folder import CARD, GET_ANOTHER, checked_bytes
from ParanasalSSLLib.model.card import BundleCard

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from ParanasalSSLLib.model.runtime import Networks

CAE, CLASSIFIER, SINUS = "cae.onnx", "classifier.onnx", "sinus.onnx"  # a bundle's files
INPUT = "crops"


@dataclass(frozen=True, eq=False)
class OnnxNetworks:
    """See `bundle.Networks`. A bundle whose sinus networks decide has no session of the classifier.

    sessions: by the bundle's file.
    """

    sessions: dict[str, InferenceSession]
    device: str = "cpu"

    def rebuild(self, crops: np.ndarray) -> np.ndarray:
        """The autoencoder: (N, 1, D, D, D) -> reconstructions of the same shape."""
        return self._run(CAE, crops)

    def classify(self, images: np.ndarray) -> np.ndarray:
        """The classifier: (N, C, D, D, D) -> logits (N, 2) of clear and anomaly."""
        return self._run(CLASSIFIER, images)

    def outline(self, crops: np.ndarray) -> np.ndarray:
        """The sinus networks: (N, 2, 64, 64, 64) -> probabilities of cavity and opacity, likewise."""
        return self._run(SINUS, crops)

    def on(self, device: str) -> Networks:
        """Itself: the CPU is all there is. Raises `ValueError` for another device."""
        if device != self.device:
            raise ValueError(f"ONNX Runtime runs on the CPU here, not on {device}")
        return self

    def _run(self, name: str, images: np.ndarray) -> np.ndarray:
        """One image after another: as fast as all at once, in less memory."""
        run = self.sessions[name].run
        return np.concatenate([run(None, {INPUT: image[None]})[0] for image in images])


def onnx_files(card: BundleCard) -> tuple[str, ...]:
    """The files that a bundle of this card needs to run in ONNX Runtime."""
    return (CAE, CLASSIFIER if card.sinus is None else SINUS)


def load_onnx_networks(folder: Path, card: BundleCard) -> OnnxNetworks:
    """The networks of a bundle. Raises `BadBundle`: files are missing, damaged or of other content."""
    sessions = {}
    for name in onnx_files(card):
        if name not in card.onnx_sha256:
            raise BadBundle(f"{folder / CARD} does not know of {name}. {GET_ANOTHER}")
        checked_bytes(folder / name, card.onnx_sha256[name])
        sessions[name] = open_session(folder / name)
    return OnnxNetworks(sessions)


def open_session(path: Path) -> InferenceSession:
    """A network of a bundle; its weights lie beside it. Raises `BadBundle`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    options.log_severity_level = 3  # errors
    # Threads that wait by turning in circles cost whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it would keep the largest maps between scans
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no class in common
        raise BadBundle(f"{path} cannot be read by ONNX Runtime. {GET_ANOTHER}") from error
