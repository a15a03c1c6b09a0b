"""MONAI Bundles: MONAI's own programs run them and find the same probabilities."""

from __future__ import annotations

import csv
import json
import re
import socket
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, run, verify_net_in_out
from paranasal_training.release.config import MonaiExportConfig
from paranasal_training.release.monai_export import export_monai

from ParanasalSSLLib.crop import CropConfig, SinusCrop
from ParanasalSSLLib.errors import BadBundle, UnsafeOutput
from ParanasalSSLLib.model.bundle import Bundle, load_bundle
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import BundleCard
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig, ResidualConfig
from ParanasalSSLLib.model.masks import MaskConfig
from ParanasalSSLLib.model.networks import CAE, Classifier
from ParanasalSSLLib.model.torch_networks import TorchNetworks
from ParanasalSSLLib.sinuses import Side

AFFINES = {Side.LEFT: np.eye(4), Side.RIGHT: np.diag([-1.0, 1.0, 1.0, 1.0])}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(params=["crop", "crop and residual at 2 mm"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model bundle with random weights, and two crops beside it."""
    two = request.param != "crop"
    torch.manual_seed(0)
    card = BundleCard(
        name="tiny",
        version="1",
        cae=CAEConfig(latent=8, channels=(2, 4), voxels=32 if two else 64),
        classifier=EncoderConfig(
            (2, 2, 4, 4), voxels=32 if two else 64, pool=not two, channels=2 if two else 1
        ),
        crop=CropConfig(),
        residual=ResidualConfig(median_kernel_voxels=3),
        mask=MaskConfig(),
        calibration=Calibration(),
        decision_threshold=0.4,
        simulated=True,
        intended_use="Research only, no diagnosis.",
        licence="Apache-2.0",
        training={"metrics": {"auroc": 0.9}},
    )
    thresholds = np.full((64, 64, 64), 0.2, np.float32)
    networks = TorchNetworks(CAE(card.cae).eval(), Classifier(card.classifier).eval())
    bundle = Bundle(card, networks, thresholds)
    (tmp_path / "crops").mkdir()
    for crop in make_crops():
        image = nibabel.Nifti1Image(crop.data, crop.affine)
        nibabel.save(image, tmp_path / f"crops/{crop.side.value}.nii.gz")
    return save_bundle(spread(bundle), tmp_path / "bundle", "# Model card\n\nWords.\n")


def spread(bundle: Bundle) -> Bundle:
    """The bundle, calibrated so that the two crops have clearly different probabilities."""
    low, high = (logit(score.probability) for score in bundle.analyse(make_crops()))
    slope = 2 / (high - low)
    calibration = Calibration(slope, -slope * (low + high) / 2)
    return replace(bundle, card=replace(bundle.card, calibration=calibration))


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def make_crops() -> list[SinusCrop]:
    """Two crops that differ; on the right the affine mirrors."""
    rng = np.random.default_rng(0)
    inside = np.ones((64, 64, 64), bool)
    made = []
    for side, power in ((Side.LEFT, 1), (Side.RIGHT, 4)):
        data = rng.random((64, 64, 64), np.float32) ** power
        made.append(SinusCrop(data.shape, AFFINES[side], data, inside, (0.0, 1.0), side))
    return made


def export(source: Path) -> Path:
    return export_monai(MonaiExportConfig(bundle=source, output=source.parent / "monai"))


def configs(exported: Path) -> dict[str, str]:
    return {
        "config_file": str(exported / "configs/inference.json"),
        "meta_file": str(exported / "configs/metadata.json"),
    }


def overrides(exported: Path) -> dict[str, str]:
    return {"bundle_root": str(exported), "dataset_dir": str(exported.parent / "crops")}


def test_monai_run_finds_the_probabilities_of_the_bundle(source: Path) -> None:
    exported = export(source)
    run(**configs(exported), **overrides(exported))
    with (exported / "eval/predictions.csv").open(newline="") as file:
        found = {line["crop"]: line for line in csv.DictReader(file)}
    crops = make_crops()
    scores = load_bundle(source).analyse(crops)
    for crop, score in zip(crops, scores, strict=True):
        line = found[f"{crop.side.value}.nii.gz"]
        assert float(line["probability"]) == pytest.approx(score.probability, abs=1e-3)
        assert bool(int(line["anomalous"])) == score.anomalous
    assert abs(scores[0].probability - scores[1].probability) > 0.01, "the crops are too alike"


def test_workflow_has_what_monai_asks_of_an_inference_bundle(source: Path) -> None:
    exported = export(source)
    workflow = ConfigWorkflow(**configs(exported), workflow_type="infer", **overrides(exported))
    workflow.initialize()
    assert workflow.check_properties() == []
    assert not workflow.network_def.training
    (lines,) = workflow.run()
    assert [line["crop"] for line in lines] == ["left.nii.gz", "right.nii.gz"]


def test_monai_verifies_input_and_output_of_the_network(source: Path) -> None:
    verify_net_in_out("network_def", device="cpu", **configs(export(source)))


def test_export_says_nothing_of_monai_s_own(
    source: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    export(source)
    assert capfd.readouterr() == ("", "")
    assert not [warning for warning in recwarn if "monai" in warning.filename]


def test_weights_load_without_pickled_code_and_papers_are_there(source: Path) -> None:
    exported = export(source)
    weights = torch.load(exported / "models/model.pt", weights_only=True)
    assert {name.split(".")[0] for name in weights} <= {"classifier", "cae"}
    assert "Apache License" in (exported / "LICENSE").read_text()
    readme = (exported / "docs/README.md").read_text()
    assert "no diagnosis" in readme
    assert "Words." in readme, "the model card is part of it"
    meta = json.loads((exported / "configs/metadata.json").read_text())
    assert meta["eval_metrics"] == {"auroc": 0.9}
    assert meta["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64, 64]
    everything = readme + json.dumps(meta) + (exported / "configs/inference.json").read_text()
    assert str(source.parent) not in everything, "paths leak"


@pytest.mark.parametrize("source", ["crop"], indirect=True)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((64, 64, 64), 200, np.uint8), "0..1"),
        (np.zeros((32, 32, 32), np.float32), r"\(1, 32, 32, 32\)"),
    ],
)
def test_crop_that_is_none_is_named(source: Path, data: np.ndarray, words: str) -> None:
    exported = export(source)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), source.parent / "crops/odd.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        run(**configs(exported), **overrides(exported))
    chain = "".join(traceback.format_exception(caught.value))
    assert re.search(words, chain), "MONAI says in which transform, the first cause says why"
    assert not (exported / "eval").exists()


@pytest.mark.parametrize("source", ["crop"], indirect=True)
def test_full_folder_and_missing_bundle_are_refused(source: Path) -> None:
    export(source)
    with pytest.raises(UnsafeOutput, match="is there already"):
        export(source)
    missing = MonaiExportConfig(bundle=source / "no", output=source.parent / "other")
    with pytest.raises(BadBundle):
        export_monai(missing)
    assert not missing.output.exists()
