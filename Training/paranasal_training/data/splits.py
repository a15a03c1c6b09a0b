"""Which patients train, validate and test (Bhattacharya 2024, Table 1; 2.6).

`splits.csv` has one line for each labelled patient:

- `patient`: as in the crop store's table; both sides of a patient always stay together.
- `set`: `test` (fixed, 30 %), or `fold`.
- `fold`: 1 to 5 for the latter; fold k validates in run k and trains in all the others.
- `position_1`, `position_2`, ...: 0 to 1, one a run; in run k a fraction p takes the patients with a
  `position_k` below p, so that smaller ones are nested in larger ones. Each run draws its own, so that
  the runs' few labels are no more alike than chance makes them.

`splits.json` beside it says which crops it was made for, and how many sinuses of each class there are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from paranasal_training.data.config import SplitConfig
from paranasal_training.data.store import CropStore
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.files import sha256, write_json, write_whole

logger = logging.getLogger(__name__)

Part = Literal["train", "validation", "test", "unlabelled"]
COLUMNS = ("patient", "set", "fold")
POSITION = "position_{}"
TOLERANCE = 1.0  # sinuses of a kind by which a beginning may miss its quota
COLUMN_TYPES: Any = {"patient": str, "fold": "Int64"}
REMAKE = "Make it again with `paranasal split`."
OWN_DIVISION = "A division of your own goes into the column split of the table of scans."


def make_splits(config: SplitConfig) -> Path:
    """Divide the labelled patients of a store; returns the written CSV.

    Raises:
        BadStore: the store is damaged, or a part would lack a class.
        BadConfig: the output is there already and differs.
    """
    store = CropStore.open(config.store)
    table = divided_patients(store, config)
    record = {
        "store": store.checksum,
        "folds": config.folds,
        "test_share": config.test_fraction,
        "seed": config.seed,
        "sinuses": _count(store, table),
    }
    for fold in range(1, config.folds + 1):
        Partition.divided(store, table, fold).require_both_classes()
    text = table.to_csv(index=False)
    if config.output.is_file() and config.output.read_text(encoding="utf-8") != text:
        raise BadConfig(f"{config.output} is there already and differs. Choose another name.")
    with write_whole(config.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_json(_record_path(config.output), record | {"sha256": sha256(config.output)})
    return config.output


def divided_patients(store: CropStore, config: SplitConfig) -> pd.DataFrame:
    """The table of `splits.csv` for a store. Raises `BadStore`, `BadConfig`: patients are too few."""
    table = divide(patient_strata(store), config)
    members = table["fold"].dropna()
    if members.nunique() < config.folds:
        raise BadConfig(f"{len(members)} patients cannot be divided into {config.folds} folds.")
    return table


def fold_count(splits: Path) -> int:
    """How many folds a file of `paranasal split` has. Raises `BadStore`."""
    try:
        return int(json.loads(_record_path(splits).read_text(encoding="utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not splits.is_file():
            raise BadStore(f"{splits} does not exist. Check the path.") from error
        raise BadStore(
            f"{splits} is not as `paranasal split` made it: {_record_path(splits).name} beside it is "
            f"missing or damaged. {OWN_DIVISION}"
        ) from error


def patient_strata(store: CropStore) -> pd.DataFrame:
    """One line for each labelled patient: `patient`, `stratum` (its classes, sorted).

    Raises:
        BadStore: no patient has a label, there is nothing to split.
    """
    labelled = store.table.iloc[store.rows()].dropna(subset=["label"])
    if labelled.empty:
        raise BadStore(f"{store.folder} has no labelled sinuses, there is nothing to split.")
    kinds = labelled["class"].fillna(labelled["label"]).astype(int)
    words = kinds.astype(str).groupby(labelled["patient"]).agg(lambda k: "".join(sorted(k)))
    anomalous = labelled.groupby("patient")["label"].sum().astype(str)
    strata = (anomalous + ":" + words).rename("stratum")
    return strata.rename_axis("patient").reset_index()


def divide(strata: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Patients and strata -> the table of `splits.csv`.

    Patients are lined up by stratum, in random order within one, and dealt out in turn: so every part
    gets its share of every stratum, of rare ones too, to within one patient.
    """
    rng = np.random.default_rng([config.seed, 0x5B])
    shuffled = strata.sort_values("patient").iloc[rng.permutation(len(strata))]
    line = shuffled.sort_values("stratum", kind="stable").reset_index(drop=True)
    turn = np.arange(len(line)) + rng.random()
    test = np.floor((turn + 1) * config.test_fraction) > np.floor(turn * config.test_fraction)
    number = np.cumsum(~test) - 1
    fold = pd.Series(number % config.folds + 1, dtype="Int64").mask(test)
    parts = {"patient": line["patient"], "set": np.where(test, "test", "fold"), "fold": fold}
    positions = {
        POSITION.format(run): _positions(line["stratum"], [test, fold.eq(run).fillna(False)], rng)
        for run in range(1, config.folds + 1)
    }
    table = pd.DataFrame(parts | positions)
    return table.sort_values("patient").reset_index(drop=True)


