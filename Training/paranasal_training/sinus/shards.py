"""A store of samples on disk: memory-mapped, written in shards that appear whole, resumable."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch

from paranasal_training.sinus.config import PaintSinusesConfig
from paranasal_training.sinus.crops import Heads, Sample, draw_sample, side_as_it_is
from paranasal_training.sinus.looks import SIZE
from paranasal_training.sinus.references import build_references, load_references
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import write_json, write_whole

SHARD = 256
_CUBE = (SIZE, SIZE, SIZE)
ShardJob = tuple[Path, Path, tuple[str, ...], int, int, bool, int]  # of `plan_shards`
ARRAYS = {"image": (2, *_CUBE), "cavity": _CUBE, "opacity": _CUBE, "valid": _CUBE}


def paint_sinuses(config: PaintSinusesConfig, output: Path) -> Path:
    """Outline the references, then write or finish the store."""
    references = Path(output) / "references"
    build_references(config.data, references)
    return write_store(
        output, references, config.samples, config.groups, config.seed, config.processes,
        config.as_they_are,
    )  # fmt: skip


def write_store(
    folder: Path, references: Path, n: int, groups: Sequence[str] = (), seed: int = 0,
    workers: int = 1, as_they_are: bool = False,
) -> Path:  # fmt: skip
    """Write or finish a store of `n` samples.

    Args:
        folder: receives image.npy (n, 2, 64, 64, 64), cavity.npy, opacity.npy, valid.npy
            (n, 64, 64, 64), all uint8 (0..255 for 0..1; valid 0 or 1), and table.csv, whose rows
            are the samples that are whole so far.
        references: folder of `build_references`.
        n: number of samples.
        groups: persons to take; empty for all.
        seed: sample i depends on it and on i alone.
        workers: processes.
        as_they_are: clear sides as they were scanned, in place of painted ones.

    Raises:
        BadConfig: the folder holds a store of other settings.
    """
    folder = Path(folder)
    jobs = plan_shards(folder, references, n, groups, seed, as_they_are)
    if workers <= 1:
        for job in jobs:
            write_shard(job)
            join_tables(folder, n)
    else:
        with ProcessPoolExecutor(workers) as pool:
            for _ in pool.map(write_shard, jobs):
                join_tables(folder, n)
    join_tables(folder, n)
    return folder


def plan_shards(
    folder: Path, references: Path, n: int, groups: Sequence[str] = (), seed: int = 0,
    as_they_are: bool = False,
) -> list[ShardJob]:  # fmt: skip
    """Make the arrays of a store and list the shards that are not whole yet, see `write_store`."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {"n": n, "seed": seed, "groups": sorted(groups)}
    _refuse_another(folder, settings | ({"as_they_are": True} if as_they_are else {}))
    for name, shape in ARRAYS.items():
        if not (folder / f"{name}.npy").exists():
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (n, *shape)).flush()
    missing = [k for k in range(-(-n // SHARD)) if not _shard_table(folder, k).exists()]
    return [(folder, references, tuple(groups), n, seed, as_they_are, k) for k in missing]


def _refuse_another(folder: Path, settings: dict[str, object]) -> None:
    path = folder / "store.json"
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text(encoding="utf-8")) != settings:
        raise BadConfig(f"{folder} holds a store of other settings ({path.name}): remove it.")


def _shard_table(folder: Path, number: int) -> Path:
    return folder / "shards" / f"{number:05d}.csv"


@cache
def _heads(references: Path, groups: tuple[str, ...]) -> Heads:
    torch.set_num_threads(1)
    loaded = load_references(references)
    return Heads([r for r in loaded if not groups or r.group in groups])


def write_shard(job: ShardJob) -> None:
    """Draw the samples of one shard."""
    folder, references, groups, n, seed, as_they_are, number = job
    heads = _heads(references, groups)
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    rows = []
    for i in range(number * SHARD, min((number + 1) * SHARD, n)):
        rng = np.random.default_rng([seed, i])
        sample = side_as_it_is(heads, i, rng) if as_they_are else draw_sample(heads, rng)
        for name, array in as_bytes(sample).items():
            maps[name][i] = array
        rows.append({"sample": i, **sample.facts})
    for array in maps.values():
        array.flush()
    _write_rows(_shard_table(folder, number), rows)


def as_bytes(sample: Sample) -> dict[str, np.ndarray]:
    """A sample's arrays as they are stored."""
    scaled = {name: np.rint(getattr(sample, name) * 255) for name in ("image", "cavity", "opacity")}
    return {name: v.astype(np.uint8) for name, v in {**scaled, "valid": sample.valid}.items()}


def _write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def join_tables(folder: Path, n: int) -> None:
    """Write table.csv: the rows of all shards that are whole."""
    rows: list[dict[str, object]] = []
    for number in range(-(-n // SHARD)):
        path = _shard_table(folder, number)
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows += list(csv.DictReader(file))
    if rows:
        _write_rows(folder / "table.csv", rows)
