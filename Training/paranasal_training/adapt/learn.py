"""One network learns from the site without one part of its persons, and is judged on that part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from paranasal_training.adapt.look import read_crops
from paranasal_training.sinus.batches import SinusSamples, endless_rows
from paranasal_training.sinus.config import TrainSinusConfig
from paranasal_training.sinus.evaluation import measures_row, score_samples
from paranasal_training.sinus.training import WEIGHTS, SinusRun, half_weights
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.networks import channels_last
from ParanasalSSLLib.model.opacity import SinusMeasures, measure_sinus
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import write_tensors

WARM_UP = 0.1
EMA_DECAY = 0.98  # of a run of some hundred steps
SAVE_EVERY_S = 20.0
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class LearnJob:
    """The work on one network.

    Attributes:
        folder: receives everything; `is_done` looks there.
        start: weights before.
        network: architecture.
        site: store of the site's painted samples.
        clear: store of the chosen sides as they are, the box lying otherwise each time.
        donors: stores of the old donors.
        left_out: persons of the site that this network does not learn from.
        scans: of these persons, whose crops lie in `looked`.
        looked: folder of `look_at`.
        steps, batch_size, learning_rate, keep_old, judged, seed: see `AdaptConfig`.
    """

    folder: Path
    start: Path
    network: SinusNetworkConfig
    site: Path
    clear: Path
    donors: tuple[Path, ...]
    left_out: tuple[str, ...]
    scans: tuple[str, ...]
    looked: Path
    steps: int
    batch_size: int
    learning_rate: float
    keep_old: float
    judged: int
    seed: int

    @property
    def weights(self) -> Path:
        """Weights after."""
        return self.folder / "tuned.safetensors"

    @property
    def scored(self) -> Path:
        """Painted samples of the left-out persons, before and after."""
        return self.folder / "scored.csv"

    @property
    def scored_clear(self) -> Path:
        """The chosen sides of the left-out persons, before and after."""
        return self.folder / "scored_clear.csv"

    @property
    def as_is(self) -> Path:
        """The left-out persons' sinuses as they are, after."""
        return self.folder / "as_is.csv"


def learn(job: LearnJob) -> None:
    """Fine-tune, then judge; what is there already is not done again."""
    torch.set_num_threads(1)
    if not job.weights.exists() and not _tune(job):
        raise KeyboardInterrupt  # SIGTERM; what was learnt is kept
    networks = {BEFORE: _load(job, job.start), AFTER: _load(job, job.weights)}
    for store, path in ((job.site, job.scored), (job.clear, job.scored_clear)):
        if not path.exists():
            _write(_scores(job, store, networks), path)
    if not job.as_is.exists():
        _write(_look_again(job, networks[AFTER]), job.as_is)


def _tune(job: LearnJob) -> bool:
    """Whether it came to its end."""
    config = TrainSinusConfig(
        store=[job.site, *job.donors], output=job.folder, start=job.start, steps=job.steps,
        batch_size=job.batch_size, learning_rate=job.learning_rate, warm_up=WARM_UP,
        ema_decay=EMA_DECAY, save_every_s=SAVE_EVERY_S, seed=job.seed, network=job.network,
    )  # fmt: skip
    job.folder.mkdir(parents=True, exist_ok=True)
    samples, run = SinusSamples(config.store), SinusRun(config)
    own = samples.table["store"] == 0
    new = np.flatnonzero(own & ~samples.table["group"].isin(job.left_out))
    rng = np.random.default_rng([job.seed, run.step])
    run.learn(samples, mixed_rows(new, np.flatnonzero(~own), job.batch_size, rng), rng)
    if not run.over:
        return False
    state = load_file(job.folder / WEIGHTS)
    if not job.donors:
        state = blended(load_file(job.start), state, job.keep_old)
    write_tensors(half_weights(state), job.weights)
    return True


def mixed_rows(
    new: np.ndarray, old: np.ndarray, size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Batches, half of new rows and half of old ones; of new ones alone where there are no old."""
    if not len(old):
        yield from endless_rows(new, size, rng)
    half = size // 2
    for pair in zip(endless_rows(new, size - half, rng), endless_rows(old, half, rng), strict=True):
        yield np.concatenate(pair)


def blended(old: Mapping[str, Tensor], new: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """Weights on the line between two networks of one origin (Wortsman 2022), float32."""
    return {
        name: keep * old[name].float() + (1 - keep) * value.float()
        if value.is_floating_point()
        else value
        for name, value in new.items()
    }


def _load(job: LearnJob, weights: Path) -> SinusEnsemble:
    network = SinusNetwork(job.network)
    network.load_state_dict(load_file(weights))
    return SinusEnsemble([channels_last(network)]).eval()


# -------------------------------------------------------------------------------------- judging


def _scores(job: LearnJob, store: Path, networks: Mapping[str, SinusEnsemble]) -> pd.DataFrame:
    samples = SinusSamples([store])
    tables = [
        score_samples(network, samples, job.left_out, job.judged, job.seed).assign(when=when)
        for when, network in networks.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _look_again(job: LearnJob, network: SinusEnsemble) -> pd.DataFrame:
    rows = []
    for scan in job.scans:
        found = read_crops(job.looked, scan)
        measured = measure_pair(network, list(found.values()))
        masks: dict[str, Any] = {}
        for side, measures in zip(found, measured, strict=True):
            rows.append({"scan": scan, "side": side.value, **measures_row(measures)})
            masks[f"{side.value}_cavity"], masks[f"{side.value}_opacity"] = (
                measures.cavity, measures.opacity,
            )  # fmt: skip
        with write_whole(job.folder / f"{scan}_after.npz") as temporary:
            np.savez_compressed(temporary, **masks)
    return pd.DataFrame(rows)


def measure_pair(
    network: SinusEnsemble, crops: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[SinusMeasures]:
    """What fills the sinuses of one scan, one or both sides; see `read_crops`."""
    stacked = torch.from_numpy(np.stack([data for data, _ in crops])).unsqueeze(1)
    other = stacked.flip(0) if len(crops) == 2 else torch.zeros_like(stacked)
    with torch.inference_mode():
        maps = network(torch.cat([stacked, other], dim=1)).numpy()
    return [
        measure_sinus(cavity, opacity, inside)
        for (cavity, opacity), (_, inside) in zip(maps, crops, strict=True)
    ]


def _write(table: pd.DataFrame, path: Path) -> None:
    with write_whole(path) as temporary:
        table.to_csv(temporary, index=False)


def read_masks(job: LearnJob, scan: str) -> dict[str, np.ndarray]:
    """Bool (64, 64, 64), `left_cavity`, `left_opacity`, ... of a scan after the adaptation."""
    with np.load(job.folder / f"{scan}_after.npz") as stored:
        return {name: stored[name] for name in stored.files}


def settings_of(job: LearnJob) -> dict[str, object]:
    """What a bundle's card says of the learning: no paths."""
    plain = asdict(job)
    names = ("steps", "batch_size", "learning_rate", "seed")
    kept = {"keep_old": job.keep_old} if not job.donors else {}
    return {name: plain[name] for name in names} | kept
