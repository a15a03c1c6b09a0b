"""Crops and the way back: no axis order, flip or tilt of a scan may swap or shift a sinus."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.crop import CropConfig, crop_grid, cut_crop, paste, scale_intensities
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

SHAPE = (60, 36, 40)
SPACING = np.array([3.0, 3.5, 2.5])
CENTERS = {Side.LEFT: np.array([-24.0, 10.0, -6.0]), Side.RIGHT: np.array([24.0, 10.0, -6.0])}
OUTWARD = {Side.LEFT: -1.0, Side.RIGHT: 1.0}
# A lamp lies lateral, anterior and superior in each sinus: (RAS mm, away from the box's centre).
LAMP = {side: np.array([18.0 * OUTWARD[side], 12.0, 7.0]) for side in Side}
AXES = [
    "".join(word)
    for order in itertools.permutations(["RL", "AP", "SI"])
    for word in itertools.product(*order)
]
OBLIQUE = [(0.0, 0.0, 0.0), (11.0, -16.0, 23.0), (-25.0, 30.0, -40.0)]


def turn(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3) rotation, degrees."""
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(euler.GetMatrix()).reshape(3, 3)


def grid_affine(tilt: np.ndarray) -> np.ndarray:
    """(4, 4) of a grid about the RAS origin, turned against it."""
    affine = np.eye(4)
    affine[:3, :3] = tilt * SPACING
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def places(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(*shape, 3) RAS mm of each voxel."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def lamps(side: Side | None = None, tilt: np.ndarray | None = None) -> Volume:
    """A dim scan with a bright ball in the lateral part of one sinus, or of both."""
    affine = grid_affine(np.eye(3) if tilt is None else tilt)
    points = places(SHAPE, affine)
    data = 10 + np.sin(points[..., 0] / 9) + np.cos(points[..., 2] / 8)
    for lit in Side if side is None else [side]:
        data[np.linalg.norm(points - CENTERS[lit] - LAMP[lit], axis=-1) < 10] = 100
    return Volume(data, affine)


def box_of(side: Side, rotation: np.ndarray | None = None) -> SinusBox:
    return SinusBox(side, CENTERS[side], np.eye(3) if rotation is None else rotation)


def lamp_place(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(3,) RAS mm of the bright part's centre."""
    bright = np.argwhere(np.nan_to_num(values) > 0.5 * np.nanmax(values))
    return affine[:3, :3] @ bright.mean(axis=0) + affine[:3, 3]


def test_there_are_48_axis_orders() -> None:
    assert len(set(AXES)) == 48


@pytest.mark.parametrize("axes", AXES)
def test_lamp_stays_on_its_side_in_every_axis_order(toolbox: Any, axes: str) -> None:
    for side, tilt in itertools.product(Side, OBLIQUE[:2]):
        volume = toolbox.reoriented(lamps(side, turn(*tilt)), axes)
        crops = {s: cut_crop(volume, box_of(s, turn(4, -3, 6))) for s in Side}
        lit = crops[side]
        # In the crop: at the lateral end for both sides, in front of and above the middle.
        i, j, k = np.argwhere(lit.data > 0.5).mean(axis=0)
        assert i < 20 and j > 36 and k > 33
        expected = CENTERS[side] + LAMP[side]
        assert np.linalg.norm(lamp_place(lit.data, lit.affine) - expected) < 1.0
        # Pasted back: the same place, and the scan's left stays the scan's left.
        back = paste(lit.data, lit, volume)
        assert back.shape == volume.shape
        found = lamp_place(back, volume.affine)
        assert np.linalg.norm(found - expected) < 1.5
        assert np.sign(found[0]) == OUTWARD[side]


@pytest.mark.parametrize("axes", AXES[::5])
def test_crop_does_not_depend_on_the_axis_order(toolbox: Any, axes: str) -> None:
    volume = lamps(tilt=turn(*OBLIQUE[1]))
    for side in Side:
        expected = cut_crop(volume, box_of(side))
        found = cut_crop(toolbox.reoriented(volume, axes), box_of(side))
        np.testing.assert_allclose(found.data, expected.data, atol=1e-5)
        np.testing.assert_array_equal(found.inside, expected.inside)
        assert found.window == pytest.approx(expected.window)


@pytest.mark.parametrize("tilt", OBLIQUE)
def test_mirrored_heads_give_equal_crops(tilt: tuple[float, float, float]) -> None:
    """Left and right show the networks the same picture, lateral to medial."""
    rotation = turn(*tilt)
    mirror = np.diag([-1.0, 1.0, 1.0])
    crops = {}
    for side, reflect in ((Side.LEFT, np.eye(3)), (Side.RIGHT, mirror)):
        points = places(SHAPE, grid_affine(np.eye(3))) @ reflect.T
        x, y, z = np.moveaxis(points, -1, 0)
        data = np.sin(x / 7) + np.cos(y / 11) + np.sin(z / 5 + x / 20)
        volume = Volume(data, grid_affine(np.eye(3)))
        crops[side] = cut_crop(volume, box_of(side, reflect @ rotation @ reflect))
    np.testing.assert_allclose(crops[Side.LEFT].data, crops[Side.RIGHT].data, atol=1e-5)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("tilt", OBLIQUE)
def test_affine_runs_from_lateral_to_medial_back_to_front_bottom_to_top(
    side: Side, tilt: tuple[float, float, float]
) -> None:
    rotation = turn(*tilt)
    crop = cut_crop(lamps(), box_of(side, rotation))
    directions = rotation.T @ crop.affine[:3, :3]
    np.testing.assert_allclose(directions, np.diag([-OUTWARD[side], 1.0, 1.0]), atol=1e-12)
    assert np.sign(np.linalg.det(crop.affine)) == -OUTWARD[side]
    middle = crop.affine @ (31.5, 31.5, 31.5, 1)
    np.testing.assert_allclose(middle[:3], CENTERS[side], atol=1e-9)


def test_crop_grid_of_another_size_and_spacing_keeps_the_centre() -> None:
    grid = crop_grid(box_of(Side.RIGHT, turn(*OBLIQUE[1])), CropConfig(32, 2.0))
    np.testing.assert_allclose((grid.affine @ (15.5, 15.5, 15.5, 1))[:3], CENTERS[Side.RIGHT])
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), 2.0)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("scan_tilt", OBLIQUE)
def test_cut_and_paste_of_a_smooth_scan_gives_the_scan(
    side: Side, scan_tilt: tuple[float, float, float]
) -> None:
    affine = grid_affine(turn(*scan_tilt))
    volume = Volume(places(SHAPE, affine) @ (0.4, -0.3, 0.7), affine)
    config = CropConfig(low_percentile=0, high_percentile=100)
    crop = cut_crop(volume, box_of(side, turn(5, 6, 7)), config)
    low, high = crop.window
    back = paste(crop.data * (high - low) + low, crop, volume)
    within = ~np.isnan(back)
    assert within.sum() * SPACING.prod() == pytest.approx(crop.inside.sum(), rel=0.02)
    assert abs(back - volume.data)[within].max() < 0.8  # mm of the ramp, only at the cube's faces
    assert np.median(abs(back - volume.data)[within]) < 1e-4


