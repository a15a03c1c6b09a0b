"""The grid type: known answers, and every method on permuted, flipped and oblique grids."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.geometry import (
    Grid,
    apply_affine,
    is_same_place,
    lps_to_ras,
    ras_to_lps,
    transform_lps_to_ras,
)

SHAPE = (10, 20, 30)
SPACING = (0.5, 1.0, 2.0)


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING
    affine[:3, 3] = (-31.5, 17.25, -80.0)
    return affine


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Turns about the three axes, degrees."""
    return nib.eulerangles.euler2mat(*np.deg2rad([z, y, x]))


AFFINES = {
    "straight": affine_of(np.eye(3)),
    "flipped": affine_of(np.diag([-1.0, 1.0, -1.0])),
    "left-handed": affine_of(np.diag([-1.0, 1.0, 1.0])),
    "permuted": affine_of(np.eye(3)[:, [1, 2, 0]]),
    "permuted and flipped": affine_of(np.eye(3)[[2, 0, 1]] * [1, -1, -1]),
    "oblique": affine_of(rotation(12.0, -20.0, 31.0)),
    "oblique and left-handed": affine_of(rotation(12.0, -20.0, 31.0) @ np.diag([1.0, -1.0, 1.0])),
}


@pytest.fixture(params=AFFINES)
def grid(request: pytest.FixtureRequest) -> Grid:
    return Grid(SHAPE, AFFINES[request.param])


def test_known_places_of_a_straight_grid() -> None:
    grid = Grid(SHAPE, AFFINES["straight"])
    np.testing.assert_allclose(grid.to_world(np.array([0, 0, 0])), [-31.5, 17.25, -80])
    np.testing.assert_allclose(grid.to_world(np.array([2, 3, 4])), [-30.5, 20.25, -72])
    np.testing.assert_allclose(grid.to_index(np.array([-30.5, 20.25, -72])), [2, 3, 4])
    np.testing.assert_allclose(grid.center_ras_mm, [-29.25, 26.75, -51])
    np.testing.assert_allclose(grid.corners()[[0, -1]], [[-31.5, 17.25, -80], [-27, 36.25, -22]])
    np.testing.assert_allclose(
        grid.corners(0.5)[[0, -1]], [[-31.75, 16.75, -81], [-26.75, 36.75, -21]]
    )


def test_known_place_of_a_permuted_and_flipped_grid() -> None:
    grid = Grid(SHAPE, AFFINES["permuted and flipped"])
    # The axes run towards anterior, inferior and left.
    np.testing.assert_allclose(grid.to_world(np.array([2, 3, 4])), [-31.5 - 8, 17.25 + 1, -80 - 3])


def test_index_and_world_are_inverse_for_any_leading_axes(grid: Grid) -> None:
    index = np.random.default_rng(1).uniform(-5, 35, (4, 7, 3))
    world = grid.to_world(index)
    assert world.shape == index.shape
    np.testing.assert_allclose(world[2, 5], (grid.affine @ [*index[2, 5], 1])[:3])
    np.testing.assert_allclose(grid.to_index(world), index, atol=1e-9)


def test_grid_around_a_point_has_it_in_the_middle(grid: Grid) -> None:
    made = Grid.around(np.array([1.0, 2, 3]), grid.affine[:3, :3], (7, 8, 9))
    np.testing.assert_allclose(made.center_ras_mm, [1, 2, 3])
    np.testing.assert_array_equal(made.affine[:3, :3], grid.affine[:3, :3])
    assert made.shape == (7, 8, 9)


def test_spacing_and_voxel_volume_do_not_depend_on_orientation(grid: Grid) -> None:
    np.testing.assert_allclose(grid.spacing_mm, SPACING)
    assert grid.voxel_ml == pytest.approx(0.001)


