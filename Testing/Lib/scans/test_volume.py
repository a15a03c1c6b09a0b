"""The volume in memory and its NIfTI file: nothing is lost, nothing can be changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Provenance, Volume, write_volume


def test_centre_is_the_middle_of_the_image(files: Any) -> None:
    affine = files.affines["oblique"]
    middle = affine @ np.array([(n - 1) / 2 for n in files.shape] + [1.0])
    np.testing.assert_allclose(Volume(files.noise(), affine).center_ras_mm, middle[:3])


def test_volume_cannot_be_changed_and_does_not_freeze_the_callers_array(files: Any) -> None:
    data = files.noise()
    volume = Volume(data, np.eye(4))
    with pytest.raises(ValueError):
        volume.data[0, 0, 0] = 1
    with pytest.raises(ValueError):
        volume.affine[0, 0] = 1
    data[0, 0, 0] = 1


def test_what_is_written_is_read_back_in_the_same_grid(
    tmp_path: Path, affine: np.ndarray, files: Any
) -> None:
    volume = Volume(files.noise(), affine)
    write_volume(volume, tmp_path / "scan.nii")
    back = read_volume(tmp_path / "scan.nii")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)


def test_a_block_of_a_volume_keeps_its_voxels_at_their_places(
    affine: np.ndarray, files: Any
) -> None:
    volume = Volume(files.noise(), affine, Provenance("NIfTI"))
    block = volume.cut(np.array([2, 3, 1]), np.array([9, 20, 5]))
    np.testing.assert_array_equal(block.data, volume.data[2:9, 3:20, 1:5])
    index = np.array([4, 5, 2])
    np.testing.assert_allclose(block.to_world(index), volume.to_world(index + np.array([2, 3, 1])))
    assert block.provenance == volume.provenance


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_an_upright_volume_has_its_axes_along_those_of_the_world(
    files: Any, order: tuple[int, ...]
) -> None:
    turned = files.affines["oblique"][:, [*order, 3]]
    volume = Volume(files.noise().transpose(order), turned * [-1.0, 1.0, 1.0, 1.0])
    upright = volume.upright()
    assert (np.argmax(abs(upright.affine[:3, :3]), axis=0) == range(3)).all()
    assert (np.diag(upright.affine) > 0).all()
    index = np.array([4, 5, 2])
    place = np.rint(volume.to_index(upright.to_world(index))).astype(int)
    assert upright.data[tuple(index)] == volume.data[tuple(place)]
    assert upright.upright().shape == upright.shape


def test_a_volume_with_other_voxels_keeps_the_rest(files: Any) -> None:
    volume = Volume(files.noise(), files.affines["oblique"], Provenance("NIfTI"))
    other = replace(volume, data=volume.data + 1)
    np.testing.assert_array_equal(other.affine, volume.affine)
    assert other.provenance == volume.provenance
    assert other.data[0, 0, 0] == volume.data[0, 0, 0] + 1
