"""Residual maps against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.residual import otsu_threshold, residual_map


def cube(value: float = 0.0, edge: int = 16) -> np.ndarray:
    return np.full((edge, edge, edge), value, np.float32)


def with_block(edge: int = 16, value: float = 0.5, size: int = 8) -> np.ndarray:
    data = cube(edge=edge)
    start = (edge - size) // 2
    data[start : start + size, start : start + size, start : start + size] = value
    return data


def test_residual_is_the_absolute_difference() -> None:
    config = ResidualConfig(median_kernel_voxels=0)
    assert np.allclose(residual_map(cube(0.2), cube(0.5), config), 0.3)
    assert np.allclose(residual_map(cube(0.5), cube(0.2), config), 0.3)


def test_reconstructions_beyond_black_and_white_count_as_black_and_white() -> None:
    config = ResidualConfig(median_kernel_voxels=0)
    assert np.allclose(residual_map(cube(0.0), cube(-0.4), config), 0.0)
    assert np.allclose(residual_map(cube(1.0), cube(1.7), config), 0.0)


@pytest.mark.parametrize(("kernel", "survives"), [(0, True), (3, False), (5, False), (7, False)])
def test_median_filter_removes_single_voxels(kernel: int, survives: bool) -> None:
    speck = cube()
    speck[8, 8, 8] = 1.0
    residual = residual_map(speck, cube(), ResidualConfig(median_kernel_voxels=kernel))
    assert bool(residual.any()) is survives


def test_percentile_scaling_stretches_a_faint_residual_to_full_brightness() -> None:
    faint = with_block(value=0.1)
    stretched = residual_map(faint, cube(), ResidualConfig(0, scaling="percentile"))
    absolute = residual_map(faint, cube(), ResidualConfig(0))
    assert stretched.max() == pytest.approx(1.0)
    assert absolute.max() == pytest.approx(0.1)


def test_otsu_separates_two_classes_in_the_middle() -> None:
    values = np.concatenate([np.full(300, 0.1), np.full(100, 0.9)])
    assert otsu_threshold(values) == pytest.approx(0.5, abs=0.01)


def test_otsu_residual_is_binary_and_loses_its_small_parts() -> None:
    crop = with_block()
    crop[0, 0, 0:3] = 0.5
    config = ResidualConfig(0, otsu=True, minimum_component_voxels=20)
    residual = residual_map(crop, cube(), config)
    assert set(np.unique(residual)) == {0.0, 1.0}
    assert residual.sum() == 8**3


@pytest.mark.parametrize("values", [{"median_kernel_voxels": 4}, {"scaling": "none"}])
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ResidualConfig(**values)  # type: ignore[arg-type]
