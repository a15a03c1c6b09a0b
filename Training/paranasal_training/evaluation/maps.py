"""How well residuals point at lesions: against the masks of a simulation, which no cohort has.

Two maps are judged: the residual |x - x'| (Bhattacharya 2024, 2.3.2), and `mask_evidence`, where it
counts double in air that the reconstruction expects. Voxels outside the sinus region (what healthy
reconstructions hold as air, and a margin) are never marked and not judged. Truth is the simulated
lesion mask; all the lesion of one crop counts as one lesion.

Thresholds are chosen on validation crops, figures are of test crops.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.config import EvaluateMapsConfig
from paranasal_training.evaluation.judged_crops import MapSource
from paranasal_training.evaluation.lesion_scores import LesionScores, ThresholdFit
from paranasal_training.evaluation.map_pictures import draw_lesions
from paranasal_training.runs.config import plain
from paranasal_training.stages.cae import load_cae
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.model.networks import channels_last

MAPS = ("residual", "evidence")


def evaluate_maps(config: EvaluateMapsConfig) -> dict[str, Any]:
    """Judge the residuals of an autoencoder; write metrics, a table and a picture; return metrics.

    Raises:
        BadStore: damaged, without lesion masks, or a part without healthy or anomalous crops.
        BadCheckpoint: the autoencoder's run is not finished or damaged.
        BadConfig: the autoencoder has learnt from crops that it would be judged on.
    """
    store = CropStore.open(config.store)
    lesions = _require_lesions(store)
    partition = Partition.of(store, config.splits, config.fold)
    network, run = load_cae(config.cae)
    run.require_division(store, config.splits, config.fold)
    device = resolve_device(config.device)
    source = MapSource(store, lesions, channels_last(network.to(device)), config.residual, device)
    validation = _choose(source, partition.rows("validation"), "validation", config.limit)
    test = _choose(source, partition.rows("test"), "test", config.limit)

    region = source.region(validation)
    fits = {name: ThresholdFit(region) for name in MAPS}
    for crop in source.of(validation, "validation crops"):
        for name, fit in fits.items():
            fit.add(crop.maps[name], crop.lesion)
    thresholds = {name: fit.thresholds() for name, fit in fits.items()}
    scores = {name: LesionScores(region, thresholds[name]) for name in MAPS}
    for crop in source.of(test, "test crops"):
        for name, score in scores.items():
            score.add(crop.maps[name], crop.lesion, crop.kind)

    metrics: dict[str, Any] = {
        "simulated": bool(store.info.get("simulated", False)),
        "store": store.checksum,
        "cae": {"store": run.record["store"], "val_loss": run.record["val_loss"]},
        "residual_config": asdict(config.residual),
        "region_ml": round(float(region.sum()) / 1000, 1),
        "validation_crops": len(validation),
        "test_crops": len(test),
        "maps": {name: score.metrics() for name, score in scores.items()},
    }
    picture = draw_lesions(source, test, region, thresholds["evidence"])
    write_json(config.output / "config.json", plain(config))
    _write(config.output, metrics, scores, picture)
    return metrics


def _require_lesions(store: CropStore) -> np.ndarray:
    if store.lesions is None:
        raise BadStore(
            f"{store.folder} has no lesion masks, so residuals cannot be judged voxel by voxel. "
            "Give a simulated store (`paranasal simulate`); `paranasal evaluate` needs no masks."
        )
    return store.lesions


def _choose(source: MapSource, rows: np.ndarray, part: str, limit: int) -> np.ndarray:
    """All or a fixed random choice of rows, ascending; some with and some without a lesion."""
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    has_lesion = source.has_lesion(rows)
    if not has_lesion.any() or has_lesion.all():
        raise BadStore(
            f"{source.store.folder}: the {part} crops need some with and some without a lesion; "
            f"{int(has_lesion.sum())} of the {len(rows)} chosen have one. Give a larger store or "
            "another --limit."
        )
    return rows


def _write(
    output: Path, metrics: dict[str, Any], scores: dict[str, LesionScores], picture: Figure
) -> None:
    kinds = pd.concat({name: score.by_kind() for name, score in scores.items()}, names=["map"])
    with write_whole(output / "by_kind.csv") as temporary:
        kinds.reset_index(level="map").to_csv(temporary, index=False)
    with write_whole(output / "lesions.png") as temporary:
        picture.savefig(temporary, dpi=80)
    write_json(output / "metrics.json", metrics)
