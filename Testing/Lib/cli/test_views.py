from __future__ import annotations

from ParanasalSSLLib.cli.views import figure_lines


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