def test_corners_are_the_outermost_voxels(grid: Grid) -> None:
    corners = grid.to_index(grid.corners())
    np.testing.assert_allclose(corners.min(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(corners.max(axis=0), np.array(SHAPE) - 1, atol=1e-9)
    assert len(np.unique(corners.round(), axis=0)) == 8


def test_contains_ends_at_the_outline_of_the_voxels(grid: Grid) -> None:
    index = np.array([[0, 0, 0], [-0.49, 19.49, 5], [-0.51, 3, 3], [9, 19, 29.51]])
    np.testing.assert_array_equal(grid.contains(grid.to_world(index)), [True, True, False, False])


def test_window_holds_the_points_and_ends_at_the_image(grid: Grid) -> None:
    points = grid.to_world(np.array([[2.2, 3.5, 10.5], [4.6, 7.1, 40.0]]))
    start, stop = grid.window_around(points)
    np.testing.assert_array_equal([start, stop], [[2, 3, 10], [6, 9, 30]])
    start, stop = grid.window_around(points, margin=2)
    np.testing.assert_array_equal([start, stop], [[0, 1, 8], [8, 11, 30]])


def test_window_beside_the_image_is_empty(grid: Grid) -> None:
    start, stop = grid.window_around(grid.to_world(np.array([[-9.0, 3, 3], [-5.0, 6, 6]])))
    assert (stop <= start).any()
    assert 0 in grid.cut(start, stop).shape


def test_a_cut_block_stays_where_it_was(grid: Grid) -> None:
    block = grid.cut(np.array([1, 4, 9]), np.array([5, 20, 12]))
    assert block.shape == (4, 16, 3)
    index, start = np.array([3, 2, 1]), np.array([1, 4, 9])
    np.testing.assert_allclose(block.to_world(index), grid.to_world(start + index))


@pytest.mark.parametrize("other", AFFINES)
def test_index_of_one_grid_in_another(grid: Grid, other: str) -> None:
    target = Grid((4, 5, 6), AFFINES[other])
    index = np.array([3.0, 1.0, 2.0])
    np.testing.assert_allclose(
        apply_affine(grid.index_to(target), index),
        target.to_index(grid.to_world(index)),
        atol=1e-9,
    )


@pytest.mark.parametrize("other", AFFINES)
def test_voxels_inside_another_grid(grid: Grid, other: str) -> None:
    target = Grid((7, 8, 9), AFFINES[other])
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    away = abs(abs(target.to_index(grid.to_world(index)) % 1) - 0.5).min(axis=-1)
    clear = away > 1e-6  # not exactly on the outline, where rounding decides
    expected = target.contains(grid.to_world(index))
    np.testing.assert_array_equal(grid.voxels_inside(target)[clear], expected[clear])


@pytest.mark.parametrize(("shift_mm", "same"), [(0.05, True), (0.2, False)])
def test_grids_with_axes_in_another_order_may_be_the_same_place(
    grid: Grid, shift_mm: float, same: bool
) -> None:
    turned = grid.affine[:, [2, 0, 1, 3]].copy()  # the axes in another order, one reversed
    turned[:3, 3] += turned[:3, 0] * (SHAPE[2] - 1) + [shift_mm, 0, 0]
    turned[:3, 0] *= -1
    other = Grid((SHAPE[2], SHAPE[0], SHAPE[1]), turned)
    assert is_same_place(grid, other) is same


def test_grids_over_the_same_place_with_other_voxels_differ(grid: Grid) -> None:
    i, j, k = SHAPE
    finer = Grid.around(grid.center_ras_mm, grid.affine[:3, :3] / 2, (2 * i, 2 * j, 2 * k))
    assert not is_same_place(grid, finer)


def test_affine_is_a_read_only_copy() -> None:
    affine = np.eye(4)
    grid = Grid(SHAPE, affine)
    affine[0, 3] = 5
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 1


def test_lps_and_ras_differ_in_the_signs_of_the_first_two_axes() -> None:
    np.testing.assert_array_equal(lps_to_ras(np.array([1.0, 2.0, 3.0])), [-1, -2, 3])
    points = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(ras_to_lps(lps_to_ras(points)), points)
    affine = AFFINES["oblique"]
    np.testing.assert_array_equal(lps_to_ras(affine)[:2], -affine[:2])
    np.testing.assert_array_equal(lps_to_ras(affine)[2:], affine[2:])


def test_flip_of_an_affine_flips_the_points_that_it_maps_to() -> None:
    index, affine = np.array([3.0, 1.0, 2.0]), AFFINES["oblique"]
    np.testing.assert_allclose(
        apply_affine(lps_to_ras(affine), index), lps_to_ras(apply_affine(affine, index))
    )


def test_a_map_between_lps_points_is_the_same_map_between_ras_points() -> None:
    point, transform = np.array([3.0, 1.0, 2.0]), AFFINES["oblique"]
    np.testing.assert_allclose(
        lps_to_ras(apply_affine(transform, ras_to_lps(point))),
        apply_affine(transform_lps_to_ras(transform), point),
    )


def test_flip_gives_no_negative_zero() -> None:
    assert not np.signbit(ras_to_lps(np.zeros(3))).any()


@pytest.mark.parametrize("shape", [(3, 4), (2,), ()])
def test_flip_refuses_what_is_no_affine_and_no_points(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="affine"):
        lps_to_ras(np.zeros(shape))
