"""A reader's verdict: kept beside the numbers that were read, said in page and DICOM report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_objects import Written, assert_valid, comments, thick_head, write_series

from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.dicom_reading import add_to_report
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.reading import Reading, read_reading, write_reading
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.sinuses import Side

COMMENT = "Retention cyst <3 cm>."


@pytest.fixture
def files(toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanFiles:
    """A result of the toolbox's head."""
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster
    write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path / "out", "sub-0001")
    return ScanFiles.in_output(tmp_path / "out", "sub-0001")


def read_out(files: ScanFiles, comment: str = COMMENT) -> Reading:
    record = read_report(files.report_json)
    reading = Reading.of(record, {Side.LEFT: "agree", Side.RIGHT: "unsure"}, comment)
    write_reading(files, reading)
    return reading


def test_a_reading_comes_back_as_long_as_the_numbers_are_the_same(files: ScanFiles) -> None:
    record = read_report(files.report_json)
    assert read_reading(files, record) is None
    reading = read_out(files)
    assert read_reading(files, read_report(files.report_json)) == reading
    other = replace(record.sinuses[Side.LEFT], probability=0.123)
    changed = replace(record, sinuses={**record.sinuses, Side.LEFT: other})
    assert read_reading(files, changed) is None


def test_the_page_says_what_the_reader_says_once_and_safely(files: ScanFiles) -> None:
    assert "reader agrees" not in files.report_html.read_text()
    read_out(files, "Something else.")
    read_out(files)
    page = files.report_html.read_text()
    assert page.count("Left maxillary sinus: the reader agrees.") == 1
    assert "Right maxillary sinus: the reader is unsure." in page
    assert "&lt;3 cm&gt;" in page and "<3 cm>" not in page and "Something else" not in page


def test_a_result_written_anew_says_what_was_said_of_the_same_numbers(
    files: ScanFiles, toolbox: Any
) -> None:
    """A page with a reading is not taken for a user's own: the new one takes its place."""
    reading = read_out(files)
    result = toolbox.result(toolbox.head())
    record = write_scan(result, toolbox.card, files.folder.parent, "sub-0001")
    assert record == read_report(files.report_json)
    assert read_reading(files, record) == reading, "the user's file stays"
    assert "the reader agrees" in files.report_html.read_text()
    assert len(list(files.folder.iterdir())) == len(record.files) + 2, "report and reading"


def test_a_damaged_reading_counts_as_none(files: ScanFiles) -> None:
    files.reading.write_text('{"format": "paranasal-reading", "version": 1}')
    assert read_reading(files, read_report(files.report_json)) is None


def test_the_dicom_report_says_it_too_and_stays_valid(toolbox: Any, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    series = write_series(thick_head(toolbox), tmp_path / "series")
    written = Written(toolbox.result(read_volume(series)), toolbox.card, series, tmp_path / "out")
    for _twice in range(2):
        add_to_report(written.files.dicom_report, ["The reader agrees."])
    report = pydicom.dcmread(written.files.dicom_report)
    assert comments(report) == [*comments(written.report), "Reader: The reader agrees."]
    assert report.SOPInstanceUID not in (written.report.SOPInstanceUID, "")
    assert_valid(written.files.dicom_report)
