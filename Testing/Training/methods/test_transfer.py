"""MedicalNet's weights arrive in the encoder, or an error says why they cannot."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from paranasal_training.methods import make_method
from torch import Tensor

from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import ResNetEncoder

FULL = EncoderConfig()
Weights = dict[str, Tensor]


def medicalnet(encoder: ResNetEncoder) -> Weights:
    """Weights in MedicalNet's layout: from a DataParallel with a segmentation head."""
    named = {f"module.{k}": v for k, v in encoder.state_dict().items()}
    return {**named, "module.conv_seg.0.weight": torch.zeros(4, 2)}


@pytest.fixture
def weights() -> Weights:
    """Of the right names and shapes, each one number: small files."""
    with torch.device("meta"):
        named = medicalnet(ResNetEncoder(FULL))
    return {k: torch.tensor(0.5).expand(v.shape) for k, v in named.items()}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], str]:
    """Writes a file of that layout and says where."""

    def write(state: Any) -> str:
        path = tmp_path / "resnet_18_23dataset.pth"
        torch.save({"epoch": 100, "state_dict": state}, path)
        return str(path)

    return write


def load(file: str, config: EncoderConfig = FULL) -> ResNetEncoder:
    return make_method("transfer", config, {"file": file}).encoder


def test_every_weight_arrives(save: Callable[[Any], str]) -> None:
    torch.manual_seed(7)
    weights = medicalnet(ResNetEncoder(FULL))
    loaded = load(save(weights)).state_dict()
    assert len(loaded) == len(weights) - 1
    for name, value in loaded.items():
        assert torch.equal(value, weights[f"module.{name}"]), name


def test_weights_fit_small_crops_and_old_files_lack_batch_counters(
    weights: Weights, save: Callable[[Any], str]
) -> None:
    old = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    encoder = load(save(old), replace(FULL, voxels=32, pool=False))
    assert torch.equal(encoder.conv1.weight, weights["module.conv1.weight"])
    assert encoder.bn1.num_batches_tracked == 0


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"absent\.pth.*no such file.*MedicalNet"):
        load(str(tmp_path / "absent.pth"))


@pytest.mark.parametrize("content", [b"", b"weights?", b"PK\x03\x04 cut off", os.urandom(2000)])
def test_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"broken\.pth is no file of weights"):
        load(str(path))


class Malicious:
    """A pickle of it makes a folder when it is opened in good faith."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trap),)


@pytest.mark.parametrize("by_torch", [True, False])
def test_code_in_a_pickle_is_never_run(by_torch: bool, tmp_path: Path) -> None:
    path, trap = tmp_path / "evil.pth", tmp_path / "trap"
    content = {"state_dict": Malicious(trap)}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadCheckpoint, match=r"evil\.pth.*code, which is never run"):
        load(str(path))
    assert not trap.exists()


@pytest.mark.parametrize("state", [None, [torch.zeros(1)], {"module.conv1.weight": 3}])
def test_file_of_another_layout_is_refused(state: Any, save: Callable[[Any], str]) -> None:
    with pytest.raises(BadCheckpoint, match=r"no weights under `state_dict`"):
        load(save(state))


def test_bare_weights_are_refused(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(weights, path)
    with pytest.raises(BadCheckpoint, match=r"bare\.pth holds no weights under `state_dict`"):
        load(str(path))


@pytest.mark.parametrize(
    ("blocks", "bottleneck", "depth"),
    [((1, 1, 1, 1), False, 10), ((3, 4, 6, 3), False, 34), ((3, 4, 6, 3), True, 50)],
)
def test_another_depth_is_named(
    blocks: tuple[int, ...], bottleneck: bool, depth: int, save: Callable[[Any], str]
) -> None:
    names = [
        f"module.layer{stage}.{block}.conv{number}.weight"
        for stage, count in enumerate(blocks, 1)
        for block in range(count)
        for number in range(1, 4 if bottleneck else 3)
    ]
    with pytest.raises(
        BadCheckpoint, match=rf"\.pth holds a ResNet{depth}, the encoder is a ResNet18"
    ):
        load(save(dict.fromkeys(names, torch.zeros(1))))


def test_weights_that_are_missing_unknown_or_of_another_shape_are_named(
    weights: Weights, save: Callable[[Any], str]
) -> None:
    lacking = {k: v for k, v in weights.items() if k != "module.layer3.1.bn2.bias"}
    with pytest.raises(BadCheckpoint, match=r"lacks layer3\.1\.bn2\.bias \(of 1\)"):
        load(save(lacking))
    with pytest.raises(BadCheckpoint, match=r"has unknown layer2\.0\.downsample\.0\.weight"):
        load(save({**weights, "module.layer2.0.downsample.0.weight": torch.zeros(1)}))
    colour = torch.zeros(64, 3, 7, 7, 7)
    with pytest.raises(BadCheckpoint, match=r"conv1\.weight is \(64, 3, 7, 7, 7\), not \(64, 1"):
        load(save({**weights, "module.conv1.weight": colour}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": (16, 32, 64, 128)}, "widths 64,128,256,512"),
        ({"shortcut": "B"}, "shortcut A"),
        ({"channels": 2}, "channels 1"),
        ({"experts": 8}, "experts 0"),
    ],
)
def test_encoder_must_be_medicalnets(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfig, match=rf"x\.pth: MedicalNet's weights need {words}, not"):
        load("x.pth", replace(FULL, **change))
