"""`write_comparison`: tables, pictures and page of finished runs."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from paranasal_training.evaluation.comparison.compare import write_comparison
from paranasal_training.evaluation.comparison.config import ComparisonConfig

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import BadConfig, BadStore

TITLES = {"none": "No pretraining", "transfer": "Transfer | MedicalNet", "residual": "Residual"}
FILES = {"table.md", "table.csv", "paired.csv", "costs.csv", "by_kind.csv", "page.html"} | {
    f"{name}.{kind}" for name in ("figure3", "paired", "reliability") for kind in ("png", "svg")
}


@pytest.fixture(scope="module")
def config(small_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> ComparisonConfig:
    return ComparisonConfig(
        runs=small_runs,
        output=tmp_path_factory.mktemp("comparison"),
        rows=("none", "transfer", "residual"),
        percents=(10, 100),
        title="Two methods <compared>",
        simulated=True,
        titles=TITLES,
        open_reasons={"transfer": "the MedicalNet file is not at hand"},
        notes=("A note & more.",),
        experiment={"Preset": "smoke", "Command": "paranasal experiment table2"},
        resamples=1000,
    )


@pytest.fixture(scope="module")
def written(config: ComparisonConfig) -> Path:
    return write_comparison(config).parent


def test_every_file_is_there_and_nothing_else(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == FILES
    for path in written.glob("*.[ps][nv]g"):
        assert path.stat().st_size > 10_000, path.name


def test_markdown_has_the_papers_layout(written: Path) -> None:
    text = (written / "table.md").read_text(encoding="utf-8")
    columns = [
        f"{metric} {percent} %" for percent in (10, 100) for metric in ("AUROC", "AUPRC", "F1")
    ]
    assert f"| Method | {' | '.join(columns)} |" in text
    lines = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("|")}
    assert "| ▸ Residual" in lines
    first = next(line for line in text.splitlines() if line.startswith("| ▸ Residual"))
    assert first.count("**") == 2 * 6  # best everywhere
    assert re.search(r"\*\*0\.\d{3} ± 0\.\d{3}\*\*", first)
    worse = next(line for line in text.splitlines() if line.startswith("| No pretraining"))
    assert worse.count("↓") == 4  # AUROC and AUPRC at both label fractions
    assert "Simulated cohort" in text


def test_open_rows_say_why(written: Path) -> None:
    text = (written / "table.md").read_text(encoding="utf-8")
    assert f"| Transfer \\| MedicalNet |{' open |' * 6}" in text
    assert "- Transfer | MedicalNet, 10 %, 100 %: the MedicalNet file is not at hand." in text
    table = pd.read_csv(written / "table.csv").set_index(["method", "percent"])
    assert table.loc[("transfer", 10), "status"] == "open"
    assert table.loc[("transfer", 10), "reason"] == "the MedicalNet file is not at hand"
    assert table.loc["transfer", "auroc"].isna().all()


def test_csv_has_means_and_intervals(written: Path, small_runs: Path) -> None:
    table = pd.read_csv(written / "table.csv").set_index(["method", "percent"])
    line = table.loc[("residual", 100)]
    folds = [
        pd.read_json(small_runs / f"residual/100/fold{fold}/metrics.json")["test"]["auroc"]
        for fold in (1, 2, 3, 4)
    ]
    assert line["auroc"] == pytest.approx(sum(folds) / 4, abs=1e-4)
    assert line["auroc_low"] < line["auroc"] < line["auroc_high"]
    assert line["folds"] == 4


def test_paired_comparison_is_written_and_told(written: Path) -> None:
    paired = pd.read_csv(written / "paired.csv")
    assert list(paired["baseline"].unique()) == ["none"]
    assert len(paired) == 4
    assert set(paired["outcome"]) == {"wins"}
    assert (paired["p_holm"] < 0.05).all()
    sentence = "10 % of the labels, AUROC: Residual wins 1 (No pretraining), ties 0, loses 0."
    assert sentence in (written / "table.md").read_text(encoding="utf-8")


def test_lesions_by_kind_and_volume(written: Path, small_runs: Path) -> None:
    lines = pd.read_csv(written / "by_kind.csv")
    test = pd.read_csv(small_runs / "none/10/fold1/predictions.csv").query("split == 'test'")
    here = lines.query("method == 'none' and percent == 10")
    assert here["lesions"].sum() == (test["true_class"] > 0).sum()
    assert list(here["kind"].unique()) == ["thickening", "polyp", "cyst", "full"]
    assert lines["found"].between(0, 1).all()


def test_page_holds_everything_and_needs_no_network(written: Path) -> None:
    text = (written / "page.html").read_text(encoding="utf-8")
    assert "<title>Two methods &lt;compared&gt;</title>" in text
    for part in (
        "Simulated cohort:",
        "A note &amp; more.",
        "Residual wins 1",
        "the MedicalNet file is not at hand",
        '<tr class="chosen"><th scope="row">Residual</th>',
        "Which lesions are found",
        "How to read this",
        "paranasal experiment table2",
        "40 patients, 80 sinuses",
        "1000 resamples",
    ):
        assert part in text, part
    assert text.count("data:image/svg+xml;base64,") == 3
    assert not re.search(r"https?:|<script|<link|\$", text)
    assert "test-0" not in text  # no patients


def test_same_runs_same_bytes(config: ComparisonConfig, written: Path, tmp_path: Path) -> None:
    again = write_comparison(replace(config, output=tmp_path)).parent
    for name in FILES:
        assert (again / name).read_bytes() == (written / name).read_bytes(), name


def test_real_scans_at_one_share(config: ComparisonConfig, tmp_path: Path) -> None:
    """Nothing is called simulated, and no lesions are counted where they are not known."""
    runs = Path(shutil.copytree(config.runs, tmp_path / "runs"))
    for path in runs.glob("*/*/*/predictions.csv"):
        pd.read_csv(path).drop(columns=["true_class", "lesion_ml"]).to_csv(path, index=False)
    real = replace(config, runs=runs, output=tmp_path / "out", percents=(10,), simulated=False)
    text = write_comparison(real).read_text(encoding="utf-8")
    assert "imulated" not in text
    assert "Which lesions are found" not in text
    assert pd.read_csv(tmp_path / "out/by_kind.csv").empty


def test_what_the_intervals_cover_is_told(
    config: ComparisonConfig, written: Path, tmp_path: Path
) -> None:
    assert "add the chance of training" in (written / "table.md").read_text(encoding="utf-8")
    write_comparison(replace(config, output=tmp_path, folds=1))
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "add the chance of training" not in text
    assert "intervals and p are of the test patients alone" in text


def test_ours_open_leaves_nothing_to_compare(config: ComparisonConfig, tmp_path: Path) -> None:
    rows = ("none", "residual", "transfer")
    lone = replace(config, output=tmp_path, rows=rows, ours="transfer", percents=(10,))
    assert "There is nothing to compare." in write_comparison(lone).read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "paired.csv").empty


def test_nothing_is_written_when_a_run_is_damaged(config: ComparisonConfig, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(config.runs, tmp_path / "runs"))
    (runs / "none/10/fold1/predictions.csv").write_text("")
    with pytest.raises(BadStore):
        write_comparison(replace(config, runs=runs, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": ("none", "none", "residual")}, "once"),
        ({"rows": ("none", "transfer")}, "ours"),
        ({"percents": (100, 10)}, "ascending"),
        ({"percents": ()}, "ascending"),
        ({"percents": (0, 10)}, "1 to 100"),
        ({"titles": {"byol": "BYOL"}}, "byol"),
        ({"resamples": 10}, "resamples"),
    ],
)
def test_senseless_options_are_refused(
    config: ComparisonConfig, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadConfig, match=words):
        replace(config, **change)


def test_lists_and_mappings_come_from_the_command_line(
    small_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "compare",
        "--runs",
        str(small_runs),
        "--output",
        str(tmp_path),
        "--rows",
        "[none, residual]",
    ]
    words += ["--percents", "[10]", "--title", "Typed", "--simulated", "true", "--ours", "none"]
    words += ["--titles", "{none: From scratch}", "--notes", "[One., Two.]"]
    words += ["--experiment", "{Preset: my own}"]
    assert main(words) == 0
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert "▸ From scratch" in (tmp_path / "table.md").read_text(encoding="utf-8")
