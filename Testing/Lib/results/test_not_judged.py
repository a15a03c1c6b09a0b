"""A side in whose box no sinus is recognised: no output has a number of it or calls it clear."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dicom_objects import Written, assert_valid, groups, thick_head, values, write_series

from ParanasalSSLLib.cli.views import result_table
from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.dicom_codes import DECISION, DECISIONS, GRADE
from ParanasalSSLLib.results.follow_up import changes
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.listing import Entry, Row
from ParanasalSSLLib.results.next_step import next_step
from ParanasalSSLLib.results.overview import Overview
from ParanasalSSLLib.results.reading import Reading, read_reading, write_reading
from ParanasalSSLLib.results.record import ScanRecord, read_report
from ParanasalSSLLib.results.write import write_scan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.sinuses import Decision, Side

MEASURED = (
    *("probability", "opacity_ml", "opacity_fraction"),
    *("cavity_ml", "filled_fraction", "depth_mm", "grade", "findings"),
)


@pytest.fixture
def result(toolbox: Any) -> Any:
    return toolbox.result(
        toolbox.head(),
        measured=True,
        unrecognised=(Side.LEFT,),
        verdict="review",
        reasons=("No sinus is recognised in the left box.",),
    )


@pytest.fixture
def record(toolbox: Any, result: Any) -> ScanRecord:
    return ScanRecord.of(result, toolbox.card, "sub-0001")


@pytest.fixture
def files(toolbox: Any, result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanFiles:
    monkeypatch.setattr(pictures, "PIXELS", 40)  # drawn faster
    write_scan(result, toolbox.card, tmp_path / "out", "sub-0001")
    return ScanFiles.in_output(tmp_path / "out", "sub-0001")


def test_the_report_holds_no_number_of_it(files: ScanFiles) -> None:
    sinuses = read_report(files.report_json).sinuses
    assert sinuses[Side.LEFT].decision == Decision.NOT_JUDGED
    assert {getattr(sinuses[Side.LEFT], name) for name in MEASURED} == {None}
    assert None not in {getattr(sinuses[Side.RIGHT], name) for name in MEASURED}


def test_the_page_says_so_and_where_to_look(files: ScanFiles) -> None:
    page = files.report_html.read_text(encoding="utf-8")
    table = page.split("<table>")[1].split("</table>")[0]
    assert table.count("Not judged") == 1 and table.count("–") == 6
    assert "the left sinus, which was not judged" in page


def test_the_next_step_does_not_call_it_clear(record: ScanRecord) -> None:
    right = replace(record.sinuses[Side.RIGHT], opacity_ml=0.0)
    one = next_step(replace(record, sinuses={**record.sinuses, Side.RIGHT: right}))
    assert "slices of the right sinus: the model suspects nothing" in one
    assert one.endswith("look in the scan itself at the left sinus, which was not judged.")
    left = record.sinuses[Side.LEFT]
    none = next_step(replace(record, sinuses=dict.fromkeys(Side, left)))
    assert "suspects nothing" not in none and "both sinuses, which were not judged" in none


def test_terminal_and_tables_leave_its_numbers_open(record: ScanRecord, files: ScanFiles) -> None:
    _head, left, right, *_rest = result_table(record)
    assert left.split() == ["left", "–", "Not", "judged", "–", "ml", "–", "–", "review"]
    assert right.split()[-3:] == ["8%", "0", "review"]
    Overview(files.folder.parent).write()
    with (files.folder.parent / "results.csv").open(newline="") as file:
        rows = {row["side"]: row for row in csv.DictReader(file)}
    assert rows["left"]["decision"] == "not judged"
    assert {rows["left"][name] for name in MEASURED} == {""}
    page = (files.folder.parent / "index.html").read_text(encoding="utf-8")
    assert "Not judged" in page and page.count(" ml<") == 1


def test_rows_are_ordered_by_the_other_side(record: ScanRecord) -> None:
    row = Row(Entry("sub-0001", "", "done"), record)
    assert row.probability(Side.LEFT) is None and row.highest_probability == 0.1


def test_a_reader_may_say_something_of_it(files: ScanFiles) -> None:
    reading = Reading.of(read_report(files.report_json), {Side.LEFT: "disagree"}, "No sinus.")
    write_reading(files, reading)
    assert read_reading(files, read_report(files.report_json)) == reading


def test_follow_up_compares_the_other_side(record: ScanRecord) -> None:
    assert {change.side for change in changes(record, record)} == {Side.RIGHT}
    left_only = replace(record, sinuses={Side.LEFT: record.sinuses[Side.LEFT]})
    with pytest.raises(UnsupportedScan, match="No sinus was judged in both"):
        changes(record, left_only)


def test_the_dicom_report_has_a_decision_and_no_numbers(toolbox: Any, tmp_path: Path) -> None:
    series = write_series(thick_head(toolbox), tmp_path / "series")
    result = toolbox.result(read_volume(series), measured=True, unrecognised=(Side.LEFT,))
    written = Written(result, toolbox.card, series, tmp_path / "out")
    found = groups(written.report)
    assert list(values(found[Side.LEFT])) == ["Probability from which a sinus is called anomalous"]
    said = {one.name: one.value for one in found[Side.LEFT].get_qualitative_evaluations()}
    assert said[DECISION] == DECISIONS[Decision.NOT_JUDGED] and GRADE not in said
    assert len(values(found[Side.RIGHT])) == 6
    for path in written.paths:
        assert_valid(path)