def _positions(
    strata: pd.Series, apart: list[np.ndarray | pd.Series], rng: np.random.Generator
) -> np.ndarray:
    """Positions (n,) in one run: test set, validation (`apart`) and training each in an order of its
    own."""
    part = sum(np.asarray(chosen, int) << bit for bit, chosen in enumerate(apart))
    position = np.zeros(len(strata))
    for number in np.unique(part):
        rows = np.flatnonzero(part == number)
        order = even_order(strata.iloc[rows].tolist(), rng)
        position[rows[order]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return position.round(6)


def even_order(strata: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """A random order whose every beginning holds each stratum and each kind of sinus in proportion.

    The next patient is of the stratum that is farthest behind its quota, each having started at random
    up to half a patient ahead or behind. Chosen is among the strata that keep every kind's count
    within `TOLERANCE` of its quota, now and after one more patient (or come nearest, where none does).
    That puts off some patients with one anomaly on both sides, who take two of a rare kind's places at
    once: all in all by less than one among 60.

    Args:
        strata: of n patients; the characters after the colon are the kinds of their sinuses.
        rng: source of the order.

    Returns:
        int (n,), numbers of patients.
    """
    names, of = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)
    words = [name.rsplit(":", 1)[-1] for name in names]
    kinds = sorted(set("".join(words)))
    sinuses = np.array([[word.count(kind) for kind in kinds] for word in words])
    waiting = [list(rng.permutation(np.flatnonzero(of == i))) for i in range(len(names))]
    quota = np.bincount(of) / len(strata)  # of each stratum, for one patient more
    due = quota @ sinuses  # of each kind
    ahead = rng.uniform(-0.5, 0.5, len(names))  # patients of each stratum
    surplus = np.zeros(len(kinds))  # sinuses of each kind
    order = []
    for _ in strata:
        ahead, surplus = ahead - quota, surplus - due
        left = np.flatnonzero([len(patients) for patients in waiting])
        now = surplus + sinuses[left]
        then = now[:, None] - due + sinuses[left]
        off = np.maximum(_largest(now), _largest(then).min(axis=1))
        allowed = left[off <= max(TOLERANCE, off.min())]
        chosen = int(allowed[np.argmin(ahead[allowed])])
        ahead[chosen] += 1
        surplus = surplus + sinuses[chosen]
        order.append(waiting[chosen].pop())
    return np.array(order, int)


def _largest(counts: np.ndarray) -> np.ndarray:
    """The largest count in size along the last axis."""
    return np.abs(counts).max(axis=-1)


@dataclass(frozen=True, eq=False)
class Partition:
    """Which rows of a store a run may use for what.

    Attributes:
        store: the crops.
        part: for each row "train", "validation", "test", "unlabelled" or "" (not to be used).
        position: for each row 0..1, see the file's description.
    """

    store: CropStore
    part: np.ndarray
    position: np.ndarray

    @classmethod
    def of(cls, store: CropStore, splits: Path | None, fold: int = 1) -> Partition:
        """By a file of `paranasal split`, or (None) as the store's own table says.

        Raises:
            BadStore: the file is missing, damaged or of another store, or lacks the fold or a
                labelled patient; there is no file and the store is not divided, or parts a patient.
        """
        if splits is not None:
            return cls.read(store, splits, fold)
        part = store.table["split"].to_numpy(dtype=object).copy()
        if (part == "labelled").any():
            raise BadStore(
                f"{store.folder} is not divided into training, validation and test yet. Run "
                "`paranasal split` and give its file with --splits."
            )
        if store.table["label"].isna().all():
            return cls(store, part, np.zeros(len(part)))
        _refuse_parted(store)
        # The other side of a patient with a label is nothing to pretrain on.
        part[(part == "unlabelled") & store.table["patient"].isin(patients_with_labels(store))] = ""
        return cls(store, part, _positions_as_divided(store, part))

    @classmethod
    def read(cls, store: CropStore, splits: Path, fold: int = 1) -> Partition:
        """By a file of `paranasal split`. Raises `BadStore`, see `of`."""
        table = _read_table(splits, store)
        folds = sorted(table["fold"].dropna().unique())
        if fold not in folds:
            raise BadStore(f"{splits} has no fold {fold}; there are {', '.join(map(str, folds))}.")
        absent = set(patient_strata(store)["patient"]) - set(table["patient"])
        if absent:
            raise BadStore(
                f"{splits}: labelled patients of {store.folder} who do not stand in it: {len(absent)}, "
                f"first {min(absent)}. {REMAKE}"
            )
        return cls.divided(store, table, fold)

    @classmethod
    def divided(cls, store: CropStore, table: pd.DataFrame, fold: int) -> Partition:
        """By a table of `divide`, with all labelled patients of the store in it."""
        table = table.set_index("patient")
        group = _by_patient(store, table["set"])
        own = _by_patient(store, table["fold"])
        known = store.table["label"].notna()
        part = np.full(len(store.table), "", dtype=object)
        part[group.isna() & ~known] = "unlabelled"
        part[known & (group == "test")] = "test"
        part[known & (group == "fold")] = "train"
        part[known & (own == fold).fillna(False)] = "validation"
        position = _by_patient(store, table[POSITION.format(fold)]).fillna(0)
        return cls(store, part, position.to_numpy(float))

    def rows(
        self,
        part: Part,
        label: int | None = None,
        fraction: float = 1.0,
        jittered: bool = False,
    ) -> np.ndarray:
        """int64 row numbers, ascending.

        Args:
            part: of the partition.
            label: 0, 1 or None (any).
            fraction: of the patients of this part, 0..1; smaller ones are nested in larger ones.
            jittered: crops of shifted boxes too; a warning where there are none.
        """
        if jittered and not self.store.table.get("jitter", pd.Series(0)).any():
            logger.warning(
                "%s holds no crops of shifted boxes: `jittered` changes nothing.", self.store.folder
            )
        rows = self.store.rows(None, label, jittered)
        rows = rows[self.part[rows] == part]
        return rows if fraction >= 1 else rows[self.position[rows] < fraction]

    def require_both_classes(self) -> None:
        """Raise `BadStore` when training, validation or test lacks normal or anomalous sinuses."""
        for part in ("train", "validation", "test"):
            for label, word in ((0, "normal"), (1, "anomalous")):
                if not len(self.rows(part, label)):
                    raise BadStore(
                        f"{self.store.folder}: no {word} sinus in the {part} set. More labelled "
                        "patients, or fewer folds, are needed."
                    )


def patients_with_labels(store: CropStore) -> set[str]:
    """Patients of whom one side or both have a label."""
    return set(store.table["patient"][store.table["label"].notna()])


def _refuse_parted(store: CropStore) -> None:
    """Raise `BadStore` for a patient with labels in two parts of the store's own table."""
    labelled = store.table[store.table["label"].notna()]
    parts = labelled.groupby("patient")["split"].unique()
    for patient, of in parts[parts.str.len() > 1].items():
        raise BadStore(
            f"{store.folder / 'table.csv'}: patient {patient} is in {' and in '.join(of)}. A patient "
            "has one split: put the table of scans right, and prepare the crops again."
        )


def _positions_as_divided(store: CropStore, part: np.ndarray) -> np.ndarray:
    """Positions of all rows of a store whose own table divides it."""
    line = patient_strata(store).sort_values("patient", ignore_index=True)
    of = line["patient"].map(dict(zip(store.table["patient"], part, strict=True)))
    rng = np.random.default_rng([0, 0x5C])
    drawn = _positions(line["stratum"], [of == "test", of == "validation"], rng)
    return _by_patient(store, pd.Series(drawn, line["patient"])).fillna(0).to_numpy(float)


def _by_patient(store: CropStore, values: pd.Series) -> pd.Series:
    return store.table["patient"].map(values)


def _read_table(path: Path, store: CropStore) -> pd.DataFrame:
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        intact = record["sha256"] == sha256(path)
        table = pd.read_csv(path, dtype=COLUMN_TYPES)
    except (OSError, ValueError, KeyError) as error:
        raise BadStore(f"{path} is missing or damaged. {REMAKE}") from error
    if record["store"] != store.checksum:
        raise BadStore(f"{path} divides other crops than those in {store.folder}. {REMAKE}")
    names = (*COLUMNS, *(POSITION.format(run) for run in range(1, record["folds"] + 1)))
    if not intact or tuple(table.columns) != names:
        raise BadStore(f"{path} was changed after it was made. {REMAKE} {OWN_DIVISION}")
    twice = table["patient"][table["patient"].duplicated()]
    if len(twice):
        raise BadStore(f"{path}: patient {twice.iloc[0]} stands in it twice. {REMAKE}")
    return table


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _count(store: CropStore, table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Sinuses of each label in the test set and each fold."""
    where = table.set_index("patient")
    group = (
        _by_patient(store, where["fold"])
        .astype(str)
        .where(_by_patient(store, where["set"]) == "fold", _by_patient(store, where["set"]))
    )
    rows = store.table.iloc[store.rows()].dropna(subset=["label"])
    names = {0: "normal", 1: "anomalous"}
    found = rows.groupby([group.loc[rows.index], rows["label"].map(names)]).size()
    return {
        str(part): {str(k): int(v) for k, v in counts.droplevel(0).items()}
        for part, counts in found.groupby(level=0)
    }
