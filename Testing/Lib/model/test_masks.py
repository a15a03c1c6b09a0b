"""Masks of what fills a sinus against known answers."""

from __future__ import annotations

import numpy as np

from ParanasalSSLLib.model.masks import MaskConfig, air_fraction, mask_evidence, opacity_mask


def cube(value: float = 0.0, edge: int = 16) -> np.ndarray:
    return np.full((edge, edge, edge), value, np.float32)


def with_block(edge: int = 16, value: float = 0.5, size: int = 8) -> np.ndarray:
    data = cube(edge=edge)
    start = (edge - size) // 2
    data[start : start + size, start : start + size, start : start + size] = value
    return data


def test_mask_keeps_what_is_above_its_own_voxels_threshold() -> None:
    residual = with_block(value=0.3)
    thresholds = cube(0.2)
    thresholds[:8] = 0.4  # this half may differ more
    mask = opacity_mask(residual, thresholds, True, MaskConfig(1.0, 1.0, 1))
    assert not mask[:8].any()
    assert mask[8:].sum() == 4 * 8 * 8


def test_mask_drops_parts_below_the_smallest_size() -> None:
    residual = with_block()
    residual[0, 0, 0] = 0.5
    mask = opacity_mask(residual, cube(0.2), True, MaskConfig(1.0, 1.0, 2))
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
    assert np.allclose(air_fraction(image), air_fraction(0.3 * image), atol=1e-5)
    assert set(np.unique(air_fraction(np.array([0.0, 0.1, 0.5, 0.9])))) == {0.0, 1.0}


def test_sinus_that_is_called_normal_is_masked_more_strictly() -> None:
    config = MaskConfig(level_normal=2.0, level_anomalous=1.0, minimum_part_voxels=1)
    residual, thresholds = with_block(value=0.3), cube(0.2)
    assert opacity_mask(residual, thresholds, True, config).sum() == 8**3
    assert not opacity_mask(residual, thresholds, False, config).any()
