"""The data side of the sinus network: outlines, painting into a scan's own voxels, samples, stores."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from paranasal_training.data.store import CropStore
from paranasal_training.sinus import shards
from paranasal_training.sinus.config import SinusCropsConfig
from paranasal_training.sinus.crops import Heads, draw_sample, side_as_it_is
from paranasal_training.sinus.healthy import Tissue
from paranasal_training.sinus.looks import Pose, Rescan, draw_rescan, draw_table
from paranasal_training.sinus.outline import Limits, outline_cavity
from paranasal_training.sinus.painting import (
    DARK_FLUID,
    KINDS,
    SMALL_ML,
    Painting,
    cavity_of,
    draw_signal,
    grow,
    paint,
)
from paranasal_training.sinus.plain_crops import write_sinus_crops
from paranasal_training.sinus.references import (
    WALL_MM,
    Reference,
    ReferenceRow,
    load_references,
    make_reference,
    read_table,
    save_reference,
)
from paranasal_training.sinus.sample_pictures import draw_sheet, stored_panels
from paranasal_training.sinus.scanning import Canvas, identity_table, sample

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

RADIUS_MM = 14.0
CENTER = {Side.LEFT: np.array([-26.0, 10.0, 4.0]), Side.RIGHT: np.array([26.0, 10.0, 4.0])}
TISSUE = Tissue(0.02, np.linspace(0.3, 0.9, 100), np.linspace(0.4, 0.8, 100))


@cache
def head(spacing: tuple[float, float, float], copies: int = 1) -> Volume:
    """Two round sinuses in noisy tissue that is brighter in front; slices may be repeated."""
    reach = np.array([80.0, 70.0, 62.0])
    shape = tuple((2 * reach / spacing).astype(int))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -reach
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    mm = index * np.reshape(spacing, (3, 1, 1, 1)) - reach.reshape(3, 1, 1, 1)
    data = 400 + 2 * mm[1] + np.random.default_rng(0).normal(0, 4, shape)
    for center in CENTER.values():
        away = np.linalg.norm(mm - center.reshape(3, 1, 1, 1), axis=0)
        data *= 0.02 + 0.98 * np.clip(away - RADIUS_MM + 0.5, 0, 1)
    data = np.repeat(data, copies, axis=2)
    affine[:3, :3] /= [1, 1, copies]
    return Volume(data, affine)


@cache
def reference(
    side: Side = Side.LEFT,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    copies: int = 1,
    shift: float = 3.0,
) -> Reference:
    box = SinusBox(side, CENTER[side] + shift)
    row = ReferenceRow("head.nii.gz", "t2", "person", side, True, Limits())
    return make_reference(head(spacing, copies), box, row)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides of one head, as stored references."""
    path = tmp_path_factory.mktemp("references")
    for side in Side:
        save_reference(reference(side), path / f"head_{side}.npz")
    return path


def sphere_ml(radius_mm: float = RADIUS_MM) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def test_outline_finds_the_sinus_and_centres_the_box_on_it() -> None:
    made = reference()
    assert made.clear
    assert made.cavity_ml == pytest.approx(sphere_ml(), rel=0.08)
    inside = np.argwhere(made.distance > 0).mean(axis=0)
    assert np.allclose(inside, 47.5, atol=0.7)


def test_outline_ends_at_its_limits_and_at_the_image() -> None:
    made = reference(shift=0.0)
    image = np.where(made.distance > 0, 0.02, 0.5).astype(np.float32)
    inside = np.ones(image.shape, bool)
    inside[:, :, :44] = False
    image[~inside] = 0
    outlined = outline_cavity(image, inside, Limits(roof=5.0))
    assert outlined.any() and not outlined[:, :, :44].any() and not outlined[:, :, 53:].any()


def test_nothing_is_outlined_where_no_air_is() -> None:
    image = np.random.default_rng(0).normal(0.5, 0.01, (96, 96, 96)).astype(np.float32)
    assert not outline_cavity(image, np.ones(image.shape, bool)).any()


