"""Residual maps and masks against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from ParanasalSSLLib.model.residual import (
    MaskConfig,
    ResidualConfig,
    air_share,
    anomaly_mask,
    mask_evidence,
    otsu_threshold,
    residual_map,
)


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


def test_mask_keeps_what_is_above_its_own_voxels_threshold() -> None:
    residual = with_block(value=0.3)
    thresholds = cube(0.2)
    thresholds[:8] = 0.4  # this half may differ more
    mask = anomaly_mask(residual, thresholds, True, MaskConfig(1.0, 1.0, 1))
    assert not mask[:8].any()
    assert mask[8:].sum() == 4 * 8 * 8


def test_mask_drops_parts_below_the_smallest_size() -> None:
    residual = with_block()
    residual[0, 0, 0] = 0.5
    mask = anomaly_mask(residual, cube(0.2), True, MaskConfig(1.0, 1.0, 2))
    assert mask.sum() == 8**3
    assert not mask[0, 0, 0]


def test_what_lies_in_expected_air_counts_double() -> None:
    tissue_below_air = cube(0.8)
    tissue_below_air[:, :, 8:] = 0.05
    evidence = mask_evidence(cube(0.2), tissue_below_air)
    assert np.allclose(evidence[:, :, :8], 0.2)
    assert np.allclose(evidence[:, :, 8:], 0.4)


def test_air_is_judged_relative_to_tissue() -> None:
    """A dim scan has no more air than a bright one."""
    image = np.linspace(0, 1, 16**3).reshape(16, 16, 16).astype(np.float32)
    assert np.allclose(air_share(image), air_share(0.3 * image), atol=1e-5)
    assert set(np.unique(air_share(np.array([0.0, 0.1, 0.5, 0.9])))) == {0.0, 1.0}


def test_sinus_that_is_called_normal_is_masked_more_strictly() -> None:
    config = MaskConfig(level_normal=2.0, level_anomalous=1.0, minimum_part_voxels=1)
    residual, thresholds = with_block(value=0.3), cube(0.2)
    assert anomaly_mask(residual, thresholds, True, config).sum() == 8**3
    assert not anomaly_mask(residual, thresholds, False, config).any()


@pytest.mark.parametrize("values", [{"median_kernel_voxels": 4}, {"scaling": "none"}])
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ResidualConfig(**values)  # type: ignore[arg-type]
