"""Runs: kills, moves, damage, bad losses; logs, shifted boxes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.data.batches import Batch, EpochOrder
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.runs.machine import machine_of
from paranasal_training.runs.record import read_run
from paranasal_training.stages.cae import CAEStage, train_cae
from paranasal_training.stages.config import FinetuneConfig, TrainConfig
from paranasal_training.stages.finetune import finetune
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ParanasalSSLLib.errors import BadCheckpoint, BadConfig
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig

SMALL_CAE = CAEConfig(latent=16, channels=(4, 8, 8), last_stage="subpixel", voxels=32)
SMALL_ENCODER = EncoderConfig((4, 8, 16, 16), voxels=32)
FAST = OptimizerConfig(lr=5e-3, schedule="cosine")


def losses(run: Path, start: int = 0) -> list[float]:
    """Training loss of each epoch since the run's first (0), second ... start."""
    table = pd.read_csv(run / f"logs/csv/version_{start}/metrics.csv")
    return table["train/loss"].dropna().to_list()


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage whose validation loss is 1 after the first epoch, then 2, 3, ..."""
    loss = CAEStage.loss

    def rise(self: CAEStage, batch: Batch, training: bool) -> torch.Tensor:
        return loss(self, batch, True) if training else torch.tensor(self.current_epoch + 1.0)

    monkeypatch.setattr(CAEStage, "loss", rise)


def tiny(store: CropStore, output: Path, **settings: Any) -> TrainConfig:
    """A run of some seconds."""
    return TrainConfig(
        store=store.folder, output=output, batch_size=8, network=SMALL_CAE,
        optimizer=FAST, **settings,
    )  # fmt: skip


def kill_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next run end like a killed process at the start of an epoch (from 0)."""
    set_epoch = EpochOrder.set_epoch

    def kill(self: EpochOrder, number: int) -> None:
        set_epoch(self, number)
        if number == epoch:
            raise RuntimeError("killed")

    monkeypatch.setattr(EpochOrder, "set_epoch", kill)


def checkpoint(run: Path, name: str) -> dict[str, Any]:
    return torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)


