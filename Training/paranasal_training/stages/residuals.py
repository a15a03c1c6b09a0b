"""Stage 2: residuals of the autoencoder over a whole crop store (Bhattacharya 2024, 2.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from paranasal_training.data.batches import as_floats
from paranasal_training.data.residual_store import ResidualWriter
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.runs.record import FinishedRun
from paranasal_training.stages.cae import load_cae
from paranasal_training.stages.config import MapsConfig, ResidualsConfig
from paranasal_training.stages.healthy import HealthyResiduals, learn_healthy
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.model.anomaly import native_residuals, residuals_of, tensor_at_voxels
from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.networks import CAE, channels_last

CHUNK = 64


Maker = Callable[[np.ndarray], np.ndarray]
"""Residuals of rows (n,), float (n, D, D, D) in 0..1."""


def make_residuals(config: ResidualsConfig) -> Path:
    """Write the residuals of the rows; rows that an earlier call has done are not done again.

    Raises:
        BadStore, BadCheckpoint: the input is missing or damaged, the output is of another kind,
            held-out healthy sinuses are too few to calibrate with, or there are no true lesions.
        BadConfig: `crossed` lacks the autoencoder of a fold; an autoencoder was trained by another
            division, where that decides which sinuses it has not learnt from.
    """
    store = CropStore.open(config.store)
    found = [load_cae(folder) for folder in (config.cae, *config.crossed)]
    by = _looked_at_by(config, store, [run for _, run in found])
    records = [
        {key: run.record[key] for key in ("store", "config", "val_loss")} for _, run in found
    ]
    info = {
        "gain": config.gain,
        "residual": asdict(config.residual),
        "cae": records[0],
    } | ({} if config.kind == "published" else {"residuals": config.kind})
    info |= {"crossed": records[1:]} if config.crossed else {}
    writer = ResidualWriter(config.output, store, found[0][0].config.voxels, info)
    rows = store.rows(config.split)
    rows = rows[~writer.done[rows]]
    for number, (network, run) in enumerate(found):
        maker = residual_maker(config, network, run, store)
        _write(maker, rows[by[rows] == number], writer, config.gain)
    return config.output


def _looked_at_by(
    config: ResidualsConfig, store: CropStore, runs: Sequence[FinishedRun]
) -> np.ndarray:
    """int (rows,): number of the autoencoder that gives each row's residual."""
    if config.crossed or config.kind == "calibrated":
        for run in runs:
            run.require_division(store, config.splits, run.fold)
    if not config.crossed:
        return np.zeros(len(store.table), int)
    return unseen_by(store, config.splits, [run.fold for run in runs])


def _write(maker: Maker, rows: np.ndarray, writer: ResidualWriter, gain: float) -> None:
    for start in tqdm(range(0, len(rows), CHUNK), desc="residuals", unit="batch"):
        chunk = rows[start : start + CHUNK]
        writer.write(chunk, np.rint(255 * gain * maker(chunk)).clip(0, 255).astype(np.uint8))


def unseen_by(store: CropStore, splits: Path | None, folds: Sequence[int]) -> np.ndarray:
    """int (rows,): for each row, which of the autoencoders has not learnt from its patient.

    A patient of fold k goes to the one that was validated on fold k. Nobody has learnt from the test
    set and from the unlabelled: these are dealt out in turn, so that they are looked at by the same
    mixture.

    Args:
        folds: that each autoencoder was validated on.

    Raises:
        BadConfig: there is a fold that none of them was validated on.
    """
    _, patient = np.unique(store.table["patient"].to_numpy(str), return_inverse=True)
    by = patient % len(folds)
    partitions = [Partition.of(store, splits, fold) for fold in folds]
    held_out = np.stack([partition.part == "validation" for partition in partitions])
    if ((partitions[0].part == "train") & ~held_out.any(axis=0)).any():
        raise BadConfig(
            f"Autoencoders of the folds {', '.join(map(str, folds))} are given; every fold of the "
            "cross-validation needs its own."
        )
    return np.where(held_out.any(axis=0), held_out.argmax(axis=0), by)


def residual_maker(config: MapsConfig, network: CAE, run: FinishedRun, store: CropStore) -> Maker:
    """What gives the residuals of rows of a store by one autoencoder. Raises `BadStore`."""
    if config.kind == "oracle":
        lesions = store.lesions
        if lesions is None:
            raise BadStore(f"{store.folder} has no lesion masks, so there is no oracle.")
        voxels = network.config.voxels
        return lambda rows: tensor_at_voxels(
            torch.from_numpy(lesions[rows]).float()[:, None], voxels
        )[:, 0].numpy()
    device = resolve_device(config.device)
    network = channels_last(network.to(device))

    def published(rows: np.ndarray) -> np.ndarray:
        return _native(network, _crops(store, rows), config.residual, device)

    if config.kind == "published":
        return published
    held_out = Partition.of(store, config.splits, run.fold).rows("validation", 0)
    healthy = _learn(network, store, held_out, config.residual, device)
    patients = store.table["patient"].to_numpy()
    return lambda rows: healthy.calibrated(published(rows), patients[rows])


def _crops(store: CropStore, rows: np.ndarray) -> Tensor:
    """Float (n, 1, 64, 64, 64), 0..1."""
    return as_floats(torch.from_numpy(store.crops[rows]).unsqueeze(1))


def _native(network: CAE, crops: Tensor, config: ResidualConfig, device: str) -> np.ndarray:
    """Residuals, float32 (n, D, D, D)."""
    return native_residuals(network, crops.to(device), config)[0][:, 0].numpy()


def _learn(
    network: CAE, store: CropStore, rows: np.ndarray, config: ResidualConfig, device: str
) -> HealthyResiduals:
    """From these rows, a chunk at a time."""
    if not len(rows):
        raise BadStore(f"{store.folder} has no healthy sinuses in its validation part.")
    residuals, images = [], []
    for start in range(0, len(rows), CHUNK):
        crops = _crops(store, rows[start : start + CHUNK])
        residuals.append(_native(network, crops, config, device))
        images.append(tensor_at_voxels(crops, network.config.voxels)[:, 0].numpy())
    patients = store.table["patient"].to_numpy()[rows]
    return learn_healthy(np.concatenate(residuals), np.concatenate(images), patients)


def residual_pairs(
    network: CAE, crops: np.ndarray, config: ResidualConfig, device: str = "cpu"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Residual and reconstruction, float32 (64, 64, 64) each, of every one of uint8 crops."""
    for start in range(0, len(crops), CHUNK):
        chunk = torch.from_numpy(crops[start : start + CHUNK]).unsqueeze(1)
        residuals, rebuilt = residuals_of(network, as_floats(chunk.to(device)), config)
        yield from zip(residuals[:, 0].numpy(), rebuilt[:, 0].numpy(), strict=True)
