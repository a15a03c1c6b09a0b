"""The whole path of training on a toy store: it learns, it resumes, and it ends in a usable bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paranasal_training.data.batches import EpochOrder
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import evaluate
from paranasal_training.evaluation.config import EvaluateConfig
from paranasal_training.release.bundling import make_bundle
from paranasal_training.release.config import BundleConfig, ModelCardConfig
from paranasal_training.release.model_card import write_model_card
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.runs.record import read_run
from paranasal_training.stages.cae import load_cae, train_cae
from paranasal_training.stages.config import (
    FinetuneConfig,
    PretrainConfig,
    ResidualsConfig,
    TrainConfig,
)
from paranasal_training.stages.finetune import (
    class_weights,
    finetune,
    start_network,
    transfer_encoder,
)
from paranasal_training.stages.pretrain import pretrain
from paranasal_training.stages.residuals import make_residuals

from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.errors import BadBundle, BadCheckpoint, BadConfig, BadStore
from ParanasalSSLLib.model.bundle import load_bundle
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig
from ParanasalSSLLib.model.networks import Classifier
from ParanasalSSLLib.sinuses import Side

SMALL_CAE = CAEConfig(latent=16, channels=(4, 8, 8), last_stage="subpixel")
SMALL_ENCODER = EncoderConfig((4, 8, 16, 16))
FAST = OptimizerConfig(lr=5e-3, schedule="cosine")


@pytest.fixture(scope="module")
def runs(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all stages, run one after the other."""
    folder = tmp_path_factory.mktemp("runs")
    store = toy_store.folder
    train_cae(
        TrainConfig(
            store=store, output=folder / "cae", epochs=25, batch_size=8, network=SMALL_CAE,
            optimizer=FAST,
        )
    )  # fmt: skip
    make_residuals(ResidualsConfig(store=store, cae=folder / "cae", output=folder / "residuals"))
    pretrain(
        PretrainConfig(
            store=store, output=folder / "unet", residuals=folder / "residuals", epochs=2,
            batch_size=4, network=SMALL_ENCODER, optimizer=FAST,
        )
    )  # fmt: skip
    finetune(
        FinetuneConfig(
            store=store, output=folder / "classifier", pretrained=folder / "unet", epochs=12,
            batch_size=8, network=SMALL_ENCODER, optimizer=replace(FAST, name="adamw"),
        )
    )  # fmt: skip
    return folder


