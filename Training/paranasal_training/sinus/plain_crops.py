"""Painted samples as a crop store, for the published self-supervision on the same real heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paranasal_training.data.store import StoreWriter
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.config import SinusCropsConfig

VALIDATION = 0.1  # of the clear samples


def write_sinus_crops(config: SinusCropsConfig, output: Path) -> Path:
    """Write the crops of a store's samples without their outlines; returns the folder.

    Clear ones are labelled normal, for the autoencoder (one in ten validates); diseased ones are
    unlabelled, for the residuals. Each sample counts as a patient of its own.

    Raises:
        BadStore: a folder holds no store, or `output` is there already.
        BadConfig: everybody is left out.
    """
    samples = SinusSamples(config.store)
    chosen = samples.draw(config.leave_out, False, config.samples, config.seed)
    info = {"simulated": True, "what": "clear sinuses of real heads with painted disease"}
    with StoreWriter(output, len(chosen), info=info) as writer:
        for number, row in enumerate(np.sort(chosen)):
            facts = samples.table.loc[row]
            clear = facts["opacity_ml"] == 0
            known = "validation" if number % round(1 / VALIDATION) == 0 else "train"
            kind = 0 if clear else None
            line = {
                "patient": f"{facts['group']}-{number:05d}", "side": facts["side"], "class": kind,
                "label": kind, "split": known if clear else "unlabelled", "source": "painted",
                "quality": "ok",
            }  # fmt: skip
            image = samples.batch(np.array([row])).image[0, 0].numpy()
            writer.append(np.rint(image * 255).astype(np.uint8), line)
    return output
