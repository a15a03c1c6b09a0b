"""Stacking of slices: missing ones are filled or refused, never a wrong gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.scans.find import find_scans
from ParanasalSSLLib.scans.read import read_volume


@pytest.mark.parametrize("missing", [4, 17])
def test_single_missing_slice_is_filled_from_its_neighbours(
    tmp_path: Path, missing: int, files: Any
) -> None:
    series = files.series(data=files.voxels((20, 22, 24)), spacing=(5.0, 4.0, 5.0), skip=(missing,))
    volume = read_volume(series.write(tmp_path / "series"))
    expected = series.data.astype(np.float32)
    expected[:, :, missing] = (expected[:, :, missing - 1] + expected[:, :, missing + 1]) / 2
    np.testing.assert_array_equal(volume.data, expected)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-4)
    assert volume.provenance.interpolated_slices == (missing,)
    assert "1 of the series' 24 slices is missing" in volume.provenance.notices[0]
    assert f"places: {missing + 1})" in volume.provenance.notices[0]


def test_a_missing_end_slice_only_shortens_the_scan(tmp_path: Path, files: Any) -> None:
    series = files.series(skip=(0, 11))
    volume = read_volume(series.write(tmp_path / "series"))
    np.testing.assert_array_equal(volume.data, series.data[:, :, 1:11])
    assert volume.provenance.interpolated_slices == ()


@pytest.mark.parametrize("skip", [(10, 11), (3, 9, 15)], ids=["neighbours", "too many"])
def test_more_missing_slices_are_refused(tmp_path: Path, skip: tuple[int, ...], files: Any) -> None:
    series = files.series(data=files.voxels((20, 22, 24)), spacing=(5.0, 4.0, 5.0), skip=skip)
    assert "lacks slices" in files.refusal(series.write(tmp_path / "series"), UnsupportedScan)


def test_uneven_slices_are_refused(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[2] += 2.5 if place > 5 else 0.0

    folder = files.series(change=change).write(tmp_path / "series")
    assert "unevenly spaced" in files.refusal(folder, UnsupportedScan)


def test_several_echoes_in_one_series_are_refused(tmp_path: Path, files: Any) -> None:
    series = files.series()
    folder = series.write(tmp_path / "series", "first")
    series.write(folder, "second")
    assert "same place" in files.refusal(folder, UnsupportedScan)


def test_slices_out_of_line_are_refused(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[0] += 9.0 if place == 5 else 0.0

    folder = files.series(change=change).write(tmp_path / "series")
    assert "not in line" in files.refusal(folder, UnsupportedScan)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("PixelSpacing", [-5.0, 5.0], "impossible"),  # would be mirrored
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0], "impossible"),  # would be twice as large
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "impossible"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1], "where they lie"),
        ("ImagePositionPatient", [1, 0], "where they lie"),
        ("PixelSpacing", 5.0, "where they lie"),
    ],
)
def test_planes_that_cannot_be_are_refused(
    tmp_path: Path, files: Any, tag: str, value: Any, words: str
) -> None:
    folder = files.series(change=lambda place, slice_: setattr(slice_, tag, value)).write(
        tmp_path / "series"
    )
    assert words in files.refusal(folder, UnsupportedScan)


def test_one_slice_of_an_impossible_orientation_stops_no_search(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0][: 5 if place == 3 else 6]

    folder = files.series(change=change).write(tmp_path / "a" / "series")
    files.series().write(tmp_path / "a" / "other")
    assert len(find_scans(tmp_path / "a").scans) == 2
    assert "where they lie" in files.refusal(folder, UnsupportedScan)


def test_gantry_tilt_is_refused(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        slice_.ImagePositionPatient[1] += 2.0 * place

    folder = files.series(change=change).write(tmp_path / "series")
    assert "right angles" in files.refusal(folder, UnsupportedScan)


def test_slices_without_position(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        if place == 4:
            del slice_.ImagePositionPatient

    folder = files.series(change=change).write(tmp_path / "series")
    assert "where they lie" in files.refusal(folder, UnsupportedScan)


def test_slices_of_different_orientation(tmp_path: Path, files: Any) -> None:
    def change(place: int, slice_: FileDataset) -> None:
        if place == 4:
            slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    folder = files.series(change=change).write(tmp_path / "series")
    assert "different orientation" in files.refusal(folder, UnsupportedScan)
