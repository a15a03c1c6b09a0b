from __future__ import annotations

from typing import Any

from ParanasalSSLLib.cli.views import figure_lines, result_table
from ParanasalSSLLib.results.record import ScanRecord


def test_figures_are_a_small_table() -> None:
    figures = {
        "validation": {"auroc": 0.912345, "f1": 0.8},
        "test": {"auroc": 0.9, "f1": 0.81},
        "threshold": 0.5,
        "calibration": {"slope": 1.0},
        "by_kind": {"cyst": [1, 2]},
    }
    lines = [line.split() for line in figure_lines(figures)]
    assert lines == [
        ["validation", "test"],
        ["auroc", "0.9123", "0.9"],
        ["f1", "0.8", "0.81"],
        ["threshold", "0.5"],
        ["calibration"],
        ["slope", "1"],
        ["by_kind"],
        ["cyst", "[1,", "2]"],
    ]


def test_records_are_a_table_and_settings_are_left_out() -> None:
    found = [{"kind": "cyst", "lesions": 3, "found": 0.5}, {"kind": "polyp", "lesions": 12}]
    lines = [line.split() for line in figure_lines({"by_kind": found, "config": {"seed": 0}})]
    assert lines == [
        ["by_kind"],
        ["kind", "lesions", "found"],
        ["cyst", "3", "0.5"],
        ["polyp", "12", "-"],
    ]


def test_table_has_a_line_for_each_side_and_fits_the_terminal(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head(), measured=True)
    head, left, right, largest = result_table(ScanRecord.of(result, toolbox.card, "sub-0001"))
    assert head.split() == [
        "side",
        "probability",
        "decision",
        "opacity",
        "filled",
        "grade",
        "boxes",
    ]
    assert left.split()[0] == "left" and left.split()[-3:] == ["8%", "1", "ok"]
    assert right.split()[0] == "right" and right.split()[-3:] == ["8%", "0", "ok"]
    assert largest.startswith("left: 0.9 ml, ") and "mm across" in largest
    assert max(map(len, (head, left, right, largest))) < 80


def test_table_of_a_model_without_cavity_says_what_it_knows(toolbox: Any) -> None:
    record = ScanRecord.of(toolbox.result(toolbox.head()), toolbox.card, "sub-0001")
    head, *sides = result_table(record)
    assert head.split() == ["side", "probability", "decision", "opacity", "boxes"]
    assert len(sides) == 2