@pytest.fixture
def killed(toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A run of two epochs that was killed in its second."""
    config = tiny(toy_store, tmp_path / "killed", epochs=2)
    with monkeypatch.context() as patch:
        kill_in(1, patch)
        with pytest.raises(RuntimeError, match="killed"):
            train_cae(config)
    return config


def test_seconds_and_steps_of_a_killed_run_count_what_came_before(killed: TrainConfig) -> None:
    path = killed.output / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    steps = content["global_step"]
    assert 0 < content["callbacks"]["Clock"]["seconds"] < 1000
    content["callbacks"]["Clock"]["seconds"] = 1000.0
    torch.save(content, path)
    train_cae(killed)
    record = read_run(killed.output, "CAEStage").record
    assert 1000 < record["seconds"] < 2000
    assert record["steps"] == 2 * steps
    assert record["machine"] == machine_of(torch.device("cpu")) and record["machine"].endswith(
        "cores"
    )


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize(("keeps_last", "epoch", "loss"), [(True, 2, 3.0), (False, 0, 1.0)])
def test_last_and_best_weights_are_those_of_their_epochs_when_validation_gets_worse(
    toy_store: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeps_last: bool,
    epoch: int,
    loss: float,
) -> None:
    monkeypatch.setattr(CAEStage, "keeps_last", keeps_last)
    train_cae(tiny(toy_store, tmp_path / "r", epochs=3))
    assert checkpoint(tmp_path / "r", "last")["epoch"] == 2
    assert (tmp_path / "r/checkpoints/best.ckpt").exists() != keeps_last, "written for nobody"
    run = read_run(tmp_path / "r", "CAEStage")
    assert (run.record["best_epoch"], run.record["val_loss"]) == (epoch, loss)
    wanted = checkpoint(tmp_path / "r", "last" if keeps_last else "best")["state_dict"]
    assert all(torch.equal(wanted[f"network.{name}"], run.weights[name]) for name in run.weights)


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize("validate_every", [1, 2])
def test_killed_run_goes_on_with_the_epoch_after_the_last_when_validation_gets_worse(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validate_every: int
) -> None:
    config = tiny(toy_store, tmp_path / "r", epochs=6, validate_every=validate_every)
    with monkeypatch.context() as patch:
        kill_in(4, patch)
        with pytest.raises(RuntimeError, match="killed"):
            train_cae(config)
    assert checkpoint(tmp_path / "r", "last")["epoch"] == 3
    train_cae(config)
    assert len(losses(tmp_path / "r", start=1)) == 2, "epochs 4 and 5 are trained, no other"
    assert checkpoint(tmp_path / "r", "last")["epoch"] == 5
    first = validate_every - 1
    assert read_run(tmp_path / "r", "CAEStage").record["best_epoch"] == first, "still known as best"
    assert sorted(p.name for p in (tmp_path / "r/checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


@pytest.mark.usefixtures("rising")
def test_run_killed_after_its_last_epoch_still_knows_its_loss(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CAEStage, "keeps_last", True)
    config = tiny(toy_store, tmp_path / "r", epochs=2)
    train_cae(config)
    (tmp_path / "r/run.json").unlink()
    train_cae(config)
    assert read_run(tmp_path / "r", "CAEStage").record["val_loss"] == 2.0


@pytest.mark.parametrize("validate_every", [1, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_validation_loss_that_is_no_number_ends_the_run_before_its_weights_are_kept(
    toy_store: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    validate_every: int,
) -> None:
    loss = CAEStage.loss

    def spoilt(self: CAEStage, batch: Batch, training: bool) -> torch.Tensor:
        good = training or self.current_epoch < 2
        return loss(self, batch, training) if good else torch.tensor(value)

    monkeypatch.setattr(CAEStage, "loss", spoilt)
    with pytest.raises(BadConfig, match="validation loss became"):
        train_cae(tiny(toy_store, tmp_path / "r", epochs=4, validate_every=validate_every))
    assert checkpoint(tmp_path / "r", "last")["epoch"] == 1
    assert checkpoint(tmp_path / "r", "best")["epoch"] <= 1
    assert not (tmp_path / "r/run.json").exists()


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize("content", [b"garbage" * 100, b"", None])
def test_damaged_checkpoint_is_told_in_words_before_the_run_goes_on(
    killed: TrainConfig, name: str, content: bytes | None
) -> None:
    file = killed.output / f"checkpoints/{name}.ckpt"
    if content is None:
        torch.save({"state_dict": {}}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=rf"{name}.ckpt cannot be read. Remove the folder"):
        train_cae(killed)


@pytest.mark.usefixtures("rising")
def test_moved_run_goes_on_with_its_own_best_weights_and_loss(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(toy_store, tmp_path / "old", epochs=3)
    with monkeypatch.context() as patch:
        kill_in(2, patch)
        with pytest.raises(RuntimeError, match="killed"):
            train_cae(config)
    shutil.copytree(config.output, tmp_path / "new")
    best = checkpoint(tmp_path / "new", "best")
    for file in (config.output / "checkpoints").iterdir():
        file.write_bytes(b"not to be read")
    train_cae(replace(config, output=tmp_path / "new"))
    run = read_run(tmp_path / "new", "CAEStage")
    assert (run.record["best_epoch"], run.record["val_loss"]) == (0, 1.0)
    weights = best["state_dict"]
    assert all(torch.equal(weights[f"network.{name}"], run.weights[name]) for name in run.weights)
    assert {f.read_bytes() for f in (config.output / "checkpoints").iterdir()} == {
        b"not to be read"
    }


def test_checkpoint_of_another_network_is_told_in_words(killed: TrainConfig) -> None:
    file = killed.output / "checkpoints/last.ckpt"
    content = torch.load(file, weights_only=True)
    torch.save({**content, "state_dict": {"other": torch.zeros(1)}}, file)
    with pytest.raises(BadCheckpoint, match=r"last\.ckpt cannot be read"):
        train_cae(killed)


def test_best_checkpoint_has_weights_only(toy_store: CropStore, tmp_path: Path) -> None:
    train_cae(tiny(toy_store, tmp_path / "r", epochs=1))
    best, last = (checkpoint(tmp_path / "r", name) for name in ("best", "last"))
    assert "optimizer_states" in last and "optimizer_states" not in best
    sizes = [(tmp_path / f"r/checkpoints/{name}.ckpt").stat().st_size for name in ("best", "last")]
    assert sizes[0] < 0.5 * sizes[1]


def test_a_loss_that_is_no_number_ends_the_run_at_the_end_of_its_epoch(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the epoch is not validated, and although a later loss is a number again."""
    loss = CAEStage.loss

    def spoilt(self: CAEStage, batch: Batch, training: bool) -> torch.Tensor:
        found = loss(self, batch, training)
        return found * torch.nan if training and self.global_step == 1 else found

    monkeypatch.setattr(CAEStage, "loss", spoilt)
    with pytest.raises(BadConfig, match="The loss became nan in epoch 0"):
        train_cae(tiny(toy_store, tmp_path / "r", epochs=2, validate_every=2))
    assert not (tmp_path / "r/checkpoints").exists()


def test_lightning_says_nothing_about_itself(
    toy_store: CropStore, tmp_path: Path, recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    train_cae(tiny(toy_store, tmp_path / "r", epochs=1, device="cpu"))
    output = "".join(capfd.readouterr())
    for word in ("available", "Tip", "max_epochs", "deprecated", "Warning", "http"):
        assert word not in output
    assert not [w for w in recwarn if "lightning" in w.filename]
    assert not [record for record in caplog.records if "lightning" in record.name]


def test_run_is_logged_as_table_and_for_tensorboard(toy_store: CropStore, tmp_path: Path) -> None:
    train_cae(tiny(toy_store, tmp_path / "r", epochs=1))
    folder = tmp_path / "r/logs"
    columns = (folder / "csv/version_0/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"epoch", "train/loss", "val/loss"} <= set(columns)
    events = EventAccumulator(str(folder / "tensorboard/version_0"))
    events.Reload()
    assert {"train/loss", "val/loss"} <= set(events.Tags()["scalars"])
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(
        losses(tmp_path / "r")
    )


@pytest.fixture(scope="module")
def jittered_store(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """Of each labelled sinus its crop, and one of a box that is shifted by a voxel."""
    rows = np.flatnonzero(toy_store.table["label"].notna())
    crops = np.array(toy_store.crops[rows])
    table = toy_store.table.iloc[rows]
    return write_store(
        tmp_path_factory.mktemp("jittered") / "crops",
        np.concatenate([crops, np.roll(crops, 1, axis=1)]),
        pd.concat([table.assign(jitter=0), table.assign(jitter=1)]),
    )


@pytest.mark.parametrize("jittered", [False, True])
def test_crops_of_shifted_boxes_are_trained_on_when_asked_for_but_never_validated_on(
    jittered_store: CropStore, tmp_path: Path, jittered: bool
) -> None:
    store = jittered_store
    train_cae(tiny(store, tmp_path / "cae", epochs=1, jittered=jittered))
    finetune(
        FinetuneConfig(
            store=store.folder, output=tmp_path / "classifier", epochs=1, batch_size=8,
            network=SMALL_ENCODER, optimizer=FAST, jittered=jittered,
        )
    )  # fmt: skip
    copies = 2 if jittered else 1
    for name, train, validation in (("cae", 24, 10), ("classifier", 48, 20)):
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert (record["train_crops"], record["validation_crops"]) == (train * copies, validation)
    rows = (tmp_path / "classifier/predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 44, "validation and test, no shifted boxes"


def test_jittered_without_shifted_boxes_is_answered_in_words(
    toy_store: CropStore, jittered_store: CropStore, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [
        Partition.of(store, None, 1).rows("train", 0, jittered=jittered)
        for store, jittered in ((jittered_store, True), (toy_store, False), (toy_store, True))
    ]
    assert [len(rows) for rows in wanted] == [48, 24, 24]
    assert [record.getMessage() for record in caplog.records] == [
        f"{toy_store.folder} holds no crops of shifted boxes: `jittered` changes nothing."
    ]