@pytest.mark.parametrize("side", list(Side))
def test_a_reference_shows_what_cut_crop_cuts(side: Side) -> None:
    """Same place, same mirroring of the right side, same scale."""
    volume, made = head((1.0, 1.0, 2.5)), reference(side, (1.0, 1.0, 2.5))
    mirror = np.diag([-1.0 if side == Side.RIGHT else 1.0, 1.0, 1.0])
    to_scan = made.box_to_native[:, 3].copy()
    to_scan[:3] -= made.image_bounds[0]
    center = (volume.affine @ to_scan)[:3]
    crop = cut_crop(volume, SinusBox(side, center))
    pose = Pose(np.eye(3), np.zeros(3), np.zeros((3, 4, 4, 4), np.float32), 1.0)
    mm = pose.crop_to_cavity()
    index = np.tensordot(made.box_to_native[:3, :3], mm, axes=1)
    index += made.box_to_native[:3, 3].reshape(3, 1, 1, 1)
    seen = sample(identity_table()[made.native + 200][None], index.astype(np.float32))[0]
    assert np.abs(seen.clip(0, 1) - crop.data).max() < 0.01
    assert np.allclose(mirror @ made.box_to_native[:3, :3], np.diag([1.0, 1.0, 0.4]))


def test_both_ways_through_a_pose_agree() -> None:
    rng = np.random.default_rng(2)
    elastic = rng.normal(0, 1, (3, 5, 5, 5)).astype(np.float32)
    pose = Pose(np.diag([1.1, 0.9, 1.0]), np.array([3.0, -2.0, 5.0]), elastic, 0.8)
    axis = np.arange(64, dtype=np.float32) - 31.5
    mm = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    assert np.allclose(pose.crop_to_cavity(), pose.to_cavity(mm), atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_opacity_lies_inside_the_cavity(kind: str) -> None:
    cavity = cavity_of(reference().distance)
    for seed in range(4):
        painting = paint(cavity, TISSUE, kind, np.random.default_rng(seed))
        assert (painting.opacity <= painting.cavity + 1e-6).all()
        assert painting.opacity.any() == (kind != "clear")
        assert painting.share.min() >= 0 and painting.share.max() <= 1 + 1e-5


@pytest.mark.parametrize("shape", ["floor", "dome", "polyp", "level"])
@pytest.mark.parametrize("wanted_ml", [0.5, 1.5, 4.0])
def test_a_lesion_has_the_volume_that_is_asked_for(shape: str, wanted_ml: float) -> None:
    room = cavity_of(reference().distance).distance
    share = wanted_ml * 1000 / (room > 0).sum()
    for seed in range(3):
        part = grow(room, shape, (share, share * 1.0001), np.random.default_rng(seed))
        small = shape != "level" and wanted_ml > SMALL_ML  # many are cut down to that
        assert part.sum() / 1000 < 1.1 * wanted_ml
        assert small or part.sum() / 1000 > 0.9 * wanted_ml


def test_full_opacification_fills_the_cavity() -> None:
    cavity = cavity_of(reference().distance)
    part = grow(cavity.distance, "full", (0.99, 1.0), np.random.default_rng(0))
    assert part.sum() == pytest.approx((cavity.distance > 0).sum(), rel=0.05)


def test_a_fluid_level_is_horizontal_for_a_supine_head() -> None:
    room = cavity_of(reference().distance).distance
    part = grow(room, "level", (0.3, 0.31), np.random.default_rng(1)) > 0.5
    positions = np.argwhere(part)
    lumen = np.argwhere(room > 0)
    assert positions[:, 1].mean() < lumen[:, 1].mean() - 4  # at the back
    assert abs(positions[:, 0].mean() - lumen[:, 0].mean()) < 2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 5.0), (2.0, 2.0, 2.0)])
def test_painting_puts_its_volume_into_the_scans_own_voxels(
    spacing: tuple[float, float, float],
) -> None:
    canvas = Canvas(reference(spacing=spacing))
    painting = paint(canvas.cavity, TISSUE, "level", np.random.default_rng(3), healthy=False)
    share, _ = canvas.occupancy(painting)
    ml = share.sum() * np.prod(spacing) / 1000
    assert ml == pytest.approx(painting.opacity.sum() / 1000, rel=0.05)


def filled(canvas: Canvas, level: float) -> Painting:
    inside = (canvas.cavity.distance > 0).astype(np.float32)
    signal = np.full(inside.shape, level, np.float32)
    return Painting(inside, signal, inside, inside, "full", level)


