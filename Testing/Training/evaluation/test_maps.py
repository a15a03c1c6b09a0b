"""Residuals against lesion masks: known answers, and a whole run on small crops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.evaluation.maps import (
    Fit,
    LocaliseConfig,
    Tally,
    Thresholds,
    histogram,
    histogram_auroc,
    histogram_average_precision,
    histogram_dice,
    localise,
)
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.stages.cae import TrainConfig, train_cae
from sklearn.metrics import average_precision_score, roc_auc_score

from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.model.networks import CAEConfig

SHAPE = (20, 20, 20)
REGION = np.ones(SHAPE, bool)
EMPTY = np.zeros(SHAPE, bool)
LESION = EMPTY.copy()
LESION[5:15, 5:15, 5:15] = True


def tally_of(values: np.ndarray, healthy: np.ndarray) -> Tally:
    """Thresholds and figures of one anomalous crop (`LESION`) and one healthy one."""
    fit = Fit(REGION)
    fit.add(values, LESION)
    fit.add(healthy, EMPTY)
    tally = Tally(REGION, fit.thresholds())
    tally.add(values, LESION, "cyst")
    tally.add(healthy, EMPTY, "normal")
    return tally


def test_a_residual_that_is_the_lesion_is_perfect() -> None:
    tally = tally_of(LESION.astype(np.float32), EMPTY.astype(np.float32))
    metrics = tally.metrics()
    assert metrics["voxel"]["auroc"] == metrics["voxel"]["average_precision"] == 1
    assert metrics["dice"]["mean_of_lesions"] == metrics["dice"]["pooled_with_healthy"] == 1
    assert metrics["lesions"]["sensitivity"] == metrics["lesions"]["healthy_within_limit"] == 1
    assert metrics["crop_score"]["mean_in_region"]["auroc"] == 1
    assert tally.by_kind()[["kind", "from_ml", "lesions", "found"]].to_numpy().tolist() == [
        ["cyst", 1.0, 1, 1.0]
    ]


def test_a_residual_of_zero_knows_nothing() -> None:
    metrics = tally_of(EMPTY.astype(np.float32), EMPTY.astype(np.float32)).metrics()
    assert metrics["voxel"]["auroc"] == 0.5
    assert metrics["voxel"]["average_precision"] == metrics["voxel"]["lesion_share"] == 0.0625
    assert metrics["dice"]["mean_of_lesions"] == metrics["lesions"]["sensitivity"] == 0
    assert metrics["crop_score"]["mean_of_crop"]["auroc"] == 0.5


def test_histograms_measure_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(50000) < 0.1
    values = np.abs(rng.normal(0.02 + 0.04 * truth, 0.04)).astype(np.float32)
    counts = histogram(values, truth)
    assert counts.sum() == 50000 and counts[1].sum() == truth.sum()
    assert histogram_auroc(counts) == pytest.approx(roc_auc_score(truth, values), abs=1e-3)
    wanted = average_precision_score(truth, values)
    assert histogram_average_precision(counts) == pytest.approx(wanted, abs=1e-3)


def test_the_dice_of_a_bin_is_that_of_the_mask_it_stands_for() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(SHAPE, dtype=np.float32)
    mask = values >= 512 / 2048
    wanted = 2 * (mask & LESION).sum() / (mask.sum() + LESION.sum() + 100)
    assert histogram_dice(histogram(values, LESION), missed=100)[512] == pytest.approx(wanted)


def test_healthy_sinuses_show_half_a_millilitre_in_95_percent() -> None:
    rng = np.random.default_rng(2)
    healthy = [scale * rng.random(SHAPE, dtype=np.float32) for scale in np.linspace(0.1, 1, 40)]
    fit = Fit(REGION)
    for values in healthy:
        fit.add(values, EMPTY)
    level = fit.thresholds().healthy
    within = [(values > level).sum() <= 500 for values in healthy]
    assert np.mean(within) >= 0.95
    assert np.mean([(values > 0.97 * level).sum() <= 500 for values in healthy]) < 0.95


def test_a_lesion_is_found_when_a_tenth_of_it_is_covered() -> None:
    tally = Tally(REGION, Thresholds(dice=0.5, healthy=0.5))
    for covered in (99, 100):
        values = np.zeros(SHAPE, np.float32)
        values[tuple(np.argwhere(LESION)[:covered].T)] = 1
        tally.add(values, LESION, "polyp")
    assert tally.lines["found"].tolist() == [False, True]


def test_a_lesion_outside_the_region_is_missed() -> None:
    region = REGION.copy()
    region[:10] = False  # half of the lesion
    tally = Tally(region, Thresholds(dice=0.5, healthy=0.5))
    tally.add(LESION.astype(np.float32), LESION, "polyp")
    tally.add(EMPTY.astype(np.float32), EMPTY, "normal")
    line = tally.lines.iloc[0]
    assert line["in_region"] == line["covered"] == 0.5
    assert line["dice"] == pytest.approx(2 / 3)  # 500 of 1000 marked, nothing else
    assert tally.metrics()["dice"]["pooled_with_healthy"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.fixture(scope="module")
def cae(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("localisation") / "cae"
    train_cae(
        TrainConfig(
            store=toy_store.folder, output=folder, epochs=10, batch_size=4, device="cpu",
            network=CAEConfig(latent=16, voxels=32, channels=(4, 8, 8)),
            optimizer=OptimizerConfig(lr=5e-3),
        )
    )  # fmt: skip
    return folder


def test_a_run_finds_bright_balls(toy_store: CropStore, cae: Path, tmp_path: Path) -> None:
    output = tmp_path / "localisation"
    metrics = localise(
        LocaliseConfig(store=toy_store.folder, cae=cae, output=output, limit=8, device="cpu")
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
        localise(LocaliseConfig(store=store.folder, cae=cae, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(BadConfig, match="limit"):
        LocaliseConfig(store=Path("s"), cae=Path("c"), output=Path("o"), limit=-1)
