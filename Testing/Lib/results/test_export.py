"""A result once more, elsewhere: renamed, with a reader's edits, as DICOM; nothing is scored again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_objects import assert_valid, dicom_points, thick_head, write_series
from PIL import Image

from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.export import export_result
from ParanasalSSLLib.results.layout import PICTURES, ScanFiles
from ParanasalSSLLib.results.maps import read_labels
from ParanasalSSLLib.results.reading import Reading, read_reading
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster


def written(toolbox: Any, out: Path, volume: Volume) -> ScanFiles:
    write_scan(toolbox.result(volume), toolbox.card, out, "sub-slicer")
    return ScanFiles.in_output(out, "sub-slicer")


def edited(files: ScanFiles, shape: tuple[int, ...]) -> dict[Side, np.ndarray]:
    """The left opacity without its first voxel, and a block on the right."""
    labels = read_labels(files, shape)[0]
    left = labels == SEGMENT_LABELS[Side.LEFT]
    left[tuple(np.argwhere(left)[0])] = False
    right = np.zeros_like(left)
    right[:3, :2, 0] = True
    return {Side.LEFT: left, Side.RIGHT: right & ~left}


def test_everything_is_there_under_the_new_name(toolbox: Any, tmp_path: Path) -> None:
    old = written(toolbox, tmp_path / "old", toolbox.head())
    reading = Reading.of(read_report(old.report_json), {Side.LEFT: "disagree"}, "")
    new = ScanFiles.in_output(tmp_path / "new", "Case 7")
    record = export_result(old, new, reading=reading)
    names = {path.name.removeprefix("sub-slicer") for path in old.folder.iterdir()}
    assert {path.name.removeprefix("Case 7") for path in new.folder.iterdir()} == {
        *names,
        "_reading.json",
    }
    assert record.scan == "Case 7" and set(record.checksums) == set(record.files.values())
    page = new.report_html.read_text()
    assert "sub-slicer" not in page and "the reader disagrees" in page
    assert read_reading(new, read_report(new.report_json)) == reading


def test_another_id_changes_no_number_and_no_picture_of_the_page(
    toolbox: Any, tmp_path: Path
) -> None:
    pages = []
    for name in ("7", "O'Neil & 7"):
        write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path / name, "7")
        old, new = (ScanFiles.in_output(tmp_path / name, one) for one in ("7", name))
        if name != "7":
            export_result(old, new)
        pages.append(new.report_html.read_text())
    assert "Scan O&#x27;Neil &amp; 7 ·" in pages[1]
    assert pages[1].count("O&#x27;Neil &amp; 7") == pages[0].count("7_desc-") + 2
    assert pages[1].replace("O&#x27;Neil &amp; 7", "7") == pages[0]


def test_no_picture_shows_the_older_id(
    toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a patient's name, by --keep-names."""
    monkeypatch.setattr(pictures, "PIXELS", 80)  # a title has its place
    result = toolbox.result(toolbox.head())
    for name in ("sub-Mustermann", "sub-0001"):
        write_scan(result, toolbox.card, tmp_path / name, name)
    old = ScanFiles.in_output(tmp_path / "sub-Mustermann", "sub-Mustermann")
    new = ScanFiles.in_output(tmp_path / "new", "sub-0001")
    export_result(old, new)
    expected = ScanFiles.in_output(tmp_path / "sub-0001", "sub-0001")
    for what in PICTURES:
        shown, wanted = (Image.open(files.slices(what)) for files in (new, expected))
        assert np.array_equal(np.asarray(shown), np.asarray(wanted)), what


def test_a_readers_edits_are_what_is_exported_and_survive(toolbox: Any, tmp_path: Path) -> None:
    head = toolbox.head()
    old = written(toolbox, tmp_path / "old", head)
    opacities = edited(old, head.shape)
    new = ScanFiles.in_output(tmp_path / "new", "sub-0001")
    export_result(old, new, opacities)
    labels, cavities = read_labels(new, head.shape)
    for side, mask in opacities.items():
        assert np.array_equal(labels == SEGMENT_LABELS[side], mask)
    assert (cavities is None) == (read_labels(old, head.shape)[1] is None)
    write_scan(toolbox.result(head), toolbox.card, tmp_path / "new", "sub-0001")
    assert any("dseg" in path.name and path != new.segmentation for path in new.folder.iterdir())


def test_another_scans_result_is_not_replaced(toolbox: Any, tmp_path: Path) -> None:
    head = toolbox.head()
    old = written(toolbox, tmp_path / "old", head)
    other = written(toolbox, tmp_path / "other", Volume(head.data + np.float32(1), head.affine))
    with pytest.raises(UnsafeOutput, match="another scan"):
        export_result(old, other)


def test_dicom_objects_hold_the_edits_in_the_grid_of_their_series(
    toolbox: Any, tmp_path: Path
) -> None:
    """The scan's axes run otherwise than those of the series, as in Slicer."""
    pytest.importorskip("highdicom")
    head = thick_head(toolbox)
    series = read_source_series(write_series(head, tmp_path / "series"))
    turned = Volume(
        head.data.transpose(2, 0, 1)[::-1].copy(),
        head.affine
        @ np.array(
            [[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, head.shape[2] - 1], [0, 0, 0, 1]], float
        ),
    )
    old = written(toolbox, tmp_path / "old", turned)
    opacities = edited(old, turned.shape)
    new = ScanFiles.in_output(tmp_path / "new", "sub-0001")
    record = export_result(old, new, opacities, series=series)
    assert {"dicom_seg", "dicom_sr"} <= set(record.files)
    made = pydicom.dcmread(new.dicom_segmentation)
    for side, mask in opacities.items():
        wanted = np.argwhere(mask) @ turned.affine[:3, :3].T + turned.affine[:3, 3]
        found = dicom_points(made, side)
        assert len(found) == len(wanted)
        np.testing.assert_allclose(np.sort(found, axis=0), np.sort(wanted, axis=0), atol=1e-3)
    for path in (new.dicom_segmentation, new.dicom_report):
        assert_valid(path)
