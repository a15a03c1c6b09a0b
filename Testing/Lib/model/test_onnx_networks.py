"""The shipped model without PyTorch: the same numbers, and nothing of it is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ParanasalSSLLib import devices
from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.errors import MissingPackage
from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.onnx_networks import OnnxNetworks
from ParanasalSSLLib.model.torch_networks import load_torch_networks
from ParanasalSSLLib.sinuses import Side

WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch was imported")

sys.meta_path.insert(0, NoTorch())
from ParanasalSSLLib.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def make_crops() -> list[SinusCrop]:
    rng = np.random.default_rng(0)
    inside = np.ones((64, 64, 64), bool)
    return [
        SinusCrop(
            inside.shape, np.eye(4), rng.random(inside.shape, np.float32), inside, (0, 1), side
        )
        for side in Side
    ]


def test_the_shipped_model_runs_in_onnx_runtime_and_says_what_pytorch_says() -> None:
    bundle = load_bundle(shipped_bundle_path())
    assert isinstance(bundle.networks, OnnxNetworks)
    assert (bundle.device, bundle.on("cpu")) == ("cpu", bundle)
    by_torch = replace(bundle, networks=load_torch_networks(shipped_bundle_path()))
    for one, other in zip(
        bundle.analyse(make_crops()), by_torch.analyse(make_crops()), strict=True
    ):
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
        np.testing.assert_allclose(one.residual, other.residual, atol=1e-4)
        np.testing.assert_allclose(one.reconstruction, other.reconstruction, atol=1e-4)
        assert (one.opacity != other.opacity).mean() < 1e-4


def test_onnx_runtime_stays_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="not on cuda"):
        load_bundle(shipped_bundle_path()).on("cuda")


def test_a_scan_is_scored_without_pytorch(sample_head: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(sample_head), "-o", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sub-0001" / "sub-0001_report.json").is_file()


def test_an_older_bundle_without_pytorch_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_bundle(shipped_bundle_path())
    networks = load_torch_networks(shipped_bundle_path())
    save_bundle(replace(shipped, networks=networks), tmp_path)
    monkeypatch.setattr(devices, "has_torch", lambda: False)
    with pytest.raises(MissingPackage, match=r"needs PyTorch .*\[gpu\]"):
        load_bundle(tmp_path)
    assert load_bundle(shipped_bundle_path()).device == "cpu"
