"""Residuals against lesion masks: known answers, and a whole run on small crops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.evaluation.config import EvaluateMapsConfig
from paranasal_training.evaluation.lesion_scores import LesionScores, ThresholdFit, Thresholds
from paranasal_training.evaluation.maps import evaluate_maps
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.stages.cae import train_cae
from paranasal_training.stages.config import TrainConfig

from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.model.config import CAEConfig

SHAPE = (20, 20, 20)
REGION = np.ones(SHAPE, bool)
EMPTY = np.zeros(SHAPE, bool)
LESION = EMPTY.copy()
LESION[5:15, 5:15, 5:15] = True


def scores_of(values: np.ndarray, healthy: np.ndarray) -> LesionScores:
    """Thresholds and figures of one anomalous crop (`LESION`) and one healthy one."""
    fit = ThresholdFit(REGION)
    fit.add(values, LESION)
    fit.add(healthy, EMPTY)
    scores = LesionScores(REGION, fit.thresholds())
    scores.add(values, LESION, "cyst")
    scores.add(healthy, EMPTY, "normal")
    return scores


def test_a_residual_that_is_the_lesion_is_perfect() -> None:
    scores = scores_of(LESION.astype(np.float32), EMPTY.astype(np.float32))
    metrics = scores.metrics()
    assert metrics["voxel"]["auroc"] == metrics["voxel"]["average_precision"] == 1
    assert metrics["dice"]["mean_of_lesions"] == metrics["dice"]["pooled_with_healthy"] == 1
    assert metrics["lesions"]["sensitivity"] == metrics["lesions"]["healthy_within_limit"] == 1
    assert metrics["crop_score"]["mean_in_region"]["auroc"] == 1
    assert scores.by_kind()[["kind", "from_ml", "lesions", "found"]].to_numpy().tolist() == [
        ["cyst", 1.0, 1, 1.0]
    ]


def test_a_residual_of_zero_knows_nothing() -> None:
    metrics = scores_of(EMPTY.astype(np.float32), EMPTY.astype(np.float32)).metrics()
    assert metrics["voxel"]["auroc"] == 0.5
    assert metrics["voxel"]["average_precision"] == metrics["voxel"]["lesion_share"] == 0.0625
    assert metrics["dice"]["mean_of_lesions"] == metrics["lesions"]["sensitivity"] == 0
    assert metrics["crop_score"]["mean_of_crop"]["auroc"] == 0.5


def test_healthy_sinuses_show_half_a_millilitre_in_95_percent() -> None:
    rng = np.random.default_rng(2)
    healthy = [scale * rng.random(SHAPE, dtype=np.float32) for scale in np.linspace(0.1, 1, 40)]
    fit = ThresholdFit(REGION)
    for values in healthy:
        fit.add(values, EMPTY)
    level = fit.thresholds().healthy
    within = [(values > level).sum() <= 500 for values in healthy]
    assert np.mean(within) >= 0.95
    assert np.mean([(values > 0.97 * level).sum() <= 500 for values in healthy]) < 0.95


def test_a_lesion_is_found_when_a_tenth_of_it_is_covered() -> None:
    scores = LesionScores(REGION, Thresholds(dice=0.5, healthy=0.5))
    for covered in (99, 100):
        values = np.zeros(SHAPE, np.float32)
        values[tuple(np.argwhere(LESION)[:covered].T)] = 1
        scores.add(values, LESION, "polyp")
    assert scores.lines["found"].tolist() == [False, True]


def test_a_lesion_outside_the_region_is_missed() -> None:
    region = REGION.copy()
    region[:10] = False  # half of the lesion
    scores = LesionScores(region, Thresholds(dice=0.5, healthy=0.5))
    scores.add(LESION.astype(np.float32), LESION, "polyp")
    scores.add(EMPTY.astype(np.float32), EMPTY, "normal")
    line = scores.lines.iloc[0]
    assert line["in_region"] == line["covered"] == 0.5
    assert line["dice"] == pytest.approx(2 / 3)  # 500 of 1000 marked, nothing else
    assert scores.metrics()["dice"]["pooled_with_healthy"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.fixture(scope="module")
def cae(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "cae"
    train_cae(
        TrainConfig(
            store=toy_store.folder, output=folder, epochs=10, batch_size=4, device="cpu",
            network=CAEConfig(latent=16, voxels=32, channels=(4, 8, 8)),
            optimizer=OptimizerConfig(lr=5e-3),
        )
    )  # fmt: skip
    return folder


def test_a_run_finds_bright_balls(toy_store: CropStore, cae: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps"
    metrics = evaluate_maps(
        EvaluateMapsConfig(store=toy_store.folder, cae=cae, output=output, limit=8, device="cpu")
    )
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert metrics["simulated"] and metrics["test_crops"] == 8
    for figures in metrics["maps"].values():
        assert figures["voxel"]["auroc"] > 0.9
        assert figures["dice"]["mean_of_lesions"] > 0.5
        assert figures["lesions"]["sensitivity"] > 0.9
    kinds = pd.read_csv(output / "by_kind.csv")
    assert set(kinds["map"]) == {"residual", "evidence"} and set(kinds["kind"]) == {"cyst"}
    assert sorted(path.name for path in output.iterdir()) == [
        "by_kind.csv", "config.json", "lesions.png", "metrics.json",
    ]  # fmt: skip


def test_a_store_without_lesion_masks_is_refused(
    toy_store: CropStore, cae: Path, tmp_path: Path
) -> None:
    rows = slice(0, 2)
    store = write_store(tmp_path / "bare", toy_store.crops[rows], toy_store.table[rows])
    with pytest.raises(BadStore, match=r"no lesion masks.*paranasal simulate"):
        evaluate_maps(EvaluateMapsConfig(store=store.folder, cae=cae, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(BadConfig, match="limit"):
        EvaluateMapsConfig(store=Path("s"), cae=Path("c"), output=Path("o"), limit=-1)
