"""Several processes share a run: every batch is divided, one result is written."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paranasal_training.data.batches import BatchLoader, load_crops
from paranasal_training.data.store import CropStore
from paranasal_training.stages.cae import train_cae
from paranasal_training.stages.config import TrainConfig

from ParanasalSSLLib.errors import BadConfig


def test_processes_divide_every_batch_among_them(toy_store: CropStore) -> None:
    rows = toy_store.rows("train")
    data = load_crops(toy_store, rows, np.arange(len(rows)), voxels=32)
    whole = list(BatchLoader(data, 8, seed=3, shuffle=True))
    parts = [list(BatchLoader(data, 8, 3, True, rank, 2)) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        halves = [set(part[number].target.tolist()) for part in parts]
        assert not halves[0] & halves[1]
        assert halves[0] | halves[1] == set(batch.target.tolist())
        assert parts[0][number].seed != parts[1][number].seed, "not the same noise twice"


def test_no_seed_is_used_twice(toy_store: CropStore) -> None:
    data = load_crops(toy_store, toy_store.rows("train"), voxels=32)
    loaders = [BatchLoader(data, 8, 0, True, rank, 2) for rank in (0, 1)]
    seeds = []
    for epoch in range(3):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)
            seeds += [batch.seed for batch in loader]
    assert len(seeds) == 3 * 2 * len(loaders[0]) == len(set(seeds))
    alone = [batch.seed for batch in BatchLoader(data, 8, 0, True)]
    assert alone == seeds[: len(alone)], "the first process draws as a single one"


def test_no_process_is_left_without_a_crop(toy_store: CropStore) -> None:
    data = load_crops(toy_store, toy_store.rows("train")[:9], np.arange(9), voxels=32)
    parts = [
        [b.target.tolist() for b in BatchLoader(data, 4, 0, False, rank, 2)] for rank in (0, 1)
    ]
    assert parts == [[[0, 2], [4, 6], [8]], [[1, 3], [5, 7], [8]]]


def test_batches_that_cannot_be_divided_are_refused(toy_store: CropStore) -> None:
    data = load_crops(toy_store, toy_store.rows("test"), voxels=32)
    with pytest.raises(BadConfig, match="cannot be shared by 3"):
        BatchLoader(data, 8, 0, True, 0, 3)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_told_in_words(toy_store: CropStore, tmp_path: Path) -> None:
    config = TrainConfig(store=toy_store.folder, output=tmp_path / "run", epochs=1, device="mps")
    with pytest.raises(BadConfig, match="device mps, devices 1: this machine has no such device"):
        train_cae(config)


def test_a_job_with_fewer_tasks_than_devices_is_told(
    toy_store: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = {"NTASKS": "1", "JOB_NAME": "job", "JOB_ID": "1", "NODELIST": "localhost"}
    for name, value in {**job, "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)

    def stop(*words: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.Trainer, "fit", stop)
    config = TrainConfig(store=toy_store.folder, output=tmp_path / "run", device="cpu", devices=2)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        train_cae(config)
    assert "2 devices are asked for, but the scheduler started 1 processes" in caplog.text


@pytest.mark.slow
def test_two_processes_train_one_run(toy_store: CropStore, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "paranasal"
    words = f"train --store {toy_store.folder} --output {tmp_path / 'run'} --device cpu --devices 2"
    words += " --epochs 2 --batch_size 8 --network.voxels 32 --network.channels [4,8]"
    words += " --network.latent 8 --optimizer.lr 0.005"
    done = subprocess.run([program, *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["config"]["devices"] == 2
    lines = (tmp_path / "run/logs/csv/version_0/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    losses = [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]
    assert losses[1] < losses[0]
