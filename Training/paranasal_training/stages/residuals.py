"""Stage 2: residuals of the autoencoder over a whole crop store (Bhattacharya 2024, 2.3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from paranasal_training.data.batches import as_floats
from paranasal_training.data.residual_store import ResidualWriter
from paranasal_training.data.store import CropStore
from paranasal_training.stages.cae import load_cae
from paranasal_training.stages.config import ResidualsConfig
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.model.anomaly import native_residuals, residuals_of
from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.networks import CAE, channels_last

CHUNK = 64


def make_residuals(config: ResidualsConfig) -> Path:
    """Write the residuals of the rows; rows that an earlier call has done are not done again.

    Raises:
        BadStore, BadCheckpoint: the input is missing or damaged, or the output is of another kind.
    """
    store = CropStore.open(config.store)
    network, run = load_cae(config.cae)
    device = resolve_device(config.device)
    network = channels_last(network.to(device))
    info = {
        "gain": config.gain,
        "residual": asdict(config.residual),
        "cae": {key: run.record[key] for key in ("store", "config", "val_loss")},
    }
    writer = ResidualWriter(config.output, store, network.config.voxels, info)
    rows = store.rows(config.split)
    rows = rows[~writer.done[rows]]
    for start in tqdm(range(0, len(rows), CHUNK), desc="residuals", unit="batch"):
        chunk = rows[start : start + CHUNK]
        crops = torch.from_numpy(store.crops[chunk]).unsqueeze(1)
        residuals, _ = native_residuals(network, as_floats(crops.to(device)), config.residual)
        stored = residuals.mul_(255 * config.gain).round_().clamp_(0, 255).to(torch.uint8)
        writer.write(chunk, stored[:, 0].numpy())
    return config.output


def residual_pairs(
    network: CAE, crops: np.ndarray, config: ResidualConfig, device: str = "cpu"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Residual and reconstruction, float32 (64, 64, 64) each, of every one of uint8 crops."""
    for start in range(0, len(crops), CHUNK):
        chunk = torch.from_numpy(crops[start : start + CHUNK]).unsqueeze(1)
        residuals, rebuilt = residuals_of(network, as_floats(chunk.to(device)), config)
        yield from zip(residuals[:, 0].numpy(), rebuilt[:, 0].numpy(), strict=True)
