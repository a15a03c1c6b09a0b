"""Inserting lesions into real scans, and the figures of the check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.evaluation import real_scans
from paranasal_training.evaluation.config import SCAN_TABLE, RealCheckConfig
from paranasal_training.evaluation.real_scans import (
    AcceptanceCriteria,
    RealSinus,
    check_real,
    largest_part,
    share_in_scan_grid,
)

from ParanasalSSLLib.errors import BadConfig, UnreadableScan, UnsafeOutput
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path
from ParanasalSSLLib.predict import find_sinuses
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Kind, Side


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 5.0), (4.8, 1.0, 1.0)])
def test_an_inserted_lesion_keeps_its_volume_and_place(spacing: tuple[float, ...]) -> None:
    index = np.indices((64, 64, 64)) - 31.5
    lesion = np.sqrt((index**2).sum(axis=0)) < 8
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [31.5 + 20, -31.5 + 60, -31.5 - 58]
    shape = tuple(int(120 / s) for s in spacing)
    scan_affine = np.diag([*spacing, 1.0])
    scan_affine[:3, 3] = [-40, 0, -118]
    volume = Volume(np.zeros(shape, np.float32), scan_affine)
    share = share_in_scan_grid(lesion, Grid(lesion.shape, affine), volume)
    assert share.max() <= 1 + 1e-6
    assert abs(share.sum() * np.prod(spacing) / lesion.sum() - 1) < 0.05
    center = np.array([(share * axis).sum() for axis in np.indices(shape)]) / share.sum()
    np.testing.assert_allclose(center * spacing + scan_affine[:3, 3], [20, 60, -58], atol=0.5)


def test_the_largest_part_of_a_mask_is_kept() -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[0, 0, :2] = True
    mask[5:7, 5:7, 5:7] = True
    np.testing.assert_array_equal(np.argwhere(largest_part(mask)).min(axis=0), [5, 5, 5])
    assert not largest_part(np.zeros((4, 4, 4), bool)).any()


def test_bars_are_met_only_by_figures_that_reach_them() -> None:
    assert all(AcceptanceCriteria("5 of 5", 0.9, 0.8, 0.4).met.values())
    assert not any(AcceptanceCriteria("4 of 5", 0.89, 0.79, 0.39).met.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scan,side\na.nii,left\n", "lacks the column clear"),
        ("scan,side,clear\na.nii,l,yes\n", r"line 2: side is 'l'.*left or right"),
        ("scan,side,clear\na.nii,left,no\nb.nii,left,1\n", "line 3: clear is '1'"),
        ("scan,side,clear\na.nii,left,no\n", "no clear side"),
        ("scan,side,clear\n,left,yes\n", "line 2: scan is empty"),
        ("scan,side,clear\na.nii,left,yes\na.nii,left,no\n", "line 3: the left .*line 2 already"),
        ("scan;side;clear\na.nii;left;no\n", "lacks the column .*with commas"),
        ("", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_in_words(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BadConfig, match=words):
        check_real(RealCheckConfig(scans=tmp_path, table=tmp_path / "t.csv"), tmp_path / "out")


def test_a_table_without_any_of_its_scans_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("scan,side,clear\na.nii,left,yes\n")
    with pytest.raises(BadConfig, match=r"None of the scans in t\.csv"):
        check_real(RealCheckConfig(scans=tmp_path, table=tmp_path / "t.csv"), tmp_path / "out")


def test_a_scan_that_cannot_be_read_stops_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Sinus:
        """Stands for one that was found and scored."""

        def __init__(self, found: object, side: Side, bundle: object) -> None:
            self.side = side

        def facts(self) -> dict[str, object]:
            return {"anomalous": False, "judged": self.side == Side.LEFT}

        def with_lesions(self, config: RealCheckConfig) -> Iterator[tuple[dict[str, Any], Any]]:
            lesion = {"kind": "cyst", "ml": 4.0, "found": True, "dice": 0.5}
            score, empty = SimpleNamespace(probability=1.0), np.zeros((64, 64, 64))
            crop = SimpleNamespace(data=empty)
            result = SimpleNamespace(score=score, opacity=empty, crop=crop)
            for _ in range(30):
                yield lesion | {"largest_part_on_lesion": True}, result

    def read(path: Path) -> Volume:
        if path.name == "good.nii":
            return Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
        raise UnreadableScan(f"{path} is damaged.")

    placed = SimpleNamespace(boxes=dict.fromkeys(Side))
    for name, stand_in in {
        "RealSinus": Sinus, "read_volume": read, "find_boxes": lambda volume: placed
    }.items():  # fmt: skip
        monkeypatch.setattr(real_scans, name, stand_in)
    for name in ("bad.nii", "good.nii"):
        (tmp_path / name).touch()
    lines = ["scan,side,clear", "bad.nii,left,yes", "gone.nii,left,yes", "good.nii,left,yes"]
    lines.append("good.nii,right,yes")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    config = RealCheckConfig(scans=tmp_path, table=tmp_path / "t.csv")
    made = check_real(config, tmp_path / "out")
    assert made["clear_below_threshold"] == "1 of 2" and made["left_out"] == 2
    assert "1 of 3 scans are not in" in caplog.text
    summary = (tmp_path / "out/summary.md").read_text()
    assert "- bad.nii: bad.nii is damaged." in summary and str(tmp_path) not in summary
    assert len(pd.read_csv(tmp_path / "out/lesions.csv")) == 60
    with pytest.raises(UnsafeOutput, match="is there already"):
        check_real(config, tmp_path / "out")


def test_the_table_of_real_scans_names_five_clear_sides() -> None:
    table = pd.read_csv(SCAN_TABLE)
    assert (table["clear"] == "yes").sum() == 5


@pytest.mark.slow
def test_shipped_bundle_tells_clear_real_sinuses_from_ones_with_a_lesion(shared_data: Path) -> None:
    """A few cases of `paranasal check-real`; the model card has them all."""
    bundle = load_bundle(shipped_bundle_path())
    rng = np.random.default_rng(0)
    for scan, side in (("pd_axial_dicom.zip", Side.LEFT), ("t1_sagittal_dicom.zip", Side.RIGHT)):
        sinus = RealSinus(find_sinuses(shared_data / "heads" / scan), side, bundle)
        clear = sinus.facts()
        assert not clear["anomalous"]
        lesion = grow_lesion(sinus.air, Kind.CYST, 4.0, rng)
        result = sinus.score(sinus.insert(lesion, rng))
        assert result.score.anomalous
        assert result.score.probability > float(str(clear["probability"])) + 0.2
        assert (largest_part(result.opacity) & lesion).any()
