"""What runs were made from and what they cost, from their records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from paranasal_training.evaluation.comparison.collect import collect
from paranasal_training.evaluation.comparison.compare import write_comparison
from paranasal_training.evaluation.comparison.config import ComparisonConfig
from paranasal_training.evaluation.comparison.provenance import Cost, read_training

from ParanasalSSLLib.errors import BadStore


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def work(tmp_path: Path, small_runs: Path) -> Path:
    """A working folder whose runs say what they were made from: four folds, two seeds in turn."""
    shutil.copytree(small_runs, tmp_path / "finetune")
    for method in ("none", "residual"):
        for seed in (1, 2):
            settings = {"batch_size": 32, "epochs": 45}
            record = {
                "config": settings,
                "steps": 3960,
                "seconds": 600.0 * seed,
                "train_crops": 2806,
            }
            write(tmp_path / f"pretrain/{method}/seed{seed}/run.json", record)
        for percent in (10, 100):
            for fold in (1, 2, 3, 4):
                start = f"pretrain/{method}/seed{1 + (fold - 1) % 2}"
                settings = {"batch_size": 16, "epochs": 10, "pretrained": start}
                record = {
                    "config": settings,
                    "steps": 7 * percent,
                    "seconds": 60.0,
                    "train_crops": 120,
                }
                write(tmp_path / f"finetune/{method}/{percent}/fold{fold}/run.json", record)
    return tmp_path


def test_a_run_knows_its_pretraining(work: Path) -> None:
    found = read_training(work / "finetune/residual/10/fold2", work)
    assert found is not None
    assert (found.name, found.pretraining) == (
        "finetune/residual/10/fold2",
        "pretrain/residual/seed2",
    )
    assert found.cost == Cost(crops=1120, steps=70, seconds=60.0)
    assert found.pretraining_cost == Cost(crops=3960 * 32, steps=3960, seconds=1200.0)


def test_what_is_scored_again_is_the_run_that_it_was(work: Path) -> None:
    again = work / "finetune/jitter/10/fold1"
    write(again / "config.json", {"classifier": "finetune/residual/10/fold1"})
    assert read_training(again, work) == read_training(work / "finetune/residual/10/fold1", work)
    assert read_training(work / "finetune/score/10/fold1", work) is None


def test_early_records_without_steps_are_counted_by_their_epochs(work: Path) -> None:
    folder = work / "finetune/old/10/fold1"
    settings = {"batch_size": 16, "epochs": 3}
    write(folder / "run.json", {"config": settings, "seconds": 1.0, "train_crops": 120})
    found = read_training(folder, work)
    assert found is not None and found.cost.steps == 21 and found.pretraining is None
    (folder / "run.json").write_text("{")
    with pytest.raises(BadStore, match="damaged"):
        read_training(folder, work)


def test_crops_are_those_that_were_seen_whatever_made_a_step(work: Path) -> None:
    folder = work / "finetune/own/10/fold1"
    made = {"steps": 30, "seconds": 1.0, "train_crops": 120}
    by_recipe = {"batch_size": None, "epochs": None, "accumulate": 2}
    write(folder / "run.json", made | {"config": by_recipe, "crops_seen": 7680})
    found = read_training(folder, work)
    assert found is not None and found.cost == Cost(7680, 30, 1.0)
    write(folder / "run.json", made | {"config": by_recipe | {"batch_size": 16}})
    found = read_training(folder, work)
    assert found is not None and found.cost.crops == 30 * 2 * 16


def test_the_table_says_what_every_row_cost_and_what_needs_no_look(work: Path) -> None:
    config = ComparisonConfig(
        runs=work / "finetune", output=work / "out", rows=("none", "residual"), percents=(10, 100),
        title="T", simulated=True, resamples=1000,
    )  # fmt: skip
    write_comparison(config)
    text = (work / "out/table.md").read_text()
    assert "126,720; 3,960; 15.0" in text, "the mean of both pretraining runs"
    assert "1,120; 70; 1.0" in text and "11,200; 700; 1.0" in text
    share = collect(config.runs, config.rows, config.percents).labels.mean()
    assert (
        f"Everything called anomalous | 0.500 | {share:.3f} | {2 * share / (1 + share):.3f}" in text
    )
    assert "healthy labels of the training part" in text
    lines = (work / "out/costs.csv").read_text().splitlines()
    assert lines[1] == "none,10,pretraining,2,126720,3960,900.0"


def test_the_table_names_the_machines_that_the_runs_were_trained_on(work: Path) -> None:
    config = ComparisonConfig(
        runs=work / "finetune", output=work / "out", rows=("none", "residual"), percents=(10, 100),
        title="T", simulated=True, resamples=1000,
    )  # fmt: skip

    def told() -> str:
        write_comparison(config)
        text = (work / "out/table.md").read_text()
        return next(line for line in text.splitlines() if line.startswith("- Trained on: "))

    assert told() == "- Trained on: not recorded", "earlier records do not tell"
    for path in (work / "finetune/none").rglob("run.json"):
        record = json.loads(path.read_text())
        write(path, record | {"machine": "Two cores", "torch": "2.13.0+cpu"})
    for path in (work / "finetune/residual").rglob("run.json"):
        path.unlink()
    two = "Two cores (torch 2.13.0+cpu)"
    for path in (work / "pretrain/none").rglob("run.json"):
        write(path, json.loads(path.read_text()) | {"machine": "A card", "torch": "2.13.0+cu130"})
    assert told() == f"- Trained on: {two}: 8 runs; A card (torch 2.13.0+cu130): 2 runs"
