"""Crops that are there already: what they allow an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paranasal_training.data.splits import fold_count
from paranasal_training.data.store import STORE_FILES, read_record
from ParanasalSSLLib.errors import BadConfig, BadStore

DIVIDED = {"train", "validation", "test"}
LEAST_UNLABELLED = 2  # patients; `stages.pretrain` asks for as many


@dataclass(frozen=True)
class OwnCrops:
    """A crop store by its record and table.

    simulated: whether it is simulated. masks: whether its lesions are known.
    divided: whether its own table names training, validation and test.
    unlabelled: whether there are patients to pretrain on beside those with labels.
    shifted: whether there are crops of shifted boxes.
    """

    folder: Path
    simulated: bool
    masks: bool
    divided: bool
    unlabelled: bool
    shifted: bool

    @classmethod
    def read(cls, folder: Path) -> OwnCrops:
        """Without a look at the crops themselves. Raises `BadStore`: no crop store, or damaged."""
        record = read_record(folder)
        simulated = bool(record["info"].get("simulated", False))
        table = _table(folder)
        named = set(table["split"][table["label"].notna()])
        without = set(table["patient"]) - set(table["patient"][table["label"].notna()])
        return cls(
            folder.resolve(),
            simulated,
            "lesions.npy" in record["sha256"],
            # A simulated table is divided too, into one partition; its folds are made from it all.
            not simulated and bool(named & DIVIDED) and _all_named(folder, named),
            len(without) >= LEAST_UNLABELLED,
            "jitter" in table and bool(table["jitter"].any()),
        )


def _table(folder: Path) -> pd.DataFrame:
    path, needed = folder / "table.csv", ["patient", "split", "label"]
    try:
        table = pd.read_csv(path, dtype={"patient": str})
        return table[[*needed, *({"jitter"} & set(table))]]
    except (OSError, ValueError, KeyError) as error:
        raise BadStore(f"{path} is damaged and cannot be read as CSV.") from error


def _all_named(folder: Path, named: set[str]) -> bool:
    if "labelled" in named:
        raise BadConfig(
            f"{folder / 'table.csv'}: the column split names the part of some patients with labels, "
            "not of all. Name train, validation or test for each in the table of scans, or for none, "
            "and prepare the crops again; or give a file of `paranasal split` with --splits."
        )
    return True


def count_folds(own: OwnCrops | None, splits: Path | None, wanted: int | None, usual: int) -> int:
    """How many folds an experiment has.

    Args:
        own: crops that are there already.
        splits: file that divides them.
        wanted: by the user.
        usual: of the preset.

    Raises:
        BadConfig: fewer than one fold, more than there are, or a file without its crops.
    """
    if splits is None and not (own and own.divided):
        if wanted is not None and wanted < 2:
            raise BadConfig(f"--folds {wanted}: a division has two folds or more.")
        return wanted or usual
    if own is None:
        raise BadConfig("--splits belongs to crops that are there: give them with --crops.")
    there = fold_count(splits) if splits else 1
    if wanted is not None and not 1 <= wanted <= there:
        source = splits or f"The column split of {own.folder / 'table.csv'}"
        raise BadConfig(f"--folds {wanted}: {source} has {there}.")
    return wanted or there


def refuse_real_crops(folder: Path) -> None:
    """Raise `BadConfig` when a folder, where the simulated cohort goes, holds anything but a cohort."""
    if (folder / "store.json").is_file():
        if not read_record(folder)["info"].get("simulated"):
            raise BadConfig(
                f"{folder.resolve()} holds crops of scans, not the simulated cohort. Give them with "
                "--crops, or choose another working folder."
            )
        return
    names = sorted(path.name for path in folder.glob("[!.]*") if path.name not in STORE_FILES)
    if names:
        raise BadConfig(
            f"{folder.resolve()}, where the simulated cohort goes, holds something else "
            f"({names[0]}). Move it away, or choose another working folder."
        )
