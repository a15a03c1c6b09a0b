"""A model as a folder, as far as it can be looked at without its networks (and without torch).

- `model.safetensors`: all tensors, float16: `cae.*`, `classifier.*`, `residual_thresholds` and, from
  format version 2 on, where the bundle has sinus networks, `sinus.0.*`, `sinus.1.*` and so on
  (`sinus.*` where there was one only).
- `cae.onnx` and `sinus.onnx` (`classifier.onnx` in a bundle without sinus networks), from format
  version 3 on: the networks for ONNX Runtime, which take their weights from `model.safetensors` and
  compute in float32.
- `bundle.json`: the `BundleCard`, with the SHA-256 of all these. None of them can execute anything
  when it is loaded.
- `README.md`: the model card, for people.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ParanasalSSLLib.errors import BadBundle

FORMAT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
THRESHOLDS = "residual_thresholds"
WEIGHTS, CARD, MODEL_CARD = "model.safetensors", "bundle.json", "README.md"
GET_ANOTHER = "Get the bundle again, or choose another one."


@dataclass(frozen=True)
class BundleSummary:
    """What people want to know of a bundle before they use it.

    weights_sha256: of `model.safetensors`, as the card has it; `check_bundle` compares it
    model_card: Markdown
    """

    name: str
    version: str
    simulated: bool
    intended_use: str
    licence: str
    weights_sha256: str
    model_card: str


def check_bundle(folder: str | Path) -> None:
    """Compare a bundle's networks with their SHA-256; loads no torch.

    Raises:
        BadBundle: missing, damaged or of another version.
    """
    folder = Path(folder)
    content = read_content(folder)
    check_weights(folder, str(content.get("weights_sha256")))
    for name, expected in content.get("onnx_sha256", {}).items():
        checked_bytes(folder / name, expected)


def describe_bundle(folder: str | Path) -> BundleSummary:
    """Say what a bundle is, without looking at its weights; loads no torch.

    Raises:
        BadBundle: missing, damaged or of another version.
    """
    folder = Path(folder)
    content = read_content(folder)
    model_card = folder / MODEL_CARD
    names = ("name", "version", "intended_use", "licence", "weights_sha256")
    try:
        facts = {name: str(content[name]) for name in names}
        text = model_card.read_text(encoding="utf-8") if model_card.is_file() else ""
        return BundleSummary(**facts, simulated=bool(content["simulated"]), model_card=text)
    except (KeyError, ValueError, OSError) as error:
        raise BadBundle(f"{folder / CARD} is damaged ({error}). {GET_ANOTHER}") from error


def read_content(folder: Path) -> dict[str, Any]:
    """`bundle.json` of this version, without the version."""
    path = folder / CARD
    if not path.is_file():
        raise BadBundle(f"{folder} is no model bundle ({CARD} is missing). Check the path.")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format_version")
    except (ValueError, KeyError, AttributeError) as error:
        raise BadBundle(f"{path} is damaged. {GET_ANOTHER}") from error
    if version not in READABLE_VERSIONS:
        raise BadBundle(
            f"{path} has format version {version}; this program reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. Update the "
            "program, or get a bundle of this version."
        )
    return content


def check_weights(folder: Path, expected: str) -> None:
    """Compare the weights with their SHA-256. Raises `BadBundle`."""
    checked_bytes(folder / WEIGHTS, expected)


def checked_bytes(path: Path, expected: str) -> bytes:
    """The content of a file of this SHA-256. Raises `BadBundle`."""
    if not path.is_file():
        raise BadBundle(f"{path} is missing. {GET_ANOTHER}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise BadBundle(
            f"{path} is damaged or belongs to another bundle: its SHA-256 is not the one in {CARD}. "
            f"{GET_ANOTHER}"
        )
    return content


def read_thresholds(folder: Path, weights_sha256: str, edge: int) -> np.ndarray:
    """The residual's thresholds, float32 (edge, edge, edge), of a bundle's weights.

    Raises:
        BadBundle: the weights are damaged, or hold none of this edge.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    check_weights(folder, weights_sha256)
    try:
        with safe_open(path, "numpy") as tensors:
            found = tensors.get_tensor(THRESHOLDS) if THRESHOLDS in set(tensors.keys()) else None
    except SafetensorError as error:
        raise BadBundle(f"{path} cannot be read. {GET_ANOTHER}") from error
    if found is None or found.shape != (edge,) * 3:
        raise BadBundle(f"{path} has no residual thresholds. {GET_ANOTHER}")
    thresholds: np.ndarray = found.astype(np.float32)
    return thresholds
