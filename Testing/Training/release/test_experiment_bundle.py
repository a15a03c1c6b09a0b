"""From an experiment's folder to a bundle: all that the run was made with is found in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from paranasal_training.data.config import SplitConfig
from paranasal_training.data.splits import Partition, make_splits
from paranasal_training.data.store import CropStore
from paranasal_training.release.bundling import held_out_rows
from paranasal_training.release.config import (
    BundleConfig,
    ExperimentBundleConfig,
    ModelCardConfig,
)
from paranasal_training.release.experiment_bundle import bundle_experiment, settings_of
from paranasal_training.release.model_card import model_card
from paranasal_training.runs.record import FinishedRun

from ParanasalSSLLib.errors import BadConfig, UnsafeOutput
from ParanasalSSLLib.model.bundle import shipped_bundle_path
from ParanasalSSLLib.model.card import read_card
from ParanasalSSLLib.model.config import ResidualConfig

CAE = {"store": "abc", "config": {"seed": 0}, "val_loss": 0.1}
OTHER = {"store": "abc", "config": {"seed": 0}, "val_loss": 0.2}
RESIDUAL = {"median_kernel_voxels": 3, "scaling": "absolute"}


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """The records of an experiment of three rows, without weights."""
    for name, record in (("denoising", OTHER), ("plain", CAE)):
        write(tmp_path / f"autoencoder/{name}/run.json", record)
    for name, cae, residual in (
        ("plain", CAE, RESIDUAL),
        ("calibrated", CAE, RESIDUAL),
        ("denoising", OTHER, RESIDUAL | {"median_kernel_voxels": 7}),
    ):
        write(tmp_path / f"residuals/{name}/residuals.json", {"residual": residual, "cae": cae})
    for row, residuals in (("none", None), ("ours", "residuals/denoising")):
        write(tmp_path / f"pretrain/{row}/seed2/config.json", {"residuals": residuals})
        for percent in (10, 100):
            run = tmp_path / f"finetune/{row}/{percent}/fold2"
            start = f"pretrain/{row}/seed2"
            made = {"store": "crops", "splits": "splits.csv", "pretrained": start}
            write(run / "config.json", made | {"residuals": None})
            write(run / "run.json", {})
    return tmp_path


def test_autoencoder_residual_options_and_division_are_those_of_the_run(experiment: Path) -> None:
    config = ExperimentBundleConfig(experiment=experiment, output=Path("b"), row="ours", fold=2)
    found = settings_of(config)
    assert found.cae == experiment / "autoencoder/denoising"
    assert found.residual == ResidualConfig(median_kernel_voxels=7)
    assert found.classifier == experiment / "finetune/ours/100/fold2", "the largest share"
    assert found.store == experiment / "crops" and found.splits == experiment / "splits.csv"
    assert found.name == "ours-100-fold2"


def test_a_row_that_learns_from_no_residuals_gets_the_plain_ones(experiment: Path) -> None:
    config = ExperimentBundleConfig(
        experiment=experiment, output=Path("b"), row="none", percent=10, fold=2
    )  # fmt: skip
    found = settings_of(config)
    assert found.cae == experiment / "autoencoder/plain"
    assert found.residual == ResidualConfig(median_kernel_voxels=3)


def test_a_folder_without_the_usual_residuals_says_what_to_do(experiment: Path) -> None:
    config = ExperimentBundleConfig(experiment=experiment, output=Path("b"), row="none", fold=2)
    shutil.rmtree(experiment / "residuals/plain")
    assert settings_of(config).cae == experiment / "autoencoder/plain", "the calibrated ones' too"
    shutil.rmtree(experiment / "residuals/calibrated")
    with pytest.raises(BadConfig, match="experiment core"):
        settings_of(config)


def test_the_card_says_simulated_of_simulated_patients_only() -> None:
    card, nothing = read_card(shipped_bundle_path()), ModelCardConfig(bundle=Path())
    assert "## On simulated test patients" in model_card(card, nothing)
    site = model_card(replace(card, simulated=False), nothing)
    assert "## On test patients" in site and "Trained on the crops of a site." in site


def test_the_runs_that_there_are_are_named_where_one_is_missing(experiment: Path) -> None:
    config = ExperimentBundleConfig(experiment=experiment, output=Path("b"), row="ours", fold=1)
    with pytest.raises(BadConfig, match="none/10/fold2, none/100/fold2, ours/10/fold2"):
        settings_of(config)


def test_no_other_bundle_and_no_other_folder_is_written_into(
    experiment: Path, tmp_path: Path
) -> None:
    config = ExperimentBundleConfig(experiment=experiment, output=tmp_path / "mine", fold=2)
    config.output.mkdir()
    (config.output / "README.md").write_text("mine")
    with pytest.raises(UnsafeOutput, match="mine is there already"):
        bundle_experiment(replace(config, row="ours"))
    assert [path.name for path in config.output.iterdir()] == ["README.md"]
    older = shutil.copytree(shipped_bundle_path(), tmp_path / "older")
    name = read_card(older).name
    with pytest.raises(UnsafeOutput, match=f"holds the bundle {name}, version"):
        bundle_experiment(replace(config, row="ours", output=older))
    assert read_card(older).name == name


def test_mask_levels_come_from_sinuses_that_the_autoencoder_has_not_seen(
    toy_store: CropStore, tmp_path: Path
) -> None:
    splits = make_splits(SplitConfig(store=toy_store.folder, output=tmp_path / "s.csv"))
    cae, classifier = (FinishedRun(tmp_path, {"config": {"fold": f}}, {}) for f in (1, 3))
    config = BundleConfig(
        store=toy_store.folder, cae=tmp_path, classifier=tmp_path, output=tmp_path, splits=splits
    )  # fmt: skip
    scored = pd.DataFrame({"split": [], "label": [], "row": []})
    rows = held_out_rows(cae, classifier, toy_store, scored, config)
    learnt = Partition.of(toy_store, splits, 1).rows("train", 0)
    assert len(rows) and not set(rows) & set(learnt)
    assert set(toy_store.labels(rows)) == {0}
