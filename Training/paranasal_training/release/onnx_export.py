"""A bundle's networks for ONNX Runtime, which runs them on the CPU without PyTorch.

The file takes its weights from those of the bundle (ONNX calls that external data), in float16, and
casts them to float32 when it is loaded: they are stored once. Batch normalisation is part of the
convolutions, whose weights are the bundle's, times one float32 factor for each channel.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from paranasal_training.release.config import AddOnnxConfig
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import sha256, write_json, write_whole
from ParanasalSSLLib.model.bundle_folder import CARD, FORMAT_VERSION, WEIGHTS
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.model.cpu_kernels import (
    Convolution3,
    Convolution5,
    FirstConvolution,
    LastConvolution,
)
from ParanasalSSLLib.model.onnx_networks import (
    CAE,
    CLASSIFIER,
    INPUT,
    SINUS,
    onnx_files,
    open_session,
)
from ParanasalSSLLib.model.resolution import CROP_VOXELS
from ParanasalSSLLib.model.torch_networks import TorchNetworks, ask, load_torch_networks
from ParanasalSSLLib.quiet import quietly

OPSET = 18
TOLERANCE = 1e-4  # greatest difference between the two programs' numbers, checked at export
OWN_CONVOLUTIONS = (Convolution3, Convolution5, FirstConvolution, LastConvolution)


class Span(NamedTuple):
    """Bytes of a file."""

    start: int
    length: int


def add_onnx(config: AddOnnxConfig) -> Path:
    """Write the networks for ONNX Runtime beside a bundle's weights, which stay as they are.

    Raises:
        BadBundle: the bundle is missing or damaged, or the two programs' numbers differ.
    """
    folder = config.bundle
    card, networks = read_card(folder), load_torch_networks(folder)
    stored, sums = spans(folder / WEIGHTS), {}
    for name in onnx_files(card):
        network, shape = network_of(networks, name), input_shape(card, name)
        export(network, shape, folder / name, own_spans(name, stored))
        sums[name] = sha256(folder / name)
    known = json.loads((folder / CARD).read_text(encoding="utf-8"))
    write_json(folder / CARD, known | {"format_version": FORMAT_VERSION, "onnx_sha256": sums})
    return folder


def network_of(networks: TorchNetworks, name: str) -> nn.Module:
    """The network of a bundle's file."""
    known = {CAE: networks.cae, CLASSIFIER: networks.classifier, SINUS: networks.sinus}
    network = known[name]
    assert network is not None
    return network


def input_shape(card: BundleCard, name: str) -> tuple[int, int, int, int, int]:
    """What its input looks like, for two crops."""
    channels, voxels = {
        CAE: (1, card.cae.voxels),
        CLASSIFIER: (card.classifier.channels, card.classifier.voxels),
        SINUS: (2, CROP_VOXELS),
    }[name]
    return (2, channels, voxels, voxels, voxels)


def export(
    network: nn.Module, shape: tuple[int, ...], path: Path, stored: Mapping[str, Span]
) -> None:
    """Write the ONNX file of a network; any number of crops goes in.

    Args:
        network: in evaluation mode, on the CPU.
        shape: of an input.
        path: beside the bundle's weights.
        stored: where each of the network's tensors lies in the weights, by its name in the network.

    Raises:
        BadBundle: ONNX Runtime's numbers are not PyTorch's.
    """
    crops = torch.from_numpy(np.random.default_rng(0).random(shape, np.float32))
    with quietly("torch.onnx"):  # which remarks on packages that are not needed
        program = torch.onnx.export(
            plain(network),
            (crops,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("count")},),
            input_names=[INPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    refer(model, network.state_dict(), stored)
    with write_whole(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    (found,) = open_session(path).run(None, {INPUT: crops.numpy()})
    difference = float(np.abs(found - ask(network, crops.numpy())).max())
    if not difference < TOLERANCE:
        raise BadBundle(
            f"{path}: ONNX Runtime's numbers differ from PyTorch's by {difference:.2g}."
        )


def plain(network: nn.Module) -> nn.Module:
    """A copy with PyTorch's own convolutions in place of `cpu_kernels`, which give the same numbers."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, OWN_CONVOLUTIONS):
            object.__setattr__(module, "__class__", nn.Conv3d)
    return network


def refer(model: onnx.ModelProto, state: Mapping[str, Tensor], stored: Mapping[str, Span]) -> None:
    """Take kernels and matrices from the bundle's weights, with nodes that make float32 of them.

    Vectors, which are short, stay in the file.

    Args:
        model: changed in place.
        state: the network's weights by name, before the exporter changed any.
        stored: see `export`.
    """
    nodes: list[NodeProto] = []
    for tensor in list(model.graph.initializer):
        name = tensor.name
        if name not in stored or len(tensor.dims) < 2:
            continue
        factor = _factor(numpy_helper.to_array(tensor), state[name].float().numpy())
        half, single = f"{name}.half", f"{name}.single"
        tensor.CopyFrom(_reference(half, tensor.dims, stored[name]))
        if factor is None:
            nodes.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
            continue
        model.graph.initializer.append(numpy_helper.from_array(factor, f"{name}.factor"))
        nodes.append(helper.make_node("Cast", [half], [single], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [single, f"{name}.factor"], [name]))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]  # lines of this program, with this machine's paths


def _reference(name: str, shape: Iterable[int], span: Span) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    where = {"location": WEIGHTS, "offset": str(span.start), "length": str(span.length)}
    for key, value in where.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _factor(values: np.ndarray, stored: np.ndarray) -> np.ndarray | None:
    """What the exporter multiplied each channel of the bundle's weights by; None where it did not."""
    if np.array_equal(stored, values):
        return None
    axes = tuple(range(1, values.ndim))
    squares = np.maximum((stored.astype(np.float64) ** 2).sum(axes, keepdims=True), 1e-30)
    factor = (stored * values.astype(np.float64)).sum(axes, keepdims=True) / squares
    return factor.astype(np.float32)


def spans(weights: Path) -> dict[str, Span]:
    """Where each tensor lies in a safetensors file (eight bytes of length, a JSON header, the data)."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {
        name: Span(
            8 + length + about["data_offsets"][0],
            about["data_offsets"][1] - about["data_offsets"][0],
        )
        for name, about in header.items()
        if name != "__metadata__"
    }


def own_spans(name: str, everything: Mapping[str, Span]) -> dict[str, Span]:
    """The tensors of a bundle's file, by their names in its network."""
    if name != SINUS:
        prefix = name.removesuffix("onnx")
        return {k.removeprefix(prefix): v for k, v in everything.items() if k.startswith(prefix)}
    found = {k: v for k, v in everything.items() if k.startswith("sinus.")}
    alone = not any(k.startswith("sinus.0.") for k in found)
    return {
        k.replace("sinus.", "members.0." if alone else "members.", 1): v for k, v in found.items()
    }
