from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.html import write_html_report
from ParanasalSSLLib.results.next_step import next_step
from ParanasalSSLLib.results.pictures import draw_pictures
from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.results.sinus_record import FindingRecord
from ParanasalSSLLib.sinuses import Side


def test_report_is_one_file_with_all_figures_and_words(toolbox: Any, tmp_path: Path) -> None:
    reason = "The floor of the left sinus is <near> the edge."
    result = toolbox.result(toolbox.head(), verdict="review", reasons=(reason,))
    path = tmp_path / "report.html"
    started = time.process_time()
    note = "Simulated head, no patient."
    write_html_report(
        draw_pictures(result), ScanRecord.of(result, toolbox.card, "sub-0001", note), path
    )
    assert time.process_time() - started < 10  # about one second; this catches a runaway

    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", text), "refers to another file"
    for words in ("largest finding of the left sinus", "0.80", "0.10", "0.9 ml"):
        assert words in text
    assert note in text
    for words in ("Anomaly suspected", "No anomaly suspected", "no diagnosis", "simulated"):
        assert words in text
    assert "&lt;near&gt;" in text and "<near>" not in text
    assert "{{" not in text and "{%" not in text, "a place in the template was left unfilled"
    assert len(re.findall(r"data:image/png;base64,[A-Za-z0-9+/=]{1000}", text)) == 4 + 3 * 3 + 3
    assert text.count("<img alt=") == text.count("<img")


@pytest.mark.parametrize(
    ("probability", "words"), [(0.0, "&lt; 0.01"), (1.0, "&gt; 0.99"), (0.96, "0.96")]
)
def test_nothing_is_certain(
    toolbox: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probability: float,
    words: str,
) -> None:
    monkeypatch.setattr(pictures, "PIXELS", 40)
    result = toolbox.result(toolbox.head(), sides=(Side.LEFT,))
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    left = replace(record.sinuses[Side.LEFT], probability=probability)
    left_only = replace(record, sinuses={Side.LEFT: left})
    write_html_report(draw_pictures(result), left_only, tmp_path / "x.html")
    assert f'<td class="number">{words} <' in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_what_ok_covers_and_what_to_do_next_are_said(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head())
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    write_html_report(draw_pictures(result), record, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert next_step(record) in text
    assert "Position of the boxes: ok" in text and "nothing of whether the model reads" in text


def test_the_patients_right_comes_first_in_words_too(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head())
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    write_html_report(draw_pictures(result), record, tmp_path / "x.html")
    table = (tmp_path / "x.html").read_text(encoding="utf-8").split("<table>")[1]
    assert table.index("Right") < table.index("Left") and table.index("0.10") < table.index("0.80")


def test_grade_and_findings_are_told_in_words(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head(), sides=(Side.LEFT,))
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    findings = (
        FindingRecord(4.61, 29.6, 13.2, "back", "dome", (0.0, 0.0, 0.0)),
        FindingRecord(0.2, 8.0, 3.0, None, "band", (0.0, 0.0, 0.0)),
    )
    measured = {"cavity_ml": 20.0, "filled_fraction": 0.24, "depth_mm": 13.2, "grade": 1}
    left = replace(record.sinuses[Side.LEFT], findings=findings, **measured)
    left_only = replace(record, sinuses={Side.LEFT: left})
    write_html_report(draw_pictures(result), left_only, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    for words in ("1 (partial)", "Lund-Mackay", "24% of 20.0 ml", "no diagnosis"):
        assert words in text
    assert text.index("4.6 ml, dome, back wall, 30 mm across, 13 mm deep") < text.index("no wall")


def test_volumes_have_their_repeatability_where_it_was_measured(
    toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PIXELS", 40)
    result = toolbox.result(toolbox.head(), measured=True)
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    cavity_ml = record.sinuses[Side.LEFT].cavity_ml or 0.0
    write_html_report(draw_pictures(result), record, tmp_path / "x.html")
    assert "±" not in (tmp_path / "x.html").read_text(encoding="utf-8")
    sd = {"cavity_percent": 10.0, "opacity_percent": 20.0, "probability": 0.05}
    known = replace(record, model=replace(record.model, repeatability=sd))
    write_html_report(draw_pictures(result), known, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert f"of {cavity_ml:.1f} ± {0.1 * cavity_ml:.1f} ml" in text and "0.9 ± 0.2 ml" in text
