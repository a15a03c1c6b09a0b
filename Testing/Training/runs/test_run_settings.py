"""A run's folder knows what it was made with and from: other settings or input are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.runs.config import OptimizerConfig, RunConfig
from paranasal_training.runs.fit import begin, finish_untrained
from paranasal_training.stages.cae import CAEStage
from paranasal_training.stages.config import FinetuneConfig, PretrainConfig, TrainConfig

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import CAEConfig
from ParanasalSSLLib.model.networks import CAE

SMALL_CAE = CAEConfig(latent=16, channels=(4, 8, 8), last_stage="subpixel", voxels=32)
FAST = OptimizerConfig(lr=5e-3, schedule="cosine")


def tiny(store: CropStore, output: Path) -> TrainConfig:
    """A run of some seconds."""
    return TrainConfig(
        store=store.folder, output=output, batch_size=8, network=SMALL_CAE, optimizer=FAST
    )


def copy_of_store(store: CropStore, folder: Path, first_voxel: int | None = None) -> CropStore:
    """The same content elsewhere, or with another value in its first voxel."""
    crops = np.array(store.crops)
    if first_voxel is not None:
        crops[0, 0, 0, 0] = first_voxel
    assert store.lesions is not None
    return write_store(folder, crops, store.table, store.lesions, store.info)


def settings_of_a_finished_run(config: RunConfig, store: CropStore) -> None:
    """Leave what a finished run leaves, as far as `begin` looks at it."""
    finish_untrained(CAEStage(CAE(SMALL_CAE), config), store)  # type: ignore[arg-type]


def test_run_is_refused_when_its_store_changed_and_accepted_when_it_moved(
    toy_store: CropStore, tmp_path: Path
) -> None:
    config = tiny(toy_store, tmp_path / "r")
    settings_of_a_finished_run(config, toy_store)
    moved = copy_of_store(toy_store, tmp_path / "moved")
    assert not begin(replace(config, store=moved.folder), moved), "complete already"
    other = copy_of_store(toy_store, tmp_path / "other", first_voxel=255)
    with pytest.raises(BadConfig, match=r"another store\. Choose another output folder"):
        begin(replace(config, store=other.folder), other)
    (tmp_path / "r/run.json").unlink()
    with pytest.raises(BadConfig, match="another store"):
        begin(replace(config, store=other.folder), other)


def test_run_is_refused_when_labels_of_the_same_crops_changed(
    toy_store: CropStore, tmp_path: Path
) -> None:
    config = tiny(toy_store, tmp_path / "r")
    settings_of_a_finished_run(config, toy_store)
    table = toy_store.table.copy()
    table["label"] = 1 - table["label"]
    other = write_store(tmp_path / "other", toy_store.crops, table)
    with pytest.raises(BadConfig, match="another store's table"):
        begin(replace(config, store=other.folder), other)


@pytest.mark.parametrize(
    ("setting", "file"),
    [("splits", ""), ("pretrained", "model.safetensors"), ("residuals", "residuals.json")],
)
def test_run_is_refused_when_a_file_it_was_made_from_changed_and_accepted_when_it_moved(
    toy_store: CropStore, tmp_path: Path, setting: str, file: str
) -> None:
    def given(name: str, content: str) -> FinetuneConfig:
        path = tmp_path / name / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return FinetuneConfig(
            store=toy_store.folder, output=tmp_path / "r", **{setting: tmp_path / name}
        )

    settings_of_a_finished_run(given("a", "content"), toy_store)
    assert not begin(given("b", "content"), toy_store), "complete already"
    for other in (given("c", "other"), replace(given("a", "content"), **{setting: None})):
        with pytest.raises(BadConfig, match=rf"another {setting}\. Choose another output folder"):
            begin(other, toy_store)


def test_run_is_refused_when_the_weights_it_transferred_changed(
    toy_store: CropStore, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("content")
    config = PretrainConfig(
        store=toy_store.folder, output=tmp_path / "r", method="transfer",
        options={"file": str(weights)},
    )  # fmt: skip
    settings_of_a_finished_run(config, toy_store)
    assert not begin(config, toy_store)
    weights.write_text("other")
    with pytest.raises(BadConfig, match="another file of weights"):
        begin(config, toy_store)
    weights.unlink()
    with pytest.raises(BadConfig, match=r"weights\.pth is missing"):
        begin(config, toy_store)


def test_run_of_a_version_that_kept_no_record_of_its_inputs_is_accepted(
    toy_store: CropStore, tmp_path: Path
) -> None:
    config = tiny(toy_store, tmp_path / "r")
    settings_of_a_finished_run(config, toy_store)
    (tmp_path / "r/inputs.json").unlink()
    other = copy_of_store(toy_store, tmp_path / "other", first_voxel=255)
    assert not begin(replace(config, store=other.folder), other)
    with pytest.raises(BadConfig, match="another seed"):
        begin(replace(config, seed=1), toy_store)


def test_finished_run_is_known_by_the_names_that_its_settings_had(
    toy_store: CropStore, tmp_path: Path
) -> None:
    config = FinetuneConfig(store=toy_store.folder, output=tmp_path / "r", label_fraction=0.5)
    settings_of_a_finished_run(config, toy_store)
    file = tmp_path / "r/config.json"
    file.write_text(file.read_text().replace("label_fraction", "label_share"))
    assert not begin(config, toy_store), "complete already"
    with pytest.raises(BadConfig, match="another label_fraction"):
        begin(replace(config, label_fraction=1.0), toy_store)


def test_epochs_after_the_last_validation_would_be_lost(tmp_path: Path) -> None:
    paths = {"store": tmp_path, "output": tmp_path}
    with pytest.raises(BadConfig, match=r"does not divide epochs 45.*last 5.*Choose 40 epochs"):
        PretrainConfig(method="byol", epochs=45, validate_every=10, **paths)
    assert FinetuneConfig(epochs=60, validate_every=3, **paths).recipe.epochs == 60
