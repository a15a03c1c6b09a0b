"""Transfer: the encoder of MedicalNet (Chen et al. 2019), trained to segment 23 data sets.

The user supplies `resnet_18_23dataset.pth` (github.com/Tencent/MedicalNet): a pickle, of which
nothing but tensors is read. MedicalNet dilates its last two stages where this encoder halves its maps;
the weights are the same. (`weights` takes an encoder of any other source.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paranasal_training.methods import Method
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.model.config import FULL_WIDTHS, EncoderConfig

NEEDED = "MedicalNet's resnet_18_23dataset.pth is needed (github.com/Tencent/MedicalNet)"
_PREFIX = "module."
_SEGMENTATION_HEAD = "conv_seg."
_STAGES = ("layer1", "layer2", "layer3", "layer4")
# By blocks of the four stages, and whether they are bottlenecks.
_DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((1, 1, 1, 1), False): 10,
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
    ((3, 24, 36, 3), True): 200,
}


@dataclass(frozen=True)
class Options:
    """What the transfer needs."""

    file: str = ""
    """Path of MedicalNet's weights, resnet_18_23dataset.pth."""

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not self.file:
            raise ValueError(f"file is a path, not {self.file!r}; {NEEDED}")


class Task(Method):
    """An encoder with MedicalNet's weights; nothing is learnt.

    Raises:
        BadConfig: the encoder has other widths, shortcuts or channels than MedicalNet.
        BadCheckpoint: the file is missing, damaged, or holds other weights.
    """

    learns = False

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        _check_encoder(config, options.file)
        weights = medicalnet_weights(Path(options.file))
        super().__init__(config, options)
        _check_fit(options.file, weights, self.encoder.state_dict())
        self.encoder.load_state_dict(weights)


def medicalnet_weights(file: Path) -> dict[str, Tensor]:
    """The encoder's weights in a file of MedicalNet's layout, by the encoder's own names.

    The layout: {"state_dict": {"module.conv1.weight": ..., "module.conv_seg.0.weight": ..., ...}}.

    Raises:
        BadCheckpoint: missing, damaged, or of another layout.
    """
    if not file.is_file():
        raise BadCheckpoint(f"{file}: there is no such file. {NEEDED}.")
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise BadCheckpoint(
            f"{file} is no file of weights, is damaged, or holds code, which is never run. {NEEDED}."
        ) from error
    weights = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(map(torch.is_tensor, weights.values())):
        raise BadCheckpoint(f"{file} holds no weights under `state_dict`. {NEEDED}.")
    named = {str(name).removeprefix(_PREFIX): value for name, value in weights.items()}
    return {k: v for k, v in named.items() if not k.startswith(_SEGMENTATION_HEAD)}


def _check_encoder(config: EncoderConfig, file: str) -> None:
    needs = {
        "widths": (config.widths, FULL_WIDTHS, ",".join(map(str, FULL_WIDTHS))),
        "shortcut": (config.shortcut, "A", "A"),
        "channels": (config.channels, 1, "1"),
        "experts": (config.experts, 0, "0"),
    }
    for name, (value, needed, words) in needs.items():
        if value != needed:
            raise BadConfig(f"{file}: MedicalNet's weights need {name} {words}, not {value}.")


def _check_fit(file: str, weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise `BadCheckpoint` that says where weights and encoder differ."""
    depth = _depth(weights)
    if depth not in (None, 18):
        raise BadCheckpoint(f"{file} holds a ResNet{depth}, the encoder is a ResNet18. {NEEDED}.")
    # Files of old PyTorch versions may lack the counters of batch norm.
    missing = [k for k in wanted if k not in weights and not k.endswith("num_batches_tracked")]
    unknown = [k for k in weights if k not in wanted]
    shapes = [k for k in wanted if k in weights and weights[k].shape != wanted[k].shape]
    for problem, names in (("lacks", missing), ("has unknown", unknown)):
        if names:
            raise BadCheckpoint(f"{file} {problem} {names[0]} (of {len(names)}). {NEEDED}.")
    if shapes:
        found, needed = (tuple(part[shapes[0]].shape) for part in (weights, wanted))
        raise BadCheckpoint(f"{file}: {shapes[0]} is {found}, not {needed}. {NEEDED}.")


def _depth(weights: Mapping[str, Tensor]) -> int | None:
    """Of the ResNet whose weights these are; None if of none."""
    blocks = {tuple(name.split(".")[:2]) for name in weights}
    counts = tuple(sum(stage == block[0] for block in blocks) for stage in _STAGES)
    return _DEPTHS.get((counts, "layer1.0.conv3.weight" in weights))
