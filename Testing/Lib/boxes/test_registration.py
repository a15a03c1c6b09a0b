"""The sinuses are found in real heads, however these lie; what is no whole head is refused.

The library's own sample head goes through all of it, wherever the real ones are absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.boxes.atlas import load_atlas
from ParanasalSSLLib.boxes.box import refuse_swapped_sides
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.registration import (
    boxes_from_affine,
    find_boxes,
    register,
    rigid_part,
)
from ParanasalSSLLib.scans.itk import from_sitk, to_sitk
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

LARGEST_ERROR_MM = 10.0
SAMPLE = "sample"
SCANS = [
    SAMPLE,
    "donors/flair_3d_1mm",
    "donors/t1_3d_1mm",
    "donors/t1_gd_3d",
    "t2_axial_dicom",
    "t1_sagittal_dicom",
    "pd_axial_dicom",
]
Centers = dict[Side, np.ndarray]


@pytest.fixture(scope="module")
def scan(request: pytest.FixtureRequest, sample_head: Path) -> Callable[[str], Volume]:
    """Reads a scan once, by its name in the data's README, or the sample head."""

    @cache
    def read(name: str) -> Volume:
        if name == SAMPLE:
            return read_volume(sample_head)
        shared_data = request.getfixturevalue("shared_data")
        stems = (shared_data / name, shared_data / "heads" / name)
        found = [Path(f"{stem}{end}") for stem in stems for end in (".nii.gz", ".zip")]
        return read_volume(next(path for path in found if path.exists()))

    return read


@pytest.fixture(scope="module")
def truth(
    request: pytest.FixtureRequest, sample_centers: dict[str, tuple[float, float, float]]
) -> Callable[[str], Centers]:
    """Air centres (RAS mm) of a scan, measured by eye."""

    @cache
    def read(name: str) -> Centers:
        if name == SAMPLE:
            return {Side(side): np.array(center) for side, center in sample_centers.items()}
        return table_of(request.getfixturevalue("shared_data") / "heads" / "README.md")[name]

    return read


@cache
def table_of(readme: Path) -> dict[str, Centers]:
    """The table of air centres in the data's README."""
    rows = re.findall(
        r"^\| (\S+) \| ([-\d., ]+\d) \| ([-\d., ]+\d) \|$", readme.read_text(encoding="utf-8"), re.M
    )
    table = {
        name: {Side.RIGHT: np.fromstring(right, sep=","), Side.LEFT: np.fromstring(left, sep=",")}
        for name, right, left in rows
    }
    assert set(SCANS) <= {*table, SAMPLE}
    return table


def turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """(3, 3) rotation about the RAS axes, degrees."""
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(euler.GetMatrix()).reshape(3, 3)


def moved(volume: Volume, centers: Centers, linear: np.ndarray) -> tuple[Volume, Centers]:
    """The head turned or scaled about the image's centre; only the affine changes."""
    middle, transform = volume.center_ras_mm, np.eye(4)
    transform[:3, :3], transform[:3, 3] = linear, middle - linear @ middle
    there = {side: transform[:3, :3] @ c + transform[:3, 3] for side, c in centers.items()}
    return Volume(volume.data, transform @ volume.affine), there