def losses(run: Path, start: int = 0) -> list[float]:
    """Training loss of each epoch since the run's first (0), second ... start."""
    rows = (run / f"logs/csv/version_{start}/metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    return [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["cae", "unet", "classifier"])
def test_loss_falls(runs: Path, stage: str) -> None:
    values = losses(runs / stage)
    assert values[-1] < values[0]


@pytest.mark.slow
def test_residual_of_an_anomaly_is_larger_than_that_of_a_healthy_sinus(
    runs: Path, toy_store: CropStore
) -> None:
    found = ResidualStore.open(runs / "residuals", toy_store)
    table = toy_store.table
    unlabelled = toy_store.rows("unlabelled")
    assert found.done[unlabelled].all()
    sick = table["true_class"].to_numpy()[unlabelled] > 0
    level = found.residuals[unlabelled].reshape(len(unlabelled), -1).mean(axis=1)
    assert level[sick].min() > level[~sick].max()


@pytest.mark.slow
def test_classifier_learns_and_the_record_tells_how(runs: Path, toy_store: CropStore) -> None:
    metrics = evaluate(
        EvaluateConfig(
            store=toy_store.folder, classifier=runs / "classifier", output=runs / "evaluation"
        )
    )
    assert metrics["test"]["auroc"] > 0.9
    assert metrics["test_crops"] == 24
    lines = (runs / "evaluation/predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + 44  # validation and test
    assert (runs / "evaluation/curves.png").stat().st_size > 5000
    settings = json.loads((runs / "evaluation/config.json").read_text())
    assert (settings["jitter"], settings["fold"]) == (0, 1)
    record = read_run(runs / "classifier", "FinetuneStage").record
    assert record["store"] == toy_store.checksum
    assert str(runs) not in json.dumps(record["network"])


@pytest.mark.slow
def test_bundle_finds_the_anomaly_where_it_is(runs: Path, toy_store: CropStore) -> None:
    config = BundleConfig(
        store=toy_store.folder, cae=runs / "cae", classifier=runs / "classifier",
        output=runs / "bundle",
    )  # fmt: skip
    bundle = load_bundle(make_bundle(config))
    assert toy_store.lesions is not None
    test = toy_store.rows("test")
    crops = [
        SinusCrop(
            (64, 64, 64), np.eye(4), toy_store.crops[row] / np.float32(255),
            np.ones((64, 64, 64), bool), (0.0, 1.0), Side.LEFT,
        )
        for row in test
    ]  # fmt: skip
    scores = bundle.analyse(crops)
    labels = toy_store.labels(test)
    right = [score.anomalous == bool(label) for score, label in zip(scores, labels, strict=True)]
    assert np.mean(right) > 0.8
    shares, chance = [], []
    for row, score, label in zip(test, scores, labels, strict=True):
        if label and score.anomalous:
            lesion = toy_store.lesions[row] > 0
            assert score.opacity.any()
            shares.append((score.opacity & lesion).sum() / score.opacity.sum())
            chance.append(lesion.mean())
    assert np.mean(shares) > 5 * np.mean(chance), (shares, chance)
    card = (runs / "bundle/README.md").read_text()
    assert "simulated" in card
    assert str(runs) not in card + (runs / "bundle/bundle.json").read_text(), "paths leak"


@pytest.mark.slow
def test_real_check_of_another_bundle_is_refused_in_the_model_card(
    runs: Path, toy_store: CropStore, tmp_path: Path
) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"weights_sha256": "another"}))
    (tmp_path / "summary.md").write_text("words")
    make_bundle(
        BundleConfig(
            store=toy_store.folder, cae=runs / "cae", classifier=runs / "classifier",
            output=tmp_path / "bundle",
        )
    )  # fmt: skip
    with pytest.raises(BadBundle, match="another bundle"):
        write_model_card(ModelCardConfig(bundle=tmp_path / "bundle", real_check=tmp_path))


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> TrainConfig:
        return TrainConfig(
            store=toy_store.folder, output=tmp_path / name, epochs=3, batch_size=8,
            network=SMALL_CAE, optimizer=FAST,
        )  # fmt: skip

    train_cae(config("whole"))
    set_epoch = EpochOrder.set_epoch

    def kill(self: EpochOrder, epoch: int) -> None:
        set_epoch(self, epoch)
        if epoch == 2:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(EpochOrder, "set_epoch", kill)
        with pytest.raises(RuntimeError, match="killed"):
            train_cae(config("killed"))
    with pytest.raises(BadCheckpoint, match="no finished run"):
        load_cae(tmp_path / "killed")
    train_cae(config("killed"))
    whole, resumed = (read_run(tmp_path / name, "CAEStage").weights for name in ("whole", "killed"))
    assert all(torch.allclose(whole[name], resumed[name], atol=1e-5) for name in whole)
    assert len(losses(tmp_path / "killed")) == 2, "what was logged before the kill is kept"
    assert (tmp_path / "killed/logs/csv/version_1/metrics.csv").is_file()


@pytest.mark.slow
def test_finished_run_is_not_trained_again_nor_overwritten(
    runs: Path, toy_store: CropStore
) -> None:
    config = TrainConfig(
        store=toy_store.folder, output=runs / "cae", epochs=25, batch_size=8, network=SMALL_CAE,
        optimizer=FAST,
    )  # fmt: skip
    before = (runs / "cae/run.json").stat().st_mtime_ns
    train_cae(config)
    assert (runs / "cae/run.json").stat().st_mtime_ns == before
    with pytest.raises(BadConfig, match="another seed"):
        train_cae(replace(config, seed=1))


@pytest.mark.slow
def test_wrong_inputs_are_named(runs: Path, toy_store: CropStore, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="CAEStage"):
        load_cae(runs / "classifier")
    with pytest.raises(BadCheckpoint, match="another encoder"):
        transfer_encoder(
            Classifier(EncoderConfig((4, 4, 8, 8))), read_run(runs / "unet", "PretrainStage")
        )
    half = tmp_path / "half"
    make_residuals(
        ResidualsConfig(store=toy_store.folder, cae=runs / "cae", output=half, split="test")
    )
    with pytest.raises(BadStore, match="lacks 12"):
        pretrain(
            PretrainConfig(
                store=toy_store.folder, output=tmp_path / "u", residuals=half, network=SMALL_ENCODER
            )
        )