def test_voxels_outside_the_cavity_keep_their_values() -> None:
    canvas = Canvas(reference(spacing=(1.0, 1.0, 3.0)))
    plain = canvas.painted(None, identity_table())
    painted = canvas.painted(filled(canvas, 0.6), identity_table())
    changed = np.argwhere(plain != painted)
    back = np.linalg.inv(canvas.reference.box_to_native)
    away = np.linalg.norm(changed @ back[:3, :3].T + back[:3, 3], axis=1)
    assert len(changed) and away.max() < RADIUS_MM + 3


def test_a_filled_sinus_has_the_signal_that_is_asked_for() -> None:
    canvas = Canvas(reference())
    painted = canvas.painted(filled(canvas, 0.1), identity_table())
    middle = np.rint(canvas.reference.box_to_native[:3, 3]).astype(int)
    core = painted[tuple(slice(m - 5, m + 6) for m in middle)]
    assert core.mean() == pytest.approx(0.1, abs=0.01)


def test_copies_of_a_thick_slice_are_painted_alike() -> None:
    canvas = Canvas(reference(spacing=(2.0, 2.0, 6.0), copies=3))
    painting = paint(canvas.cavity, TISSUE, "polyp", np.random.default_rng(0))
    image = canvas.painted(painting, identity_table())
    numbers = canvas.reference.slices[2]
    assert len(np.unique(numbers)) < len(numbers) / 2
    for number in np.unique(numbers):
        alike = image[:, :, numbers == number]
        assert np.array_equal(alike, np.repeat(alike[:, :, :1], alike.shape[2], axis=2))


def test_signals_run_from_dark_fluid_to_the_brightest() -> None:
    part = np.ones((12, 12, 12), np.float32)
    draws = [draw_signal(part, TISSUE, "full", np.random.default_rng(i)) for i in range(200)]
    levels = np.array([level for _, level in draws])
    dark = (levels > DARK_FLUID[0] - 0.01) & (levels < DARK_FLUID[1])
    assert 0.1 < dark.mean() < 0.35
    assert levels.max() > 0.85
    assert min(field.min() for field, _ in draws) > TISSUE.air


@pytest.mark.parametrize("air", [0.0, 0.05, 0.13, 0.2, 0.3])
def test_another_contrast_has_no_jump_between_levels_that_lie_next_to_each_other(
    air: float,
) -> None:
    """In noisy scans too, whose air is bright: neighbours would come out black and white."""
    for seed in range(100):
        table, _ = draw_table(air, np.random.default_rng(seed))
        assert abs(np.diff(table)).max() < 0.03


def test_only_thin_slices_are_scanned_again() -> None:
    rng = np.random.default_rng(0)
    assert all(draw_rescan(5.0, rng) == Rescan() for _ in range(20))
    assert any(draw_rescan(1.0, rng).slice_mm > 0 for _ in range(20))


