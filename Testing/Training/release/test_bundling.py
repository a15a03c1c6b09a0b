"""Runs become bundles: whatever the networks look at, and with the levels that a full search finds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.store import CropStore
from paranasal_training.release.bundling import LEVELS, ShownByLevel, make_bundle
from paranasal_training.release.config import BundleConfig
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.stages.cae import train_cae
from paranasal_training.stages.config import FinetuneConfig, ResidualsConfig, TrainConfig
from paranasal_training.stages.finetune import finetune
from paranasal_training.stages.residuals import make_residuals
from scipy import ndimage

from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.model.bundle import load_bundle
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig, ResidualConfig
from ParanasalSSLLib.model.masks import MaskConfig, opacity_mask
from ParanasalSSLLib.sinuses import Side

RESIDUAL = ResidualConfig(median_kernel_voxels=3)
FAST = OptimizerConfig(lr=1e-2)


@pytest.fixture(scope="module")
def config(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> BundleConfig:
    """Of a classifier that looks at crop and residual, all at 2 mm."""
    folder, store = tmp_path_factory.mktemp("runs"), toy_store.folder
    cae = CAEConfig(latent=8, channels=(4, 8), voxels=32, last_stage="subpixel")
    encoder = EncoderConfig((2, 4, 4, 4), voxels=32, pool=False)
    train_cae(
        TrainConfig(
            store=store, output=folder / "cae", epochs=10, batch_size=8, network=cae,
            optimizer=FAST,
        )
    )  # fmt: skip
    make_residuals(
        ResidualsConfig(
            store=store, cae=folder / "cae", output=folder / "residuals", split=None,
            residual=RESIDUAL, gain=1.0,
        )
    )  # fmt: skip
    finetune(
        FinetuneConfig(
            store=store, output=folder / "classifier", residuals=folder / "residuals", epochs=3,
            batch_size=8, network=encoder, optimizer=replace(FAST, name="adamw"),
        )
    )  # fmt: skip
    return BundleConfig(
        store=store, cae=folder / "cae", classifier=folder / "classifier",
        output=folder / "bundle", residual=RESIDUAL,
    )  # fmt: skip


@pytest.mark.slow
def test_bundle_of_a_classifier_that_sees_residuals_at_2_mm_scores_as_its_run(
    config: BundleConfig, toy_store: CropStore
) -> None:
    bundle = load_bundle(make_bundle(config))
    assert bundle.card.cae.voxels == bundle.card.classifier.voxels == 32
    scored = pd.read_csv(config.classifier / "predictions.csv")
    rows = scored[scored["split"] == "test"]
    inside = np.ones((64, 64, 64), bool)
    crops = [
        SinusCrop(
            inside.shape,
            np.eye(4),
            toy_store.crops[row] / np.float32(255),
            inside,
            (0, 1),
            Side.LEFT,
        )
        for row in rows["row"]
    ]
    scores = bundle.analyse(crops)
    found = np.array([score.probability for score in scores])
    assert np.allclose(found, rows["probability"], atol=0.02)
    assert scores[0].residual.shape == scores[0].reconstruction.shape == (64, 64, 64)
    text = (config.output / "bundle.json").read_text()
    assert str(config.store.parent) not in text, "paths leak"


@pytest.mark.slow
def test_bundle_with_other_residuals_than_the_classifier_saw_is_refused(
    config: BundleConfig, tmp_path: Path
) -> None:
    other = ResidualConfig(median_kernel_voxels=0, scaling="percentile")
    with pytest.raises(BadConfig, match="residual options"):
        make_bundle(replace(config, residual=other, output=tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_crops_of_the_autoencoder_may_be_others_if_they_are_named(
    config: BundleConfig, tmp_path: Path
) -> None:
    cae = shutil.copytree(config.cae, tmp_path / "cae")
    record = json.loads((cae / "run.json").read_text())
    (cae / "run.json").write_text(json.dumps(record | {"store": "of another cohort"}))
    with pytest.raises(BadConfig, match="trained on other crops"):
        make_bundle(replace(config, cae=cae, output=tmp_path / "bundle"))
    named = replace(config, cae_store=config.store, output=tmp_path / "bundle")
    card = load_bundle(make_bundle(named)).card
    assert card.training["cohort of the autoencoder"] == card.training["cohort"]


@pytest.mark.slow
def test_an_autoencoder_of_another_fold_is_refused(config: BundleConfig, tmp_path: Path) -> None:
    cae = shutil.copytree(config.cae, tmp_path / "cae")
    record = json.loads((cae / "run.json").read_text())
    (cae / "run.json").write_text(json.dumps(record | {"config": record["config"] | {"fold": 2}}))
    with pytest.raises(BadConfig, match="trained on fold 2"):
        make_bundle(replace(config, cae=cae, output=tmp_path / "bundle"))


@pytest.mark.slow
def test_temperature_leaves_the_even_margin_even(config: BundleConfig, tmp_path: Path) -> None:
    changed = replace(config, calibration="temperature", output=tmp_path / "bundle")
    card = load_bundle(make_bundle(changed)).card
    assert card.calibration.intercept == 0
    assert card.calibration.probability(0.0) == 0.5


@pytest.mark.slow
def test_run_without_predictions_is_named(config: BundleConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "model.safetensors"):
        (run / name).write_bytes((config.classifier / name).read_bytes())
    with pytest.raises(BadCheckpoint, match=r"predictions\.csv"):
        make_bundle(replace(config, classifier=run, output=tmp_path / "bundle"))


@pytest.mark.parametrize(("share", "ml"), [(0.95, 0.5), (0.5, 1.0), (1.0, 0.0), (0.5, -1.0)])
def test_levels_are_those_that_trying_every_one_finds(share: float, ml: float) -> None:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.random((6, 24, 24, 24)), (0, 1.5, 1.5, 1.5))
    evidence = (noise / noise.mean()).astype(np.float32) ** 6
    thresholds = np.full((24, 24, 24), np.inf, np.float32)
    thresholds[4:20, 3:22, 2:20] = 0.6
    volumes = {
        level: [opacity_mask(e, thresholds, True, MaskConfig(level, level, 20)).sum() / 1000
                for e in evidence]
        for level in LEVELS
    }  # fmt: skip
    fitting = [level for level, found in volumes.items() if np.quantile(found, share) <= ml]
    shown = ShownByLevel(evidence, thresholds, 20)
    assert shown.lowest_level(share, ml) == (fitting[0] if fitting else LEVELS[-1])
    assert np.allclose(shown.ml(1.2), volumes[1.2])
