from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.placement import read_placement
from ParanasalSSLLib.files import sha256
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import read_maps
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.results.write import write_dataset_description, write_scan
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster


def test_scan_folder_holds_the_named_files_and_nothing_else(toolbox: Any, tmp_path: Path) -> None:
    write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path, "sub-0001")
    files = ScanFiles.in_output(tmp_path, "sub-0001")
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "sub-0001_desc-boxes.mrk.json",
        "sub-0001_desc-boxes_slices.png",
        "sub-0001_desc-leftfinding_slices.png",
        "sub-0001_desc-middle_slices.png",
        "sub-0001_desc-residual_dseg.seg.nrrd",
        "sub-0001_desc-residual_map.nii.gz",
        "sub-0001_desc-rightfinding_slices.png",
        "sub-0001_report.html",
        "sub-0001_report.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset_description.json",
        "sub-0001",
    ]
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "ParanasalSSL"
    written = (tmp_path / "dataset_description.json").stat()
    write_dataset_description(tmp_path)
    assert (tmp_path / "dataset_description.json").stat().st_ino == written.st_ino


def test_boxes_can_be_read_back_as_boxes(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head(), rotation=toolbox.turned(9, 1))
    write_scan(result, toolbox.card, tmp_path, "sub-0001")
    files = ScanFiles.in_output(tmp_path, "sub-0001")
    boxes = read_placement(files.boxes).boxes
    for side in Side:
        np.testing.assert_allclose(boxes[side].center_ras_mm, toolbox.centers[side], atol=1e-6)
        np.testing.assert_allclose(boxes[side].rotation, toolbox.turned(9, 1), atol=1e-6)


def test_one_sided_result_is_written(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head(), sides=(Side.RIGHT,))
    record = write_scan(result, toolbox.card, tmp_path, "sub-0001")
    files = ScanFiles.in_output(tmp_path, "sub-0001")
    assert read_report(files.report_json) == record
    assert list(record.sinuses) == [Side.RIGHT]
    labels = read_maps(files).labels
    assert set(np.unique(labels)) == {0, SEGMENT_LABELS[Side.RIGHT]}


def test_report_knows_its_files_and_their_checksums(toolbox: Any, tmp_path: Path) -> None:
    record = write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path, "sub-0001")
    folder = tmp_path / "sub-0001"
    assert set(record.files.values()) == set(record.checksums)
    assert record.checksums == {name: sha256(folder / name) for name in record.checksums}
    assert set(record.checksums) == {p.name for p in folder.iterdir()} - {"sub-0001_report.json"}


def test_pictures_of_a_finding_that_is_gone_are_removed(toolbox: Any, tmp_path: Path) -> None:
    write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path, "sub-0001")
    clear = toolbox.result(toolbox.head())
    clear.sinuses[Side.LEFT].opacity[:] = False
    record = write_scan(clear, toolbox.card, tmp_path, "sub-0001")
    files = ScanFiles.in_output(tmp_path, "sub-0001")
    assert files.slices("rightfinding").is_file()
    assert not list(files.folder.glob("*leftfinding*"))
    assert "leftfinding_slices" not in record.files