def test_crop_on_the_scan_s_own_grid_is_the_scan() -> None:
    data = np.random.default_rng(0).normal(size=(70, 72, 74)).astype(np.float32)
    volume = Volume(data, np.eye(4))
    for side, flip in ((Side.LEFT, 1), (Side.RIGHT, -1)):
        box = SinusBox(side, np.array([2, 3, 4]) + 31.5)
        crop = cut_crop(volume, box)
        low, high = crop.window
        expected = np.clip((data[2:66, 3:67, 4:68] - low) / (high - low), 0, 1)[::flip]
        np.testing.assert_allclose(crop.data, expected, atol=1e-5)
        back = paste(crop.data, crop, volume, outside=-1)
        np.testing.assert_allclose(back[2:66, 3:67, 4:68], expected[::flip], atol=1e-5)
        assert (back == -1).sum() == data.size - 64**3


# ---------------------------------------------------------------------------------- scaling


def test_percentiles_become_0_and_1() -> None:
    data = np.random.default_rng(1).normal(300, 50, (32, 32, 32)).astype(np.float32)
    scaled, (low, high) = scale_intensities(data)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert (low, high) == pytest.approx(np.percentile(data, [1, 99]), rel=1e-5)
    assert ((scaled == 0).mean(), (scaled == 1).mean()) == pytest.approx((0.01, 0.01), abs=2e-3)
    middle = (scaled > 0) & (scaled < 1)
    np.testing.assert_allclose(scaled[middle] * (high - low) + low, data[middle], rtol=1e-4)


