"""What runs a bundle's networks has to offer."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Networks(Protocol):
    """A bundle's networks, whatever runs them; all arrays are float32.

    PyTorch (`torch_networks`) runs them on any device, ONNX Runtime (`onnx_networks`) on the CPU.
    """

    @property
    def device(self) -> str:
        """PyTorch's name of where they run."""
        ...

    def rebuild(self, crops: np.ndarray) -> np.ndarray:
        """The autoencoder: (N, 1, D, D, D) -> reconstructions of the same shape."""
        ...

    def classify(self, images: np.ndarray) -> np.ndarray:
        """The classifier: (N, C, D, D, D) -> logits (N, 2) of clear and anomaly."""
        ...

    def outline(self, crops: np.ndarray) -> np.ndarray:
        """The sinus networks: (N, 2, 64, 64, 64) -> probabilities of cavity and opacity, likewise."""
        ...

    def on(self, device: str) -> Networks:
        """The same on another device."""
        ...
