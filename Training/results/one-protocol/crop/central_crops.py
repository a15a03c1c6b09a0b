"""The middle 48 mm of every crop of a store, as a store of its own: a trial of the crop's size.

    python Training/results/one-protocol/crop/central_crops.py STORE OUTPUT

Pooled to 32^3 voxels, as the preset `cpu` does, those are of 1.5 mm in place of 2 mm.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from paranasal_training.data.store import CROP_SHAPE, CropStore, StoreWriter
from torch.nn import functional as F
from tqdm import tqdm

MARGIN = 8  # voxels of 1 mm that go on either side


def central(crop: np.ndarray, mode: str) -> np.ndarray:
    """uint8 (64, 64, 64) of 1 mm -> uint8 (64, 64, 64) of 0.75 mm: its middle."""
    middle = crop[(slice(MARGIN, -MARGIN),) * 3].astype(np.float32)
    larger = F.interpolate(torch.from_numpy(middle)[None, None], size=CROP_SHAPE, mode=mode)
    return larger[0, 0].round().to(torch.uint8).numpy()


def main(store: str, output: str) -> None:
    """Write the middles of all crops and masks, with the same table."""
    given = CropStore.open(store)
    info = {**given.info, "central_mm": CROP_SHAPE[0] - 2 * MARGIN}
    with StoreWriter(output, len(given.crops), given.lesions is not None, info) as writer:
        rows = given.table.drop(columns="row").to_dict("records")
        for number, row in enumerate(tqdm(rows, desc="central crops")):
            crop = central(given.crops[number], "trilinear")
            mask = None if given.lesions is None else central(given.lesions[number], "nearest")
            writer.append(crop, {str(k): v for k, v in row.items()}, mask)


if __name__ == "__main__":
    main(*sys.argv[1:])