def test_scaling_ignores_a_scan_s_gain_and_offset() -> None:
    data = np.random.default_rng(1).normal(300, 50, (24, 24, 24)).astype(np.float32)
    np.testing.assert_allclose(
        scale_intensities(data)[0], scale_intensities(7 * data - 900)[0], atol=1e-4
    )


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-3, 1e9, 1e30])
def test_scaling_ignores_the_unit(unit: float) -> None:
    data = np.random.default_rng(1).normal(300, 50, (24, 24, 24)).astype(np.float32)
    found = scale_intensities(np.float32(unit) * (data - 900))[0]
    np.testing.assert_allclose(scale_intensities(data)[0], found, atol=1e-4)


def test_one_extreme_voxel_does_not_matter() -> None:
    data = np.random.default_rng(1).normal(300, 50, (32, 32, 32)).astype(np.float32)
    spoilt = data.copy()
    spoilt[0, 0, 0] = 1e9
    assert abs(scale_intensities(data)[0] - scale_intensities(spoilt)[0])[1:].max() < 1e-3


def test_voxels_outside_neither_count_nor_show() -> None:
    data = np.random.default_rng(1).normal(300, 50, (24, 24, 24)).astype(np.float32)
    inside = np.ones(data.shape, bool)
    inside[:10] = False
    spoilt = np.where(inside, data, 1e6)
    scaled, window = scale_intensities(spoilt, inside=inside)
    assert window == scale_intensities(data[10:])[1]
    assert (scaled[:10] == 0).all()


@pytest.mark.parametrize("inside", [None, np.zeros((8, 8, 8), bool)], ids=["flat", "all outside"])
def test_flat_and_empty_cubes_become_0(inside: np.ndarray | None) -> None:
    scaled, window = scale_intensities(np.full((8, 8, 8), 5.0, np.float32), inside=inside)
    assert (scaled == 0).all()
    assert window[1] > window[0]


# ---------------------------------------------------------------------------------- outside


def test_part_outside_the_image_is_marked_and_0() -> None:
    volume = Volume(np.random.default_rng(0).normal(50, 9, (80, 80, 80)), np.eye(4))
    box = SinusBox(Side.LEFT, np.array([40.0, 40.0, 11.5]))  # 20 of 64 mm below the image
    crop = cut_crop(volume, box)
    assert not crop.inside[:, :, :20].any() and crop.inside[:, :, 20:].all()
    assert (crop.data[:, :, :20] == 0).all()
    assert 0.3 < crop.data[:, :, 20:].mean() < 0.7


def test_box_far_away_is_all_outside_and_pastes_nowhere() -> None:
    volume = lamps()
    crop = cut_crop(volume, SinusBox(Side.RIGHT, np.array([900.0, 0.0, 0.0])))
    assert not crop.inside.any() and (crop.data == 0).all()
    assert np.isnan(paste(crop.data, crop, volume)).all()


@pytest.mark.parametrize("outside", [np.nan, 0.0, -1.0])
def test_paste_marks_what_lies_outside_the_cube(outside: float) -> None:
    volume = lamps(tilt=turn(*OBLIQUE[1]))
    box = box_of(Side.LEFT, turn(*OBLIQUE[2]))
    crop = cut_crop(volume, box)
    back = paste(np.full((64, 64, 64), 0.25), crop, volume, outside)
    local = (places(volume.shape, volume.affine) - box.center_ras_mm) @ box.rotation
    within = (abs(local) <= 32).all(axis=-1)
    np.testing.assert_allclose(back[within], 0.25)
    np.testing.assert_array_equal(back[~within], np.float32(outside))


def test_pasted_mask_stays_a_mask() -> None:
    volume = lamps(tilt=turn(*OBLIQUE[1]))
    crop = cut_crop(volume, box_of(Side.RIGHT))
    mask = crop.data > 0.5
    back = paste(mask, crop, volume, outside=0, order=0)
    assert set(np.unique(back)) == {0.0, 1.0}
    assert back.sum() * SPACING.prod() == pytest.approx(mask.sum(), rel=0.15)


def test_finer_scans_are_smoothed_before_they_are_thinned() -> None:
    """Both boxes lie so that the crop's voxels are the scan's: interpolation changes nothing."""
    noise = np.random.default_rng(0).normal(100, 20, (132, 132, 132))
    plain = cut_crop(Volume(noise, np.eye(4)), SinusBox(Side.LEFT, np.full(3, 45.5)))
    fine = Volume(noise, np.diag([0.5, 0.5, 0.5, 1.0]))
    thinned = cut_crop(fine, SinusBox(Side.LEFT, np.full(3, 32.5)))
    widths = [crop.window[1] - crop.window[0] for crop in (plain, thinned)]
    assert widths[1] < 0.85 * widths[0]
