"""Every method goes the whole way: pretrained for one epoch, its encoder starts a classifier."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.data.residual_store import ResidualWriter
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.methods import byol, make_method, method_names, simsiam
from paranasal_training.runs import stage
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.stages.config import FinetuneConfig, PretrainConfig
from paranasal_training.stages.finetune import finetune
from paranasal_training.stages.pretrain import pretrain

from ParanasalSSLLib.model.config import EncoderConfig

TINY = EncoderConfig((4, 8, 8, 16), voxels=32)
FAST = OptimizerConfig(name="adamw", lr=1e-3)
WITHOUT_A_FILE = [name for name in method_names() if name not in ("transfer", "weights")]


@pytest.fixture(scope="module")
def few(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """Four patients of each split."""
    table = toy_store.table
    number = table["patient"].str.split("-").str[1].astype(int)
    rows = np.flatnonzero(number < 4)
    folder = tmp_path_factory.mktemp("few") / "crops"
    return write_store(folder, toy_store.crops[rows], table.iloc[rows].reset_index(drop=True))


@pytest.fixture(scope="module")
def residuals(few: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of each crop, as if an autoencoder had left it."""
    folder = tmp_path_factory.mktemp("left") / "residuals"
    writer = ResidualWriter(folder, few, few.crops.shape[1], {"gain": 1.0})
    writer.write(np.arange(len(few.crops)), few.crops // 2)
    return folder


@pytest.mark.parametrize("name", WITHOUT_A_FILE)
def test_a_pretrained_encoder_is_fine_tuned(
    few: CropStore, residuals: Path, tmp_path: Path, name: str
) -> None:
    learns_residuals = name == "residual"
    pretrain(
        PretrainConfig(
            store=few.folder, output=tmp_path / "encoder", method=name, epochs=1, batch_size=4,
            network=TINY, optimizer=FAST, residuals=residuals if learns_residuals else None,
        )
    )  # fmt: skip
    finetune(
        FinetuneConfig(
            store=few.folder, output=tmp_path / "classifier", pretrained=tmp_path / "encoder",
            epochs=1, batch_size=4, optimizer=FAST,
        )
    )  # fmt: skip
    metrics = json.loads((tmp_path / "classifier/metrics.json").read_text())
    assert 0 <= metrics["test"]["auroc"] <= 1


def test_a_collapse_is_logged_and_told(
    few: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = PretrainConfig(
        store=few.folder, output=tmp_path / "r", method="simsiam", epochs=1, batch_size=4,
        network=TINY, optimizer=FAST,
    )  # fmt: skip
    monkeypatch.setattr(simsiam, "spread", lambda vectors: torch.tensor(0.02))
    with caplog.at_level(logging.WARNING):
        pretrain(config)
    assert "all point one way (spread 0.020" in caplog.text
    table = pd.read_csv(tmp_path / "r/logs/csv/version_0/metrics.csv")
    for name in ("train/spread", "val/spread"):
        assert table[name].dropna().tolist() == [pytest.approx(0.02)]


def test_the_target_of_byol_is_told_how_far_the_run_is(
    few: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(byol.Task, "after_step", lambda self, progress: told.append(progress))
    pretrain(
        PretrainConfig(
            store=few.folder, output=tmp_path / "r", method="byol", epochs=3, batch_size=4,
            network=TINY, optimizer=FAST,
        )
    )  # fmt: skip
    assert len(told) >= 3
    assert told == pytest.approx([step / len(told) for step in range(len(told))])  # paper: k / K


def test_the_predictor_of_simsiam_keeps_its_rate_in_a_run(
    few: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.optim.Optimizer] = []
    make = stage.make_optimizer

    def watched(*args: Any) -> Any:
        optimizer, schedule = make(*args)
        made.append(optimizer)
        return optimizer, schedule

    monkeypatch.setattr(stage, "make_optimizer", watched)
    pretrain(
        PretrainConfig(
            store=few.folder, output=tmp_path / "r", method="simsiam", epochs=2, batch_size=4,
            network=TINY, optimizer=replace(FAST, schedule="cosine", warmup_epochs=0),
        )
    )  # fmt: skip
    predictor = make_method("simsiam", TINY, {}).get_submodule("predictor")
    falling, steady = made[0].param_groups
    assert len(steady["params"]) == len(list(predictor.parameters()))
    assert steady["lr"] == FAST.lr
    assert falling["lr"] == pytest.approx(0, abs=1e-9)


def test_a_run_that_ends_in_its_warm_up_is_told(
    few: CropStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = PretrainConfig(
        store=few.folder, output=tmp_path / "r", method="simclr", epochs=1, batch_size=4,
        network=TINY,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        pretrain(config)
        assert "rises for 20 epochs and the run has 1" in caplog.text
        caplog.clear()
        pretrain(replace(config, output=tmp_path / "s", optimizer=FAST))
        assert "rises" not in caplog.text
        assert "in place of its recipe's lars, cosine, warm-up of 20 epochs" in caplog.text
