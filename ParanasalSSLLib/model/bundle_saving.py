"""Writing a bundle: its weights and its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ParanasalSSLLib.files import sha256, write_json, write_whole
from ParanasalSSLLib.model.bundle import Bundle
from ParanasalSSLLib.model.bundle_folder import CARD, FORMAT_VERSION, MODEL_CARD, WEIGHTS
from ParanasalSSLLib.model.torch_networks import TorchNetworks, write_tensors


def save_bundle(bundle: Bundle, folder: str | Path, model_card: str | None = None) -> Path:
    """Write a bundle of PyTorch networks; `bundle.json` comes last, without it the folder is none.

    It holds nothing for ONNX Runtime: that is added by the training (`release.onnx_export`).

    Args:
        bundle: what to write, with `TorchNetworks`; weights become float16.
        folder: where to; files of an older bundle there are replaced or removed.
        model_card: Markdown for people.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in _tensors(bundle)}
    for outdated in (folder / CARD, folder / MODEL_CARD, *folder.glob("*.onnx")):
        outdated.unlink(missing_ok=True)
    write_tensors(tensors, folder / WEIGHTS)
    content = {
        "format_version": FORMAT_VERSION,
        **asdict(bundle.card),
        "weights_sha256": sha256(folder / WEIGHTS),
        "onnx_sha256": {},
    }
    if model_card is not None:
        with write_whole(folder / MODEL_CARD) as temporary:
            temporary.write_text(model_card, encoding="utf-8")
    write_json(folder / CARD, content)
    return folder


def _tensors(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    own = bundle.networks
    if not isinstance(own, TorchNetworks):
        raise TypeError("only a bundle of PyTorch networks can be saved")
    members = () if own.sinus is None else own.sinus.members
    networks: dict[str, nn.Module] = {"cae": own.cae, "classifier": own.classifier}
    networks |= {f"sinus.{number}": member for number, member in enumerate(members)}
    for prefix, network in networks.items():
        for name, tensor in network.state_dict().items():
            # A counter that only training needs.
            if not name.endswith("num_batches_tracked"):
                yield f"{prefix}.{name}", tensor.cpu()
    yield "residual_thresholds", torch.from_numpy(bundle.residual_thresholds)
