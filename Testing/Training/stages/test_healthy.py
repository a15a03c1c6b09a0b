"""Residuals measured by held-out healthy sinuses: known answers, and the kinds of residual stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paranasal_training.data.residual_store import ResidualStore
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.stages.cae import train_cae
from paranasal_training.stages.config import ResidualsConfig, TrainConfig
from paranasal_training.stages.healthy import learn_healthy
from paranasal_training.stages.residuals import make_residuals

from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.model.config import CAEConfig, ResidualConfig

EDGE = 32
SMALL_CAE = CAEConfig(latent=16, channels=(4, 8, 8), last_stage="subpixel")


def sinuses(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals of 0.1 everywhere, crops with air in the middle, patients of two sinuses."""
    crops = np.full((n, EDGE, EDGE, EDGE), 0.8, np.float32)
    crops[:, 8:24, 8:24, 8:24] = 0.05
    patients = np.array([f"p{number // 2}" for number in range(n)])
    return np.full(crops.shape, 0.1, np.float32), crops, patients


def test_what_healthy_sinuses_show_is_nothing_and_twice_as_much_is_all() -> None:
    residuals, crops, patients = sinuses(10)
    healthy = learn_healthy(residuals, crops, patients)
    middle = (slice(None), 16, 16, 16)
    measured = healthy.calibrated(
        np.stack([residuals[0] * f for f in (0.5, 1, 1.5, 2, 5)]), np.array(["x"] * 5)
    )
    assert measured[middle] == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)
    assert not measured[:, 0].any(), "outside the region of the sinuses nothing is kept"
    assert healthy.region.sum() > 16**3


def test_a_healthy_patient_is_measured_by_the_others() -> None:
    residuals, crops, patients = sinuses(10)
    residuals[:2] = 0.4  # both sinuses of one patient
    healthy = learn_healthy(residuals, crops, patients)
    own = healthy.calibrated(residuals[:1], patients[:1])
    assert own[0, 16, 16, 16] == 1
    stranger = healthy.calibrated(residuals[:1], np.array(["somebody else"]))
    assert stranger[0, 16, 16, 16] < 0.2


def test_one_healthy_patient_is_too_few() -> None:
    residuals, crops, patients = sinuses(2)
    with pytest.raises(BadStore, match="two or more"):
        learn_healthy(residuals, crops, patients)


@pytest.fixture(scope="module")
def cae(toy_store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cae"
    train_cae(TrainConfig(store=toy_store.folder, output=folder, epochs=2, network=SMALL_CAE))
    return folder


def test_calibrated_residuals_lie_where_sinuses_do(
    toy_store: CropStore, cae: Path, tmp_path: Path
) -> None:
    config = ResidualsConfig(store=toy_store.folder, cae=cae, output=tmp_path / "r", gain=1.0)
    plain = ResidualStore.open(make_residuals(config), toy_store)
    config = ResidualsConfig(
        store=toy_store.folder, cae=cae, output=tmp_path / "c", gain=1.0, kind="calibrated"
    )
    calibrated = ResidualStore.open(make_residuals(config), toy_store)
    rows = np.flatnonzero(calibrated.done)
    assert (plain.residuals[rows, 0] > 0).any() and not calibrated.residuals[rows, 0].any()
    assert calibrated.residuals[rows].any()


def test_the_oracle_is_the_true_lesion_and_needs_one(
    toy_store: CropStore, cae: Path, tmp_path: Path
) -> None:
    config = ResidualsConfig(
        store=toy_store.folder, cae=cae, output=tmp_path / "o", gain=1.0, kind="oracle"
    )
    oracle = ResidualStore.open(make_residuals(config), toy_store)
    assert toy_store.lesions is not None
    row = int(np.flatnonzero(oracle.done & toy_store.lesions.any(axis=(1, 2, 3)))[0])
    assert np.array_equal(oracle.residuals[row] > 0, toy_store.lesions[row] > 0)
    bare = write_store(tmp_path / "bare", toy_store.crops[:4], toy_store.table[:4])
    with pytest.raises(BadStore, match="no lesion masks"):
        make_residuals(replace(config, store=bare.folder, output=tmp_path / "x"))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "calibrated"},
        {"kind": "oracle"},
        {"residual": ResidualConfig(otsu=True)},
        {"residual": ResidualConfig(scaling="percentile")},
    ],
)
def test_residuals_that_reach_1_are_not_cut_off(change: dict[str, Any]) -> None:
    usual = ResidualsConfig(store=Path("s"), cae=Path("c"), output=Path("o"))
    assert replace(usual, **change).gain == 1
    with pytest.raises(BadConfig, match="gain of 2"):
        replace(usual, gain=2.0, **change)
    with pytest.raises(BadConfig, match="above 0"):
        replace(usual, gain=0.0)
