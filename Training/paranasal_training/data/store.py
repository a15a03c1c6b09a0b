"""Crops on disk: what every stage of training reads, and the one place that knows the format.

A crop store is a folder:

- `crops.npy`: uint8 (N, 64, 64, 64); 0..255 stands for 0..1; axes as in `ParanasalSSLLib.crop`.
- `lesions.npy` (optional): uint8 (N, 64, 64, 64), 1 inside a lesion.
- `table.csv`: one line a row, see `COLUMNS`; others may follow: `jitter` (0: the box itself; 1, 2, ...:
  the same sinus in a shifted box), and `true_class`, `lesion_ml` and more that a simulation knows and
  that training never reads. `split` is "labelled" where `paranasal split` has yet to divide the rows.
- `store.json`: format version, shapes, SHA-256 of each file, and how it was made.

Residuals of its rows lie in a residual store, see `residual_store`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from paranasal_training.data.arrays import (
    FORMAT_VERSION,
    REMAKE,
    map_array,
    new_array,
    read_store_record,
)
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.files import sha256, write_json, write_whole_folder

CROP_SHAPE = (64, 64, 64)
COLUMNS = ("row", "patient", "side", "class", "label", "split", "source", "quality")
STORE_FILES = ("crops.npy", "lesions.npy", "table.csv", "store.json")
SPLITS = ("train", "validation", "test", "labelled", "unlabelled")


@dataclass(frozen=True, eq=False)
class CropStore:
    """An opened, checked crop store.

    Attributes:
        folder: where it lies.
        crops: uint8 (N, 64, 64, 64), mapped from disk, read-only.
        lesions: uint8 (N, 64, 64, 64) of 0 and 1, or None.
        table: one line a row; `class` and `label` are nullable integers.
        info: how it was made ("simulated", "config", ...).
        checksum: SHA-256 of `crops.npy`, names this store in other files.
    """

    folder: Path
    crops: np.ndarray
    lesions: np.ndarray | None
    table: pd.DataFrame
    info: dict[str, Any]
    checksum: str

    @classmethod
    def open(cls, folder: str | Path) -> CropStore:
        """Open a store and check that it is whole.

        All files are read once to compare their SHA-256 (about a second a gigabyte); after that, as
        long as their sizes and times of change stay, they are trusted.

        Raises:
            BadStore: missing, damaged, incomplete or of another version.
        """
        folder = Path(folder)
        record = read_record(folder)
        _verify(folder, record["sha256"])
        crops = map_array(folder / "crops.npy", (record["rows"], *CROP_SHAPE))
        lesions = None
        if "lesions.npy" in record["sha256"]:
            lesions = map_array(folder / "lesions.npy", (record["rows"], *CROP_SHAPE))
        table = _read_table(folder / "table.csv", record["rows"])
        return cls(folder, crops, lesions, table, record["info"], record["sha256"]["crops.npy"])

    def rows(
        self, split: str | None = None, label: int | None = None, jittered: bool = False
    ) -> np.ndarray:
        """int64 row numbers of one split and label (None: any), ascending.

        Args:
            split, label: what to choose.
            jittered: crops of shifted boxes too.

        Raises:
            BadStore: no such split.
        """
        chosen = np.ones(len(self.table), bool)
        if "jitter" in self.table and not jittered:
            chosen &= (self.table["jitter"] == 0).to_numpy()
        if split is not None:
            if split not in SPLITS:
                raise BadStore(f"There is no split {split!r}; choose {', '.join(SPLITS)}.")
            chosen &= (self.table["split"] == split).to_numpy()
        if label is not None:
            chosen &= (self.table["label"] == label).fillna(False).to_numpy(dtype=bool)
        return np.flatnonzero(chosen)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """int64 labels (0 normal, 1 anomalous) of labelled rows.

        Raises:
            BadStore: one of the rows has no label; names it.
        """
        labels = self.table["label"].iloc[rows]
        if labels.isna().any():
            first = int(labels.index[labels.isna()][0])
            raise BadStore(
                f"{self.folder}: rows without a label cannot be used for this; first row {first} "
                f"(patient {self.table['patient'].iloc[first]}, {self.table['side'].iloc[first]})."
            )
        return labels.to_numpy(dtype=np.int64)


class StoreWriter:
    """Writes a crop store row by row; the folder appears under its name when all rows are there.

    Example:
        with StoreWriter(folder, rows=2, info={"simulated": True}) as writer:
            writer.append(crop, {"patient": "sim-1", "side": "left", ...})

    Args:
        folder: where the store will be; must not exist yet, or be empty.
        rows: how many rows will be appended.
        lesions: whether each row comes with a lesion mask.
        info: how the crops were made, plain JSON values.

    Raises:
        BadStore: the folder is not empty; no space is left; fewer or more rows than said; a malformed
            crop or row.
    """

    def __init__(
        self,
        folder: str | Path,
        rows: int,
        lesions: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise BadStore(f"{self.folder} is there already. Choose another folder, or remove it.")
        self.rows = rows
        self.info = dict(info or {})
        self.table: list[dict[str, Any]] = []
        self._names = ["crops.npy", "lesions.npy"] if lesions else ["crops.npy"]
        self._arrays: dict[str, np.ndarray] = {}

    def __enter__(self) -> StoreWriter:
        shape = (self.rows, *CROP_SHAPE)
        with ExitStack() as stack:
            self._temporary = stack.enter_context(write_whole_folder(self.folder))
            for name in self._names:
                self._arrays[name] = new_array(self._temporary / name, shape, self.folder)
            stack.callback(self._arrays.clear)
            self._exit = stack.pop_all()
        return self

    def append(
        self, crop: np.ndarray, row: Mapping[str, Any], lesion: np.ndarray | None = None
    ) -> None:
        """Add one crop, uint8 (64, 64, 64), with its table entries and, if promised, its mask."""
        number = len(self.table)
        if number >= self.rows:
            raise BadStore(f"{self.folder}: more than the {self.rows} rows that were announced.")
        if ("lesions.npy" in self._names) != (lesion is not None):
            raise BadStore(f"{self.folder}: every row needs a lesion mask, or none has one.")
        if crop.dtype != np.uint8 or crop.shape != CROP_SHAPE:
            raise BadStore(
                f"{self.folder}: row {number} is {crop.dtype} {crop.shape}, not uint8 {CROP_SHAPE}."
            )
        self._arrays["crops.npy"][number] = crop
        if lesion is not None:
            self._arrays["lesions.npy"][number] = lesion > 0
        self.table.append({"row": number, **row})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._exit:
            if error is not None:
                raise error
            self._finish()

    def _finish(self) -> None:
        if len(self.table) != self.rows:
            raise BadStore(
                f"{self.folder}: {len(self.table)} rows were written, {self.rows} announced."
            )
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]
        table = _checked_table(pd.DataFrame(self.table), self.folder)
        table.to_csv(self._temporary / "table.csv", index=False)
        names = [*self._names, "table.csv"]
        record = {
            "format_version": FORMAT_VERSION,
            "kind": "crop store",
            "rows": self.rows,
            "sha256": {name: sha256(self._temporary / name) for name in names},
            "info": self.info,
        }
        write_json(self._temporary / "store.json", record)


def write_store(
    folder: str | Path,
    crops: np.ndarray,
    table: pd.DataFrame,
    lesions: np.ndarray | None = None,
    info: Mapping[str, Any] | None = None,
) -> CropStore:
    """Write arrays that are in memory as a crop store, and open it. Errors: see `StoreWriter`."""
    with StoreWriter(folder, len(crops), lesions is not None, info) as writer:
        for number, row in enumerate(table.drop(columns="row", errors="ignore").to_dict("records")):
            mask = None if lesions is None else lesions[number]
            writer.append(crops[number], {str(k): v for k, v in row.items()}, mask)
    return CropStore.open(folder)


def read_record(folder: Path) -> dict[str, Any]:
    """What `store.json` of a crop store says, without a look at the crops themselves.

    Raises:
        BadStore: missing, damaged or of another version.
    """
    return read_store_record(folder / "store.json", "crop store", ("rows", "sha256", "info"))


def _verify(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare the files with their digests, unless that was done since they last changed."""
    state = {}
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise BadStore(f"{path} is missing, the crop store is incomplete. {REMAKE}")
        facts = path.stat()
        state[name] = [digest, facts.st_size, facts.st_mtime_ns]
    mark = folder / ".verified.json"
    with suppress(OSError, ValueError):
        if json.loads(mark.read_text(encoding="utf-8")) == state:
            return
    for name, digest in digests.items():
        if sha256(folder / name) != digest:
            raise BadStore(f"{folder / name} is damaged or was changed after it was made. {REMAKE}")
    with suppress(OSError):  # a store on a read-only disk is verified each time
        write_json(mark, state)


def _read_table(path: Path, rows: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"patient": str, "source": str, "quality": str})
    except (OSError, ValueError) as error:
        raise BadStore(f"{path} is damaged and cannot be read as CSV. {REMAKE}") from error
    if len(table) != rows:
        raise BadStore(f"{path} has {len(table)} lines, {rows} were expected. {REMAKE}")
    return _checked_table(table, path)


def _checked_table(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    missing = set(COLUMNS) - set(table.columns)
    if missing:
        raise BadStore(f"{path}: the table lacks the columns {', '.join(sorted(missing))}.")
    wrong = set(table["split"]) - set(SPLITS)
    if wrong:
        raise BadStore(f"{path}: unknown splits {sorted(map(str, wrong))}; known are {SPLITS}.")
    table = table.copy()
    for column in ("class", "label"):
        table[column] = table[column].astype("Int64")
    labels = set(table["label"].dropna().astype(int))
    if not labels <= {0, 1}:
        raise BadStore(f"{path}: labels are 0 (normal), 1 (anomalous) or empty; found {labels}.")
    return table
