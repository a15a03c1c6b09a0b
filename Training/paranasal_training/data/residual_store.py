"""Residuals on disk: `residuals.npy`, aligned with the rows of one crop store.

`done.npy` says which rows have been computed, `residuals.json` how, and for which crops.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paranasal_training.data.arrays import (
    FORMAT_VERSION,
    map_array,
    new_array,
    read_store_record,
)
from paranasal_training.data.store import CropStore
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.files import write_json, write_whole


@dataclass(frozen=True, eq=False)
class ResidualStore:
    """Residuals of the rows of a crop store.

    Attributes:
        folder: where it lies.
        residuals: uint8 (N, D, D, D), mapped from disk; value / (255 * gain) is the residual. D is
            the edge of the autoencoder's crops, 64 (1 mm) or 32 (2 mm).
        done: bool (N,), rows that have been computed; others are 0.
        info: `store` (checksum of the crop store), `gain`, `residual` (configuration), ...
    """

    folder: Path
    residuals: np.ndarray
    done: np.ndarray
    info: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path, store: CropStore) -> ResidualStore:
        """Open the residuals of `store`.

        Raises:
            BadStore: missing, damaged, incomplete, of another version or of another crop store.
        """
        folder = Path(folder)
        info = read_store_record(
            folder / "residuals.json", "residual store", ("store", "voxels", "gain")
        )
        remake = "Make it again with `paranasal residuals`."
        if info.get("store") != store.checksum:
            raise BadStore(f"{folder} holds the residuals of other crops. {remake}")
        shape = (len(store.table), *(info["voxels"],) * 3)
        residuals = map_array(folder / "residuals.npy", shape)
        try:
            done = np.load(folder / "done.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadStore(f"{folder / 'done.npy'} is missing or damaged. {remake}") from error
        if done.shape != (len(store.table),) or done.dtype != bool:
            raise BadStore(f"{folder / 'done.npy'} is damaged. {remake}")
        return cls(folder, residuals, done, info)

    @property
    def gain(self) -> float:
        """Residuals were multiplied by this before they were stored in 0..255."""
        return float(self.info["gain"])


class ResidualWriter:
    """Writes residuals in any order and over several sittings.

    Args:
        folder: of the residual store; when it holds one with the same `info`, it is continued;
            without `done.npy` it counts as empty.
        store: the crops that the residuals belong to.
        voxels: edge of a residual map.
        info: what they depend on, plain JSON values; must hold `gain`.

    Raises:
        BadStore: the folder holds residuals that were made in another way; no space is left.
    """

    def __init__(
        self, folder: str | Path, store: CropStore, voxels: int, info: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder)
        record = {
            "format_version": FORMAT_VERSION,
            "kind": "residual store",
            "store": store.checksum,
            "voxels": voxels,
            **info,
        }
        if self._has_begun():
            found = ResidualStore.open(self.folder, store)
            if found.info != json.loads(json.dumps(record)):
                raise BadStore(
                    f"{self.folder} holds residuals of another autoencoder or configuration. "
                    "Choose another folder, or remove it."
                )
            self.done = found.done
        else:
            self._start(store, record)
        path = self.folder / "residuals.npy"
        self._array = np.lib.format.open_memmap(path, mode="r+")

    def _has_begun(self) -> bool:
        # Snakemake takes done.npy away when the step failed, was killed or is to be done again.
        return all((self.folder / name).exists() for name in ("residuals.json", "done.npy"))

    def _start(self, store: CropStore, record: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "residuals.npy"
        shape = (len(store.table), *(record["voxels"],) * 3)
        new_array(path, shape, self.folder)
        write_json(self.folder / "residuals.json", record)
        self.done = np.zeros(len(store.table), bool)
        self._save_done()

    def write(self, rows: np.ndarray, residuals: np.ndarray) -> None:
        """Store uint8 (n, D, D, D) residuals of n rows and remember that they are done."""
        self._array[rows] = residuals
        self._array.flush()
        self.done[rows] = True
        self._save_done()

    def _save_done(self) -> None:
        with write_whole(self.folder / "done.npy") as temporary:
            np.save(temporary, self.done)