def test_samples_follow_from_their_seed_and_are_within_bounds(folder: Path) -> None:
    heads = Heads(load_references(folder))
    for seed in range(3):
        one, two = (draw_sample(heads, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.image, two.image) and str(one.facts) == str(two.facts)
        assert one.image.shape == (2, 64, 64, 64)
        assert one.image.min() >= 0 and one.image.max() <= 1
        assert (one.opacity <= one.cavity).all()
        assert not one.image[0][~one.valid].any()
        assert (one.facts["kind"] == "clear") == (not one.opacity.any())


def test_a_side_as_it_is_shows_the_scan_itself_wherever_the_box_lies(folder: Path) -> None:
    heads = Heads(load_references(folder))
    first, second = (side_as_it_is(heads, 0, np.random.default_rng(seed)) for seed in (1, 2))
    reference = heads.clear[0].reference
    true_ml = (reference.distance > 0).sum() / 1000
    for drawn in (first, second):
        assert not drawn.opacity.any() and drawn.facts["kind"] == "clear"
        whole = drawn.valid.all()
        assert not whole or drawn.facts["cavity_ml"] == pytest.approx(true_ml, rel=0.05)
        inside = (drawn.cavity > 0.99) & drawn.valid
        assert np.median(drawn.image[0][inside]) < 0.1
    assert first.facts["side"] == second.facts["side"]
    assert not np.array_equal(first.image, second.image)


def test_an_unused_side_only_stands_beside_the_other(tmp_path: Path) -> None:
    row = ReferenceRow("head.nii.gz", "t2", "person", Side.RIGHT, False, Limits())
    box = SinusBox(Side.RIGHT, CENTER[Side.RIGHT])
    save_reference(make_reference(head((2.0, 2.0, 2.0)), box, row), tmp_path / "a.npz")
    save_reference(reference(spacing=(2.0, 2.0, 2.0)), tmp_path / "b.npz")
    heads = Heads(load_references(tmp_path))
    drawn = [draw_sample(heads, np.random.default_rng(i)) for i in range(3)]
    assert {s.facts["side"] for s in drawn} == {"left"}
    assert all(s.facts["other_kind"] == "as is" and s.image[1].any() for s in drawn)


def test_a_store_goes_on_where_it_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD", 2)
    shards.write_store(tmp_path, folder, 5, seed=3)
    image = np.load(tmp_path / "image.npy")
    (tmp_path / "shards" / "00001.csv").unlink()
    shards.write_store(tmp_path, folder, 5, seed=3)
    assert np.array_equal(np.load(tmp_path / "image.npy"), image)
    assert image.shape == (5, 2, 64, 64, 64) and image.dtype == np.uint8
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["sample"]) for row in rows] == list(range(5))
    opacity, valid = np.load(tmp_path / "opacity.npy"), np.load(tmp_path / "valid.npy")
    seen = (opacity * valid.astype(float)).sum(axis=(1, 2, 3)) / 255_000
    assert seen == pytest.approx([float(row["opacity_ml"]) for row in rows], abs=0.05)
    assert draw_sheet(stored_panels(tmp_path, range(4)), tmp_path / "sheet.png").exists()
    with pytest.raises(BadConfig):
        shards.write_store(tmp_path, folder, 5, seed=4)


def test_painted_samples_become_a_crop_store_without_outlines(folder: Path, tmp_path: Path) -> None:
    shards.write_store(tmp_path / "store", folder, 6, seed=1)
    config = SinusCropsConfig(store=[tmp_path / "store"])
    store = CropStore.open(write_sinus_crops(config, tmp_path / "crops"))
    with (tmp_path / "store" / "table.csv").open(newline="") as file:
        clear = [float(row["opacity_ml"]) == 0 for row in csv.DictReader(file)]
    assert store.table["label"].notna().tolist() == clear
    assert (store.table["split"] == "unlabelled").tolist() == [not c for c in clear]
    image = np.load(tmp_path / "store" / "image.npy")
    assert np.array_equal(store.crops, image[:, 0]) and store.lesions is None


def test_the_table_keeps_a_persons_scans_together() -> None:
    rows = read_table()
    by_scan: dict[str, set[str]] = {}
    for row in rows:
        by_scan.setdefault(row.scan, set()).add(row.group)
    assert all(len(groups) == 1 for groups in by_scan.values())
    for scan, groups in by_scan.items():
        if scan.endswith("_T1w.nii.gz"):
            assert by_scan[scan.replace("_T1w", "_FLAIR")] == groups
    assert len({row.group for row in rows}) == 19


def test_flair_and_t1_of_one_head_have_cavities_of_one_size(shared_data: Path) -> None:
    scans = [f"site/sub-07/anat/sub-07_{name}.nii.gz" for name in ("FLAIR", "T1w")]
    found = {}
    for scan in scans:
        volume = read_volume(shared_data / scan)
        boxes = find_boxes(volume).boxes
        for row in (row for row in read_table() if row.scan == scan):
            made = make_reference(volume, boxes[row.side], row)
            found[scan, row.side] = (made.distance > -WALL_MM[row.modality]).sum()
    for side in Side:
        flair, t1 = (found[scan, side] for scan in scans)
        assert flair == pytest.approx(t1, rel=0.15)


def test_an_outline_stays_in_its_region() -> None:
    region = np.ones((96, 96, 96), bool)
    region[48:] = False
    box = SinusBox(Side.LEFT, CENTER[Side.LEFT])
    row = ReferenceRow("head.nii.gz", "t2", "person", Side.LEFT, True, Limits())
    whole, part = (make_reference(head((1.0, 1.0, 1.0)), box, row, r) for r in (None, region))
    assert 0 < part.cavity_ml < 0.6 * whole.cavity_ml
