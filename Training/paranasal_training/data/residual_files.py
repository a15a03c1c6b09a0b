"""Residuals of a crop store as images that 3D Slicer and other viewers open, one pair per patient.

Both cubes of a patient stand in one image, as they stand in the head: the left sinus at negative R,
the right one mirrored back to where it came from, 16 mm between them. A store does not know where in
the scan they were.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from paranasal_training.data.config import ResidualFilesConfig
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.store import CropStore
from ParanasalSSLLib.boxes.box import EDGE_MM
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.scans.volume import Volume, write_volume
from ParanasalSSLLib.sinuses import Side

GAP_MM = 16


def write_residual_files(config: ResidualFilesConfig) -> Path:
    """Write both images of each patient; returns the folder.

    Raises:
        BadStore: damaged stores, residuals of other crops, or none that have been computed.
    """
    store = CropStore.open(config.store)
    residuals = ResidualStore.open(config.residuals, store)
    done = store.rows()[residuals.done[store.rows()]]
    if not len(done):
        raise BadStore(f"{config.residuals} holds no residuals yet. Run `paranasal residuals`.")
    table = store.table.iloc[done].assign(number=done)
    groups = list(table.groupby("patient", sort=True))[: config.patients or None]
    for patient, rows in tqdm(groups, desc="patients"):
        sides = {Side(s): int(n) for s, n in zip(rows["side"], rows["number"], strict=True)}
        crops = {side: store.crops[row] / np.float32(255) for side, row in sides.items()}
        maps = {
            side: residuals.residuals[row] / np.float32(255 * residuals.gain)
            for side, row in sides.items()
        }
        name = f"sub-{patient}"
        write_volume(side_by_side(crops), config.output / f"{name}_desc-crops.nii.gz")
        write_volume(side_by_side(maps), config.output / f"{name}_desc-residual_map.nii.gz")
    return config.output


def side_by_side(cubes: dict[Side, np.ndarray]) -> Volume:
    """One image of a patient's cubes, 0 between and where a side is missing.

    Args:
        cubes: per side, float32 (D, D, D) of 64 mm, the right one mirrored as in a crop store.

    Returns:
        (2 D + gap, D, D) in RAS mm, the origin in the middle.
    """
    edge = next(iter(cubes.values())).shape[0]
    spacing = EDGE_MM / edge
    data = np.zeros((2 * edge + round(GAP_MM / spacing), edge, edge), np.float32)
    if Side.LEFT in cubes:
        data[:edge] = cubes[Side.LEFT]
    if Side.RIGHT in cubes:
        data[-edge:] = cubes[Side.RIGHT][::-1]
    return Volume(data, Grid.around(np.zeros(3), spacing * np.eye(3), data.shape).affine)
