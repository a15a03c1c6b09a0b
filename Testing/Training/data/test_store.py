"""Crop stores: whole or not at all, and checked when opened."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.store import (
    CropStore,
    StoreWriter,
    write_store,
)

from ParanasalSSLLib.errors import BadStore

SHAPE = (64, 64, 64)


def rows(count: int = 4) -> pd.DataFrame:
    splits = ["train", "validation", "test", "unlabelled"]
    return pd.DataFrame(
        {
            "patient": [f"p{n // 2}" for n in range(count)],
            "side": ["left", "right"] * (count // 2),
            "class": [0, 3, 0, None][:count],
            "label": [0, 1, 0, None][:count],
            "split": splits[:count],
            "source": "toy",
            "quality": "ok",
        }
    )


def crops(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    data = crops()
    store = write_store(tmp_path / "s", data, rows(), lesions=data > 128, info={"simulated": True})
    again = CropStore.open(store.folder)
    assert np.array_equal(again.crops, data)
    assert again.lesions is not None
    assert np.array_equal(again.lesions, data > 128)
    assert again.info == {"simulated": True}
    assert list(again.rows("train")) == [0]
    assert list(again.rows(label=0)) == [0, 2]
    assert list(again.labels(again.rows("validation"))) == [1]


def test_labels_of_unlabelled_rows_cannot_be_had(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", crops(), rows())
    with pytest.raises(BadStore, match=r"without a label.*row 3 \(patient p1, right\)"):
        store.labels(store.rows("unlabelled"))


@pytest.mark.parametrize("name", ["crops.npy", "table.csv"])
def test_changed_file_is_noticed(tmp_path: Path, name: str) -> None:
    store = write_store(tmp_path / "s", crops(), rows())
    path = store.folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadStore, match=name):
        CropStore.open(store.folder)


def test_missing_file_and_other_version_are_said(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", crops(), rows())
    record = json.loads((store.folder / "store.json").read_text())
    (store.folder / "store.json").write_text(json.dumps(record | {"format_version": 7}))
    with pytest.raises(BadStore, match="version 7"):
        CropStore.open(store.folder)
    (store.folder / "store.json").unlink()
    with pytest.raises(BadStore, match="no crop store"):
        CropStore.open(store.folder)


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "s", rows=4) as writer:
        writer.append(crops(1)[0], rows(2).iloc[0].to_dict())
        raise RuntimeError
    with pytest.raises(BadStore, match="1 rows were written"), StoreWriter(tmp_path / "s", 4) as w:
        w.append(crops(1)[0], rows(2).iloc[0].to_dict())
    assert list(tmp_path.iterdir()) == []


def test_older_store_is_not_overwritten(tmp_path: Path) -> None:
    write_store(tmp_path / "s", crops(), rows())
    with pytest.raises(BadStore, match="there already"):
        write_store(tmp_path / "s", crops(), rows())


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "s", crops(), rows())

    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(BadStore, match=r"needs 26\.21 GB in .*No space left.*another disk"):
        StoreWriter(tmp_path / "big", rows=100_000).__enter__()
    assert [path.name for path in tmp_path.rglob("*") if path.parent != store.folder] == ["s"]


def test_a_disk_that_cannot_set_room_aside_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(file: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    data = crops()
    assert np.array_equal(write_store(tmp_path / "s", data, rows()).crops, data)
