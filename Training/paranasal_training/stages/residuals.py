"""Stage 2: residuals of the autoencoder over a whole crop store (Bhattacharya 2024, 2.3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ParanasalSSLLib.networks import CAE, channels_last
from ParanasalSSLLib.predict import resolve_device
from ParanasalSSLLib.residual import ResidualConfig, residual_map

from ..store import CropStore, ResidualWriter
from .cae import load_cae

CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class ResidualsConfig:
    """`paranasal residuals`. `gain`: residuals are small, so they are stored times this."""

    store: Path  # crop store
    cae: Path  # folder of a finished `train` run
    output: Path  # residual store
    split: str | None = "unlabelled"  # None: all rows
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    gain: float = 2.0
    device: str = "auto"


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
    writer = ResidualWriter(config.output, store, info)
    rows = store.rows(config.split)
    rows = rows[~writer.done[rows]]
    for start in tqdm(range(0, len(rows), CHUNK), desc="residuals", unit="batch"):
        chunk = rows[start : start + CHUNK]
        residuals = residuals_of(network, store.crops[chunk], config.residual, device)
        stored = np.clip(np.round(residuals * (255 * config.gain)), 0, 255).astype(np.uint8)
        writer.write(chunk, stored)
    return config.output


def residuals_of(
    network: CAE, crops: np.ndarray, config: ResidualConfig, device: str = "cpu"
) -> np.ndarray:
    """float32 (n, 64, 64, 64) residuals of uint8 crops of that shape."""
    return np.stack([residual for residual, _ in residual_pairs(network, crops, config, device)])


def residual_pairs(
    network: CAE, crops: np.ndarray, config: ResidualConfig, device: str = "cpu"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Residual and reconstruction, float32 (64, 64, 64) each, of every one of uint8 crops."""
    with ThreadPoolExecutor() as pool:  # the filters release the interpreter's lock
        for start in range(0, len(crops), CHUNK):
            scaled, rebuilt = _rebuild(network, crops[start : start + CHUNK], device)
            maps = pool.map(lambda one, other: residual_map(one, other, config), scaled, rebuilt)
            yield from zip(maps, rebuilt, strict=True)


def _rebuild(network: CAE, crops: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
    scaled = crops.astype(np.float32) / 255
    given = torch.from_numpy(scaled).unsqueeze(1).to(device)
    with torch.inference_mode():
        return scaled, network(given).float().cpu().numpy()[:, 0]
