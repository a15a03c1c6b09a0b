"""Residual stores: of their crops, made in one way, over several sittings."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.residual_store import ResidualStore, ResidualWriter
from paranasal_training.data.store import CropStore, write_store

from ParanasalSSLLib.errors import BadStore


@pytest.fixture
def store(tmp_path: Path) -> CropStore:
    return small_store(tmp_path / "s", crops(4))


def small_store(folder: Path, crops: np.ndarray) -> CropStore:
    """Four unlabelled crops."""
    table = pd.DataFrame(
        {
            "patient": ["p0", "p0", "p1", "p1"],
            "side": ["left", "right"] * 2,
            "class": None,
            "label": None,
            "split": "unlabelled",
            "source": "toy",
            "quality": "ok",
        }
    )
    return write_store(folder, crops, table)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 64)).astype(np.uint8)


def test_residuals_belong_to_their_crops_and_way_of_making(
    store: CropStore, tmp_path: Path
) -> None:
    writer = ResidualWriter(tmp_path / "r", store, 64, {"gain": 2.0})
    writer.write(np.array([1, 3]), crops(2))
    found = ResidualStore.open(tmp_path / "r", store)
    assert list(found.done) == [False, True, False, True]
    assert np.array_equal(found.residuals[[1, 3]], crops(2))
    assert found.gain == 2.0

    other = small_store(tmp_path / "o", crops(4)[::-1].copy())
    with pytest.raises(BadStore, match="other crops"):
        ResidualStore.open(tmp_path / "r", other)
    with pytest.raises(BadStore, match="another autoencoder"):
        ResidualWriter(tmp_path / "r", store, 64, {"gain": 3.0})


def test_residuals_are_resumed_where_they_stopped(store: CropStore, tmp_path: Path) -> None:
    ResidualWriter(tmp_path / "r", store, 64, {"gain": 2.0}).write(np.array([0]), crops(1))
    second = ResidualWriter(tmp_path / "r", store, 64, {"gain": 2.0})
    assert list(second.done) == [True, False, False, False]
    second.write(np.array([1]), crops(1))
    assert ResidualStore.open(tmp_path / "r", store).done.sum() == 2


def test_residuals_begin_anew_when_snakemake_has_removed_what_says_how_far_they_are(
    store: CropStore, tmp_path: Path
) -> None:
    ResidualWriter(tmp_path / "r", store, 64, {"gain": 2.0}).write(np.array([0]), crops(1))
    (tmp_path / "r/done.npy").unlink()
    with pytest.raises(BadStore, match=r"done\.npy"):
        ResidualStore.open(tmp_path / "r", store)
    again = ResidualWriter(tmp_path / "r", store, 64, {"gain": 1.0})
    assert not again.done.any()
    again.write(np.array([1]), crops(1))
    found = ResidualStore.open(tmp_path / "r", store)
    assert (found.gain, list(found.done)) == (1.0, [False, True, False, False])
    assert not found.residuals[0].any(), "nothing is left of the first start"


def test_a_full_disk_is_said_before_anything_is_written(
    store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(BadStore, match=r"residuals\.npy needs 0\.00 GB"):
        ResidualWriter(tmp_path / "r", store, 64, {"gain": 2.0})
    assert not list((tmp_path / "r").iterdir())
