"""A small crop store that small networks learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.store import CropStore, write_store

SIZE = 64
PATIENTS = {"train": 24, "validation": 10, "test": 12, "unlabelled": 6}


def toy_crop(anomalous: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark ball of air in grey tissue; anomalous ones have a bright ball in it. Also its mask."""
    index = np.indices((SIZE, SIZE, SIZE)).reshape(3, -1).T
    center = 31.5 + rng.uniform(-3, 3, 3)
    air = np.linalg.norm(index - center, axis=1) < rng.uniform(17, 20)
    lesion = np.linalg.norm(index - center - rng.uniform(-5, 5, 3), axis=1) < 9
    image = np.where(air, 0.1, 0.6)
    if anomalous:
        image[lesion] = 0.85
    image = image + rng.normal(0, 0.03, image.shape)
    shape = (SIZE, SIZE, SIZE)
    crop = (np.clip(image, 0, 1) * 255).round().astype(np.uint8).reshape(shape)
    return crop, (lesion & anomalous).astype(np.uint8).reshape(shape)


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """52 patients: every second side of the labelled ones is anomalous."""
    rng = np.random.default_rng(0)
    crops, lesions, rows = [], [], []
    for split, patients in PATIENTS.items():
        for number in range(patients):
            for side, anomalous in (("left", False), ("right", True)):
                crop, lesion = toy_crop(anomalous, rng)
                crops.append(crop)
                lesions.append(lesion)
                kind = 3 if anomalous else 0
                known = split != "unlabelled"
                rows.append(
                    {
                        "patient": f"{split}-{number}",
                        "side": side,
                        "class": kind if known else None,
                        "label": int(anomalous) if known else None,
                        "split": split,
                        "source": "toy",
                        "quality": "ok",
                        "true_class": kind,
                        "lesion_ml": lesion.sum() / 1000,
                    }
                )
    folder: Path = tmp_path_factory.mktemp("toy") / "crops"
    info = {"simulated": True, "donors": []}
    return write_store(folder, np.stack(crops), pd.DataFrame(rows), np.stack(lesions), info)
