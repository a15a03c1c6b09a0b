"""A site's own weights: matched by name and shape, told, and refused in words where nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paranasal_training.data.store import CropStore
from paranasal_training.methods import make_method
from paranasal_training.methods.residual import Options
from paranasal_training.methods.residual import Task as Residual
from paranasal_training.methods.weights import Task, best_prefix
from paranasal_training.stages.config import PretrainConfig
from paranasal_training.stages.pretrain import pretrain
from safetensors.torch import save_file
from torch import Tensor

from ParanasalSSLLib.errors import BadCheckpoint
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import ResNetEncoder


def encoder_weights(config: EncoderConfig, prefix: str = "") -> dict[str, Tensor]:
    torch.manual_seed(7)
    return {f"{prefix}{k}": v for k, v in ResNetEncoder(config).state_dict().items()}


def save(weights: dict[str, Tensor], folder: Path) -> str:
    path = folder / "own.safetensors"
    save_file(weights, path)
    return str(path)


def load(file: str, config: EncoderConfig) -> Task:
    torch.manual_seed(0)
    method = make_method("weights", config, {"file": file})
    assert isinstance(method, Task)
    return method


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.backbone.net."])
def test_every_weight_arrives_whatever_stands_before_its_name(
    prefix: str, tiny: EncoderConfig, tmp_path: Path
) -> None:
    given = encoder_weights(tiny, prefix)
    head = {"module.head.weight": torch.zeros(2, 3)}
    method = load(save({**given, **head}, tmp_path), tiny)
    for name, value in method.encoder.state_dict().items():
        assert torch.equal(value, given[prefix + name]), name
    count = sum(not name.endswith("num_batches_tracked") for name in given)
    report = method.facts["weights"]
    assert f"{count} of the encoder's {count} weights" in report
    assert "not used: module.head.weight" in report and "missing" not in report
    assert (repr(prefix) in report) == bool(prefix)


def test_a_whole_network_of_ours_lends_its_encoder(tiny: EncoderConfig, tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = Residual(tiny, Options())
    method = load(save(whole.state_dict(), tmp_path), tiny)
    assert torch.equal(method.encoder.layer3[1].conv2.weight, whole.encoder.layer3[1].conv2.weight)
    assert "decoder.blocks.0" in method.facts["weights"]


def test_what_does_not_fit_is_told_and_stays_random(tiny: EncoderConfig, tmp_path: Path) -> None:
    given = encoder_weights(tiny)
    given["conv1.weight"] = torch.zeros(4, 3, 7, 7, 7)
    del given["layer4.1.bn2.bias"]
    given["layer1.2.conv1.weight"] = torch.zeros(4, 4, 3, 3, 3)
    method = load(save(given, tmp_path), tiny)
    report = method.facts["weights"]
    assert "conv1.weight is (4, 3, 7, 7, 7), not (4, 1, 7, 7, 7)" in report
    assert "missing there: layer4.1.bn2.bias" in report
    assert "not used: layer1.2.conv1.weight" in report
    fresh = load(save(encoder_weights(tiny), tmp_path), tiny).encoder
    assert method.encoder.conv1.weight.any() and method.encoder.conv1.weight.shape[1] == 1
    assert torch.equal(method.encoder.layer2[0].conv1.weight, fresh.layer2[0].conv1.weight)


def test_nothing_that_fits_is_an_error_in_words(tiny: EncoderConfig, tmp_path: Path) -> None:
    file = save({"blocks.0.attention.qkv": torch.zeros(3, 3)}, tmp_path)
    with pytest.raises(BadCheckpoint, match=r"nothing fits. 0 of .*not used: blocks.0.attention"):
        load(file, tiny)
    wide = save(encoder_weights(EncoderConfig((8, 16, 16, 32), voxels=32, pool=False)), tmp_path)
    with pytest.raises(BadCheckpoint, match=r"of another shape: conv1.weight is \(8, 1, 7"):
        load(wide, tiny)
    fitting = save(encoder_weights(tiny), tmp_path)
    with pytest.raises(BadCheckpoint, match="nothing fits"):
        load(fitting, replace(tiny, experts=2))


def test_files_that_cannot_be_read_are_named(tiny: EncoderConfig, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"none\.safetensors: there is no such file"):
        load(str(tmp_path / "none.safetensors"), tiny)
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(BadCheckpoint, match=r"w\.pth is no safetensors file.*save_file"):
        load(str(tmp_path / "w.pth"), tiny)


def test_prefix_is_the_one_under_which_most_fits() -> None:
    wanted = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(2)}
    found = {
        "x.a.weight": torch.zeros(2),
        "y.a.weight": torch.zeros(2),
        "y.b.weight": torch.zeros(2),
    }
    assert best_prefix(found, wanted) == "y."
    assert best_prefix({"data.weight": torch.zeros(2)}, wanted) == ""


def test_a_run_records_what_it_took_and_knows_its_file(
    toy_store: CropStore, tiny: EncoderConfig, tmp_path: Path
) -> None:
    file = save(encoder_weights(tiny, "encoder."), tmp_path)
    output = pretrain(
        PretrainConfig(
            store=toy_store.folder, output=tmp_path / "r", method="weights", network=tiny,
            options={"file": file},
        )
    )  # fmt: skip
    assert "weights are taken" in json.loads((output / "run.json").read_text())["weights"]
    assert "file of weights" in json.loads((output / "inputs.json").read_text())