def reoriented(volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same head with its voxels stored along other axes."""
    data, affine = volume.data.transpose(order), volume.affine[:, [*order, 3]].copy()
    for axis in flips:
        data = np.flip(data, axis)
        affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Volume(data, affine)


def regridded(volume: Volume, tilt: np.ndarray, spacing_mm: float) -> Volume:
    """The same head resampled onto a grid that is tilted against it."""
    extent = np.array(volume.shape) * volume.spacing_mm
    shape = np.ceil(abs(tilt.T @ volume.affine[:3, :3] / volume.spacing_mm) @ extent / spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = tilt * spacing_mm
    affine[:3, 3] = volume.center_ras_mm - affine[:3, :3] @ ((shape - 1) / 2)
    reference = to_sitk(Volume(np.zeros(shape.astype(int), np.float32), affine))
    return from_sitk(sitk.Resample(to_sitk(volume), reference))


def assert_found(result: Placement, centers: Centers) -> None:
    for side, center in centers.items():
        box = result.boxes[side]
        error = np.linalg.norm(box.center_ras_mm - center)
        assert error < LARGEST_ERROR_MM, f"{side}: {error:.1f} mm off"
        other = centers[Side.LEFT if side == Side.RIGHT else Side.RIGHT]
        assert error < np.linalg.norm(box.center_ras_mm - other), f"{side} on the wrong side"
    refuse_swapped_sides(result.boxes, "result")
    assert result.quality.verdict != "failed"


@pytest.mark.parametrize("name", SCANS)
def test_sinuses_of_real_heads_are_found(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers], name: str
) -> None:
    result = find_boxes(scan(name))
    assert_found(result, truth(name))
    # The T2's image ends just below the sinuses: it shows them whole.
    assert (result.quality.verdict, result.quality.reasons) == ("ok", ())


@pytest.fixture
def itk_threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads that SimpleITK may use, and puts it back."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.parametrize("name", [SAMPLE, "donors/flair_axial_5mm_cut"])
def test_the_number_of_threads_does_not_matter(
    scan: Callable[[str], Volume], itk_threads: Callable[[int], None], name: str
) -> None:
    found = []
    for threads in (1, 2):
        itk_threads(threads)
        found.append(register(scan(name)))
    one, two = found
    np.testing.assert_array_equal(one.face_to_scan, two.face_to_scan)
    assert one.mutual_information == two.mutual_information
    assert one.start_distance_mm == two.start_distance_mm


POSES = {
    **{f"{axis}{angle:+.0f}": turn(**{axis: angle}) for axis in "xyz" for angle in (-30.0, 30.0)},
    "x0.8": 0.8 * np.eye(3),
    "x1.2": 1.2 * np.eye(3),
    "oblique": turn(20.0, -15.0, 15.0),
}
MOVED = [(name, pose) for name in (SAMPLE, "pd_axial_dicom") for pose in POSES]
MOVED += [("donors/flair_3d_1mm", pose) for pose in ("x-30", "y+30", "z-30", "x1.2")]


@pytest.mark.parametrize(("name", "pose"), MOVED)
def test_sinuses_of_turned_and_scaled_heads_are_found(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers], name: str, pose: str
) -> None:
    volume, centers = moved(scan(name), truth(name), POSES[pose])
    assert_found(find_boxes(volume), centers)


@pytest.mark.parametrize("name", [SAMPLE, "pd_axial_dicom"])
@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), (0,)), ((1, 2, 0), ()), ((2, 1, 0), (0, 1)), ((0, 2, 1), (0, 1, 2))],
    ids=str,
)
def test_the_order_of_the_voxels_does_not_matter(
    scan: Callable[[str], Volume],
    truth: Callable[[str], Centers],
    name: str,
    order: tuple[int, ...],
    flips: tuple[int, ...],
) -> None:
    """Nor does it that files hold the place in numbers of 32 bits."""
    volume = reoriented(scan(name), order, flips)
    result = find_boxes(Volume(volume.data, volume.affine.astype(np.float32)))
    expected = find_boxes(scan(name))
    assert_found(result, truth(name))
    assert result.quality.verdict == expected.quality.verdict
    for side, box in expected.boxes.items():
        np.testing.assert_allclose(result.boxes[side].box_to_ras, box.box_to_ras, atol=1e-4)


@pytest.mark.parametrize("name", [SAMPLE, "pd_axial_dicom", "donors/t1_3d_1mm"])
def test_a_tilted_grid_does_not_matter(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers], name: str
) -> None:
    volume = regridded(scan(name), turn(25.0, -20.0, 30.0), 2.0)
    assert_found(find_boxes(volume), truth(name))


def test_sinuses_lost_in_a_padded_image_are_not_called_found(scan: Callable[[str], Volume]) -> None:
    """This image ends at the jaw; filled up with zeros below it, the head looks cut off there."""
    volume = regridded(scan("donors/flair_3d_1mm"), turn(20.0, -15.0, 15.0), 2.0)
    assert find_boxes(volume).quality.verdict == "failed"


@pytest.mark.parametrize("linear", [np.eye(3), 1.2 * turn(-30.0)], ids=["as is", "moved"])
@pytest.mark.parametrize("name", ["flair_2d_3mm_defaced", "t1_skullstripped"])
def test_heads_without_face_or_skull_fail_with_words(
    scan: Callable[[str], Volume], name: str, linear: np.ndarray
) -> None:
    quality = find_boxes(moved(scan(name), {}, linear)[0]).quality
    assert quality.verdict == "failed"
    assert any("distorted" in reason for reason in quality.reasons)


def test_noise_fails_without_raising() -> None:
    data = np.random.default_rng(0).normal(100, 10, (60, 60, 60))
    quality = find_boxes(Volume(data, np.diag([3.0, 3.0, 3.0, 1.0]))).quality
    assert quality.verdict == "failed"
    assert any("resembles" in reason for reason in quality.reasons)


@pytest.mark.parametrize("spacing_mm", [3.0, 4.0])
def test_a_coarse_grid_does_not_matter(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers], spacing_mm: float
) -> None:
    volume = regridded(scan(SAMPLE), np.eye(3), spacing_mm)
    assert_found(find_boxes(volume), truth(SAMPLE))


def cut_below(volume: Volume, height_mm: float) -> Volume:
    """The head without what lies below a height (RAS mm), as an image that ends there."""
    upright = regridded(volume, np.eye(3), 1.6)
    first = int(np.ceil((np.linalg.inv(upright.affine) @ [0, 0, height_mm, 1])[2]))
    affine = upright.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    return Volume(upright.data[:, :, first:], affine)


def test_an_image_that_ends_within_the_sinuses_is_scored_but_to_be_looked_at(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers]
) -> None:
    bottom = min(center[2] for center in truth(SAMPLE).values())
    result = find_boxes(cut_below(scan(SAMPLE), bottom - 6))
    assert_found(result, truth(SAMPLE))
    assert result.quality.verdict == "review"
    assert any("of it is visible" in reason for reason in result.quality.reasons)


def test_a_head_without_its_face_fails_with_words(
    scan: Callable[[str], Volume], truth: Callable[[str], Centers]
) -> None:
    top = max(center[2] for center in truth(SAMPLE).values())
    quality = find_boxes(cut_below(scan(SAMPLE), top + 25)).quality
    assert quality.verdict == "failed"
    assert quality.reasons


@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-30, 0.0), (1e-9, 300.0), (1.0, -500.0), (1e30, 300.0)]
)
def test_the_unit_of_the_intensities_does_not_matter(
    scan: Callable[[str], Volume], unit: float, offset: float
) -> None:
    head = scan(SAMPLE)
    found = find_boxes(Volume(np.float32(unit) * (head.data + offset), head.affine))
    expected = find_boxes(head)
    for side, box in expected.boxes.items():
        assert np.linalg.norm(found.boxes[side].center_ras_mm - box.center_ras_mm) < 0.2
    assert found.quality.verdict == expected.quality.verdict
    assert found.quality.evidence is not None and expected.quality.evidence is not None
    assert found.quality.evidence.tissue_fraction == pytest.approx(
        expected.quality.evidence.tissue_fraction, abs=0.005
    )


def test_the_same_scan_gives_the_same_boxes(scan: Callable[[str], Volume]) -> None:
    one, other = (register(scan(SAMPLE)) for _ in range(2))
    np.testing.assert_allclose(one.template_to_scan, other.template_to_scan, atol=1e-6)


def test_the_template_finds_itself() -> None:
    atlas = load_atlas()
    result = find_boxes(atlas.template)
    assert result.quality.verdict == "ok"
    for side, center in atlas.centroids_ras_mm.items():
        assert np.linalg.norm(result.boxes[side].center_ras_mm - center) < 1.0


def test_boxes_turn_with_the_head_but_keep_their_shape() -> None:
    atlas, rotation = load_atlas(), turn(10.0, 20.0, -5.0)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.array([[1.1, 0.05, 0], [0.05, 0.9, 0], [0, 0, 1.0]])
    affine[:3, 3] = (5, -6, 7)
    for side, box in boxes_from_affine(affine, atlas).items():
        np.testing.assert_allclose(box.rotation, rotation, atol=1e-9)
        center = affine[:3, :3] @ atlas.centroids_ras_mm[side] + affine[:3, 3]
        np.testing.assert_allclose(box.center_ras_mm, center)
        assert box.edge_mm == 64.0


def test_rigid_part_is_never_mirrored() -> None:
    mirrored = np.eye(4)
    mirrored[0, 0] = -1.0
    part = rigid_part(mirrored)
    assert np.linalg.det(part) == pytest.approx(1.0)
    np.testing.assert_allclose(part @ part.T, np.eye(3), atol=1e-12)