def test_loss_that_is_no_number_ends_the_run_in_words(toy_store: CropStore, tmp_path: Path) -> None:
    config = TrainConfig(
        store=toy_store.folder, output=tmp_path / "r", epochs=2, batch_size=8, network=SMALL_CAE,
        optimizer=OptimizerConfig(lr=1e30),
    )  # fmt: skip
    with pytest.raises(BadConfig, match="smaller learning rate"):
        train_cae(config)
    assert not (tmp_path / "r/run.json").exists()


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing")],
)
def test_full_disk_is_told_in_words_and_the_run_goes_on_later(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    config = TrainConfig(
        store=toy_store.folder, output=tmp_path / "r", epochs=2, batch_size=8,
        network=replace(SMALL_CAE, voxels=32), optimizer=FAST,
    )  # fmt: skip
    save, saved = pl.Trainer.save_checkpoint, []

    def full(self: pl.Trainer, *words: Any, **options: Any) -> None:
        if len(saved) >= 2:  # best and last of the first epoch
            raise error
        saved.append(save(self, *words, **options))

    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "save_checkpoint", full)
        with pytest.raises(BadConfig, match="Is the disk full"):
            train_cae(config)
    assert not (tmp_path / "r/run.json").exists()
    train_cae(config)
    assert len(losses(tmp_path / "r", start=1)) == 1, "the first epoch was not trained again"
    assert (tmp_path / "r/run.json").is_file()


@pytest.mark.slow
def test_a_share_of_the_pretrained_classifier_is_kept(
    runs: Path, toy_store: CropStore, tmp_path: Path
) -> None:
    config = FinetuneConfig(
        store=toy_store.folder, output=tmp_path / "on", pretrained=runs / "classifier", epochs=1,
        batch_size=8, keep_pretrained=0.25, optimizer=FAST,
    )  # fmt: skip
    finetune(config)
    before = read_run(runs / "classifier", "FinetuneStage").weights
    after = read_run(tmp_path / "on", "FinetuneStage").weights
    trained = torch.load(tmp_path / "on/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    for name in (name for name in after if after[name].is_floating_point()):
        mean = 0.25 * before[name] + 0.75 * trained[f"network.{name}"]
        torch.testing.assert_close(after[name], mean)
    with pytest.raises(BadCheckpoint, match="a FinetuneStage of format"):
        finetune(replace(config, output=tmp_path / "unet", pretrained=runs / "unet"))
    with pytest.raises(BadConfig, match="needs a pretrained run"):
        replace(config, pretrained=None)


def test_pretrained_encoder_really_arrives(runs: Path) -> None:
    network = Classifier(SMALL_ENCODER)
    run = read_run(runs / "unet", "PretrainStage")
    transfer_encoder(network, run)
    assert torch.equal(network.encoder.conv1.weight, run.weights["encoder.conv1.weight"])
    deepest = "layer4.1.conv2.weight"
    assert torch.equal(network.encoder.state_dict()[deepest], run.weights[f"encoder.{deepest}"])


def test_a_classifier_to_continue_from_arrives_with_its_head(
    toy_store: CropStore, tmp_path: Path
) -> None:
    first = FinetuneConfig(
        store=toy_store.folder, output=tmp_path / "first", epochs=1, batch_size=8, optimizer=FAST,
        network=replace(SMALL_ENCODER, voxels=32),
    )  # fmt: skip
    finetune(first)
    torch.manual_seed(1)
    network = start_network(replace(first, pretrained=first.output, output=tmp_path / "second"))
    weights = read_run(first.output, "FinetuneStage").weights
    torch.testing.assert_close(dict(network.state_dict()), weights)


def test_class_weights_make_up_for_rarity() -> None:
    assert class_weights(np.array([0, 0, 0, 1])).tolist() == pytest.approx([2 / 3, 2.0])
    with pytest.raises(BadConfig, match="one class"):
        class_weights(np.zeros(3, int))
