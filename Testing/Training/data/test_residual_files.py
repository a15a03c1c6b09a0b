"""Residuals of a store as images: sides where they belong, values as they were."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from paranasal_training.data.config import ResidualFilesConfig
from paranasal_training.data.residual_files import side_by_side, write_residual_files
from paranasal_training.data.residual_store import ResidualWriter
from paranasal_training.data.store import CropStore

from ParanasalSSLLib.errors import BadStore
from ParanasalSSLLib.results.maps import read_residual_map
from ParanasalSSLLib.sinuses import Side


def test_both_sinuses_stand_as_in_the_head() -> None:
    """The lateral wall is at index 0 of a stored crop of either side."""
    cube = np.zeros((32, 32, 32), np.float32)
    cube[3, 20, 28] = 1
    volume = side_by_side({Side.LEFT: cube, Side.RIGHT: 2 * cube})
    places = {}
    for value in (1, 2):
        index = np.argwhere(volume.data == value)[0]
        places[value] = (volume.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(places[1], (-65, 9, 25))
    np.testing.assert_allclose(places[2], (65, 9, 25))


def test_files_hold_the_residuals_of_each_patient(toy_store: CropStore, tmp_path: Path) -> None:
    rows = toy_store.rows("test")[:3]  # both sides of one patient, one side of the next
    residuals = np.zeros((3, 64, 64, 64), np.uint8)
    residuals[:, 5, 6, 7] = (50, 100, 150)
    writer = ResidualWriter(tmp_path / "residuals", toy_store, 64, {"gain": 2.0})
    writer.write(rows, residuals)
    out = write_residual_files(
        ResidualFilesConfig(
            store=toy_store.folder, residuals=tmp_path / "residuals", output=tmp_path / "out"
        )
    )
    first, second = (toy_store.table["patient"].iloc[rows[n]] for n in (0, 2))
    assert len(list(out.iterdir())) == 4
    both = read_residual_map(out / f"sub-{first}_desc-residual_map.nii.gz")
    assert both.data[5, 6, 7] == pytest.approx(50 / 510)
    assert both.data[-6, 6, 7] == pytest.approx(100 / 510)
    one = read_residual_map(out / f"sub-{second}_desc-residual_map.nii.gz")
    assert one.data[5, 6, 7] == pytest.approx(150 / 510) and one.data[72:].max() == 0
    crops = nib.load(out / f"sub-{first}_desc-crops.nii.gz")
    voxels = np.asarray(crops.dataobj)
    np.testing.assert_allclose(voxels[:64] * 255, toy_store.crops[rows[0]], atol=1e-3)
    np.testing.assert_allclose(crops.affine, both.affine)


def test_a_store_without_residuals_is_told_in_words(toy_store: CropStore, tmp_path: Path) -> None:
    ResidualWriter(tmp_path / "residuals", toy_store, 64, {"gain": 1.0})
    config = ResidualFilesConfig(
        store=toy_store.folder, residuals=tmp_path / "residuals", output=tmp_path / "out"
    )
    with pytest.raises(BadStore, match="no residuals yet"):
        write_residual_files(config)
