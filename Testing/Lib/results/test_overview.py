"""What a person looks at first, the same in the overview and in the panel's worklist."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ParanasalSSLLib.results.layout import TABLE_BEGINS, ScanFiles
from ParanasalSSLLib.results.listing import Entry, Row, harmless, most_urgent_first
from ParanasalSSLLib.results.overview import Overview, update_overview, write_page
from ParanasalSSLLib.results.reading import Reading, write_reading
from ParanasalSSLLib.results.record import ScanRecord, read_report, write_report
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def record(toolbox: Any) -> ScanRecord:
    return ScanRecord.of(toolbox.result(toolbox.head()), toolbox.card, "sub-0001")


def named(record: ScanRecord, name: str, left: float, verdict: str = "ok") -> ScanRecord:
    sinuses = {
        side: replace(sinus, probability=left if side is Side.LEFT else 0.01)
        for side, sinus in record.sinuses.items()
    }
    quality = replace(record.quality, verdict=verdict)
    return replace(record, scan=name, sinuses=sinuses, quality=quality)


def test_to_review_comes_first_then_the_highest_probability(record: ScanRecord) -> None:
    records = [
        named(record, "a", 0.2),
        named(record, "b", 0.9),
        named(record, "c", 0.1, "review"),
    ]
    rows = [Row(Entry(one.scan, "", "done"), one) for one in records]
    rows.insert(0, Row(Entry("d", "", "failed", "UnreadableScan")))
    assert [row.entry.identifier for row in most_urgent_first(rows)] == ["c", "b", "a", "d"]


def test_results_of_other_calls_are_in_the_table_too(record: ScanRecord, tmp_path: Path) -> None:
    overview = Overview(tmp_path)
    overview.failed("sub-0002", "failed", "NotAHead")
    overview.write()
    for name in ("sub-0001", "sub-0002"):
        files = ScanFiles.in_output(tmp_path, name)
        files.folder.mkdir()
        write_report(named(record, name, 0.5), files.report_json)
    overview.write(last=False)
    Overview(tmp_path).write()
    assert (tmp_path / "results.csv").read_text().startswith(TABLE_BEGINS)
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["sub-0001"] * 2 + ["sub-0002"] * 2


def test_page_escapes_what_it_shows_and_shows_a_picture_that_is_there(
    record: ScanRecord, tmp_path: Path
) -> None:
    image = replace(record.image, description="series 3, <b>T2</b>")
    files = {"middle_slices": "sub-0001_desc-middle_slices.png"}
    row = Row(Entry("sub-0001", "", "done"), replace(record, image=image, files=files))
    write_page([row], tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;T2" in page and 'src="sub-0001/sub-0001_desc-middle_slices.png"' in page


def test_links_lead_to_results_of_any_name(record: ScanRecord, tmp_path: Path) -> None:
    """As a user of the panel may call them."""
    files = {"middle_slices": "Case #7 50%_desc-middle_slices.png"}
    row = Row(Entry("Case #7 50%", "", "done"), replace(record, files=files))
    write_page([row], tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="Case%20%237%2050%25/Case%20%237%2050%25_report.html"' in page
    assert 'src="Case%20%237%2050%25/Case%20%237%2050%25_desc-middle_slices.png"' in page


@pytest.mark.parametrize(
    ("comment", "cell"), [("-5 mm", "'-5 mm"), ("=1+1", "'=1+1"), ("5 mm", "5 mm"), (None, "")]
)
def test_no_cell_is_run_and_none_loses_a_sign(comment: str | None, cell: str) -> None:
    assert harmless(comment) == cell


def test_list_needs_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import ParanasalSSLLib.results.listing\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "sys.exit(', '.join(new - sys.stdlib_module_names - {'ParanasalSSLLib'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_findings_have_a_table_of_their_own(toolbox: Any, tmp_path: Path) -> None:
    record = ScanRecord.of(toolbox.result(toolbox.head(), measured=True), toolbox.card, "sub-0001")
    files = ScanFiles.in_output(tmp_path, "sub-0001")
    files.folder.mkdir()
    write_report(record, files.report_json)
    Overview(tmp_path).write()
    with (tmp_path / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, (side, sinus) in zip(rows, record.sinuses.items(), strict=True):
        [finding] = sinus.findings or ()
        assert (row["id"], row["side"], row["finding"]) == ("sub-0001", side, "1")
        assert (float(row["ml"]), row["form"]) == (finding.ml, finding.form)
        place = tuple(float(row[name]) for name in ("right_mm", "front_mm", "up_mm"))
        assert place == finding.center_ras_mm
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [(row["grade"], row["findings"]) for row in csv.DictReader(file)] == [
            ("1", "1"),
            ("0", "1"),
        ]


def test_what_a_reader_says_is_in_table_and_page(record: ScanRecord, tmp_path: Path) -> None:
    for name in ("sub-0001", "sub-0002"):
        files = ScanFiles.in_output(tmp_path, name)
        files.folder.mkdir()
        write_report(named(record, name, 0.5), files.report_json)
    update_overview(tmp_path)
    assert not (tmp_path / "results.csv").exists(), "a folder that has none gets none"
    Overview(tmp_path).write()
    first = ScanFiles.in_output(tmp_path, "sub-0001")
    write_reading(
        first, Reading.of(read_report(first.report_json), {Side.LEFT: "disagree"}, "=Motion <b>")
    )
    update_overview(tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["sub-0002"] * 2 + ["sub-0001"] * 2, "the read one last"
    said = {row["side"]: (row["reader"], row["reader_comment"]) for row in rows[2:]}
    assert said == {"left": ("disagree", "'=Motion <b>"), "right": ("", "'=Motion <b>")}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "the reader disagrees" in page and "=Motion &lt;b&gt;" in page and "1 read" in page
