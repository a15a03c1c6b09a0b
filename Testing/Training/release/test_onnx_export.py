"""Networks for ONNX Runtime: the numbers are PyTorch's, the weights are stored once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from paranasal_training.release.config import AddOnnxConfig
from paranasal_training.release.onnx_export import add_onnx
from torch import nn

from ParanasalSSLLib.crop import CropConfig
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.model.bundle import Bundle, load_bundle
from ParanasalSSLLib.model.bundle_folder import CARD, WEIGHTS, check_bundle
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import BundleCard, SinusReading
from ParanasalSSLLib.model.config import (
    CAEConfig,
    EncoderConfig,
    ResidualConfig,
    SinusNetworkConfig,
)
from ParanasalSSLLib.model.masks import MaskConfig
from ParanasalSSLLib.model.networks import CAE, Classifier
from ParanasalSSLLib.model.onnx_networks import OnnxNetworks
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import TorchNetworks, load_torch_networks

SMALL = SinusNetworkConfig(widths=(4, 8, 8, 8), decoder=(8, 8, 4, 4))


def card_of(cae: CAEConfig, classifier: EncoderConfig) -> BundleCard:
    return BundleCard(
        name="tiny",
        version="1",
        cae=cae,
        classifier=classifier,
        crop=CropConfig(),
        residual=ResidualConfig(),
        mask=MaskConfig(),
        calibration=Calibration(),
        decision_threshold=0.5,
        simulated=True,
        intended_use="tests",
        licence="Apache-2.0",
    )


def used(network: nn.Module) -> nn.Module:
    """In evaluation mode, with normalisations that have seen something, as after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def sinus_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two sinus networks that can run without PyTorch."""
    torch.manual_seed(0)
    cae = CAEConfig(latent=8, channels=(2, 2, 4))
    card = replace(
        card_of(cae, EncoderConfig((2, 2, 4, 4))),
        sinus=SinusReading(SMALL, Calibration(), members=2),
    )
    sinus = used(SinusEnsemble([SinusNetwork(SMALL) for _ in range(2)]))
    networks = TorchNetworks(used(CAE(cae)), used(Classifier(card.classifier)), sinus)  # type: ignore[arg-type]
    thresholds = np.full((64, 64, 64), 0.25, np.float32)
    folder = save_bundle(Bundle(card, networks, thresholds), tmp_path_factory.mktemp("b") / "sinus")
    return add_onnx(AddOnnxConfig(bundle=folder))


def both(folder: Path) -> tuple[OnnxNetworks, TorchNetworks]:
    networks = load_bundle(folder).networks
    assert isinstance(networks, OnnxNetworks)
    return networks, load_torch_networks(folder)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_crops_gives_pytorch_s_numbers(sinus_bundle: Path, count: int) -> None:
    by_onnx, by_torch = both(sinus_bundle)
    crops = np.random.default_rng(count).random((count, 2, 64, 64, 64), np.float32)
    maps = by_onnx.outline(crops)
    np.testing.assert_allclose(maps, by_torch.outline(crops), atol=1e-4)
    assert (maps[:, 1] <= maps[:, 0]).all()
    np.testing.assert_allclose(
        by_onnx.rebuild(crops[:, :1]), by_torch.rebuild(crops[:, :1]), atol=1e-4
    )


def test_networks_at_2_mm_and_with_residuals_run_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cae = CAEConfig(latent=8, channels=(2, 4), voxels=32, last_stage="subpixel")
    card = card_of(
        cae, EncoderConfig((2, 2, 4, 4), voxels=32, pool=False, channels=2, shortcut="B")
    )
    networks = TorchNetworks(used(CAE(cae)), used(Classifier(card.classifier)))  # type: ignore[arg-type]
    thresholds = np.full((64, 64, 64), 0.25, np.float32)
    folder = save_bundle(Bundle(card, networks, thresholds), tmp_path)
    by_onnx, by_torch = both(add_onnx(AddOnnxConfig(bundle=folder)))
    images = np.random.default_rng(0).random((2, 2, 32, 32, 32), np.float32)
    np.testing.assert_allclose(by_onnx.classify(images), by_torch.classify(images), atol=1e-4)
    np.testing.assert_allclose(
        by_onnx.rebuild(images[:, :1]), by_torch.rebuild(images[:, :1]), atol=1e-4
    )


def test_the_files_hold_neither_weights_nor_paths(sinus_bundle: Path) -> None:
    weights = (sinus_bundle / WEIGHTS).stat().st_size
    for name in ("cae.onnx", "sinus.onnx"):
        model = onnx.load(sinus_bundle / name, load_external_data=False)
        kernels = [t for t in model.graph.initializer if len(t.dims) > 2 and "factor" not in t.name]
        assert kernels and all(t.data_location == onnx.TensorProto.EXTERNAL for t in kernels)
        content = (sinus_bundle / name).read_bytes()
        assert b"site-packages" not in content and b"paranasal_training" not in content
    assert weights > 10_000


@pytest.mark.parametrize("name", ["cae.onnx", "sinus.onnx", WEIGHTS])
def test_changed_files_are_refused(sinus_bundle: Path, tmp_path: Path, name: str) -> None:
    for path in sinus_bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = bytearray((tmp_path / name).read_bytes())
    changed[-1] ^= 1
    (tmp_path / name).write_bytes(changed)
    for look in (load_bundle, check_bundle):
        with pytest.raises(BadBundle, match="SHA-256"):
            look(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadBundle, match="is missing"):
        load_bundle(tmp_path)


def test_a_card_that_does_not_name_a_network_is_refused(sinus_bundle: Path, tmp_path: Path) -> None:
    for path in sinus_bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    card = json.loads((tmp_path / CARD).read_text())
    del card["onnx_sha256"]["cae.onnx"]
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(BadBundle, match=r"does not know of cae\.onnx"):
        load_bundle(tmp_path)


def test_saving_again_leaves_no_networks_of_the_older_bundle(
    sinus_bundle: Path, tmp_path: Path
) -> None:
    for path in sinus_bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bundle = replace(load_bundle(tmp_path), networks=load_torch_networks(tmp_path))
    save_bundle(bundle, tmp_path)
    assert not [*tmp_path.glob("*.onnx")]
    assert isinstance(load_bundle(tmp_path).networks, TorchNetworks)
