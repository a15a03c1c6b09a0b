"""Residuals by autoencoders that have not learnt from the crop, and the score that they are alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paranasal_training.data.config import SplitConfig
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.splits import Partition, make_splits
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.residual_score import evaluate_residuals, standardised
from paranasal_training.runs.config import OptimizerConfig
from paranasal_training.stages.cae import train_cae
from paranasal_training.stages.config import EvaluateResidualsConfig, ResidualsConfig, TrainConfig
from paranasal_training.stages.residuals import make_residuals, unseen_by

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import CAEConfig, ResidualConfig

SMALL = CAEConfig(latent=16, channels=(4, 8, 8), last_stage="subpixel")
FOLDS = (1, 2, 3)


@pytest.fixture(scope="module")
def splits(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("splits") / "splits.csv"
    return make_splits(SplitConfig(store=toy_store.folder, output=output, folds=len(FOLDS)))


@pytest.fixture(scope="module")
def caes(
    toy_store: CropStore, splits: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """An autoencoder of every fold."""
    folder = tmp_path_factory.mktemp("caes")
    fast = OptimizerConfig(lr=5e-3, schedule="cosine")
    for fold in FOLDS:
        train_cae(
            TrainConfig(
                store=toy_store.folder, splits=splits, fold=fold, output=folder / str(fold),
                epochs=6, batch_size=8, network=SMALL, optimizer=fast,
            )
        )  # fmt: skip
    return [folder / str(fold) for fold in FOLDS]


def test_nobody_is_looked_at_by_what_has_learnt_from_them(
    toy_store: CropStore, splits: Path
) -> None:
    by = unseen_by(toy_store, splits, FOLDS)
    for number, fold in enumerate(FOLDS):
        learnt = Partition.of(toy_store, splits, fold).rows("train")
        assert not (by[learnt] == number).any()
    test = Partition.of(toy_store, splits, 1).rows("test")
    assert set(by[test]) == {0, 1, 2}, "the test set sees the same mixture as the others"
    patients = toy_store.table["patient"].to_numpy()
    assert len(set(zip(patients, by, strict=True))) == len(set(patients)), "both sides by the same"


def test_every_fold_needs_its_autoencoder(toy_store: CropStore, splits: Path) -> None:
    with pytest.raises(BadConfig, match="folds 1, 2 are given"):
        unseen_by(toy_store, splits, (1, 2))


def test_crossed_residuals_are_those_of_the_one_that_has_not_learnt(
    toy_store: CropStore, splits: Path, caes: list[Path], tmp_path: Path
) -> None:
    def made(name: str, cae: Path, crossed: list[Path]) -> ResidualStore:
        config = ResidualsConfig(
            store=toy_store.folder, splits=splits, cae=cae, crossed=crossed, split=None,
            output=tmp_path / name, gain=1.0, residual=ResidualConfig(median_kernel_voxels=0),
        )  # fmt: skip
        return ResidualStore.open(make_residuals(config), toy_store)

    single = [made(str(number), cae, []).residuals for number, cae in enumerate(caes)]
    crossed = made("crossed", caes[0], caes[1:])
    assert crossed.done.all()
    by = unseen_by(toy_store, splits, FOLDS)
    for row, number in enumerate(by):
        assert np.array_equal(crossed.residuals[row], single[number][row])
    assert not np.array_equal(single[0], single[1])


def test_the_mean_residual_is_a_score_of_its_own(
    toy_store: CropStore, splits: Path, caes: list[Path], tmp_path: Path
) -> None:
    config = EvaluateResidualsConfig(
        store=toy_store.folder, splits=splits, fold=2, cae=caes[1], output=tmp_path / "score",
        residual=ResidualConfig(median_kernel_voxels=0),
    )  # fmt: skip
    metrics = evaluate_residuals(config)
    assert metrics["test"]["auroc"] > 0.8, "a bright ball in the air is not reproduced"
    assert json.loads((tmp_path / "score/metrics.json").read_text()) == metrics
    found = pd.read_csv(tmp_path / "score/predictions.csv")
    checks = found[found["split"] == "validation"]["margin"]
    assert checks.mean() == pytest.approx(0, abs=1e-4) and checks.std(ddof=0) == pytest.approx(
        1, abs=1e-3
    )


def test_an_autoencoder_of_another_fold_or_division_is_refused(
    toy_store: CropStore, splits: Path, caes: list[Path], tmp_path: Path
) -> None:
    config = EvaluateResidualsConfig(
        store=toy_store.folder, splits=splits, fold=1, cae=caes[1], output=tmp_path / "score"
    )
    with pytest.raises(BadConfig, match="was trained on fold 2"):
        evaluate_residuals(config)
    other = make_splits(
        SplitConfig(store=toy_store.folder, output=tmp_path / "other.csv", folds=3, seed=1)
    )
    tested = Partition.of(toy_store, other, 2).rows("test")
    assert (Partition.of(toy_store, splits, 2).part[tested] == "train").any()
    for of in (other, None):
        with pytest.raises(BadConfig, match="another division"):
            evaluate_residuals(replace(config, splits=of, fold=2))


@pytest.mark.parametrize("kind", ["calibrated", "crossed"])
def test_residuals_that_ask_who_was_held_out_keep_to_the_division(
    toy_store: CropStore, caes: list[Path], tmp_path: Path, kind: str
) -> None:
    other = make_splits(
        SplitConfig(store=toy_store.folder, output=tmp_path / "other.csv", folds=3, seed=1)
    )
    config = ResidualsConfig(
        store=toy_store.folder, splits=other, cae=caes[0], output=tmp_path / "r", gain=1.0
    )
    with pytest.raises(BadConfig, match="another division"):
        make_residuals(
            replace(config, kind="calibrated")
            if kind == "calibrated"
            else replace(config, crossed=caes[1:])
        )
    assert not (tmp_path / "r").exists()


def test_scores_are_in_standard_deviations() -> None:
    assert standardised(np.array([1.0, 3.0, 5.0]), np.array([1.0, 3.0])).tolist() == [-1, 1, 3]
    assert np.isfinite(standardised(np.ones(3), np.ones(2))).all()
