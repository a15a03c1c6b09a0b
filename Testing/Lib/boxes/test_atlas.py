"""The shipped head template: complete, its sinuses on the right sides, made by the script."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from paranasal_training.release import build_atlas
from scipy import ndimage

from ParanasalSSLLib.boxes.atlas import ATLAS_FOLDER, CENTROIDS, TEMPLATE, load_atlas
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import THRESHOLDS
from ParanasalSSLLib.boxes.visible import visible_fraction
from ParanasalSSLLib.sinuses import Side


def pydeface_template() -> Path:
    package = importlib.util.find_spec("pydeface")
    if package is None or package.origin is None:
        pytest.skip("pydeface, the source of the template, is not installed")
    return Path(package.origin).parent / "data" / "mean_reg2mean.nii.gz"


def test_template_is_a_small_head_along_the_ras_axes() -> None:
    template = load_atlas().template
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    np.testing.assert_allclose(template.affine[:3, :3], 2 * np.eye(3))
    assert (np.array(template.shape) * template.spacing_mm > 150).all()
    assert (
        np.isfinite(template.data).all() and 0 <= template.data.min() < template.data.max() <= 255
    )
    assert TEMPLATE.stat().st_size < 2_000_000


def test_atlas_is_loaded_once() -> None:
    assert load_atlas() is load_atlas()


def test_sinuses_lie_on_their_sides_and_at_one_height() -> None:
    centers = load_atlas().centroids_ras_mm
    left, right = centers[Side.LEFT], centers[Side.RIGHT]
    assert left[0] < 0 < right[0]
    assert 35 < right[0] - left[0] < 60
    assert abs(left[1:] - right[1:]).max() < 5


def test_nearly_all_sinuses_lie_within_the_distance_from_which_boxes_are_reviewed() -> None:
    draws = np.random.default_rng(0).standard_normal((100_000, 3))
    for sinus in json.loads(CENTROIDS.read_text(encoding="utf-8")).values():
        distance_mm = np.linalg.norm(draws * sinus["spread_mm"], axis=1)
        assert (distance_mm < THRESHOLDS.review_box_distance_mm).mean() > 0.99


def test_boxes_lie_inside_the_template() -> None:
    atlas = load_atlas()
    for side, center in atlas.centroids_ras_mm.items():
        assert visible_fraction(SinusBox(side, center), atlas.template) == 1.0


def test_sinuses_are_darker_than_what_is_around_them() -> None:
    atlas = load_atlas()
    to_index = np.linalg.inv(atlas.template.affine)
    for center in atlas.centroids_ras_mm.values():
        index = (to_index[:3, :3] @ center + to_index[:3, 3]).reshape(3, 1)
        inner = ndimage.map_coordinates(atlas.template.data, index, order=1)[0]
        i, j, k = np.rint(index[:, 0]).astype(int)
        around = atlas.template.data[i - 16 : i + 17, j - 16 : j + 17, k - 16 : k + 17]
        assert inner < 0.8 * np.median(around)


def test_notice_of_the_source_ships_beside_it() -> None:
    notice = (ATLAS_FOLDER / "NOTICE.txt").read_text(encoding="utf-8")
    assert "pydeface" in notice and "MIT" in notice


def test_the_script_makes_the_template_again() -> None:
    load = nib.Nifti1Image.from_filename
    made, shipped = build_atlas.resampled(load(pydeface_template())), load(TEMPLATE)
    np.testing.assert_allclose(made.affine, shipped.affine, atol=1e-4)
    difference = made.get_fdata() - shipped.get_fdata()
    assert abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-3


def test_the_script_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pydeface_template()
    monkeypatch.setattr(build_atlas, "TEMPLATE", tmp_path / "head.nii.gz")
    monkeypatch.setattr(build_atlas, "CENTROIDS", tmp_path / "centroids.json")
    build_atlas.main()
    made = json.loads((tmp_path / "centroids.json").read_text(encoding="utf-8"))
    assert made == json.loads(CENTROIDS.read_text(encoding="utf-8"))
    assert (
        nib.Nifti1Image.from_filename(tmp_path / "head.nii.gz").shape == load_atlas().template.shape
    )


def test_the_script_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="pip install pydeface"):
        build_atlas.main()
