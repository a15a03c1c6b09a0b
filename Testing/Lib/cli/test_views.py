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
