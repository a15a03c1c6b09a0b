"""`paranasal experiment` from nothing to the page; killed on the way, it resumes.

The experiment with the fewest rows takes the same steps as the others: what those of all rows would be
is in `test_snakefile.py`, and that every method can be pretrained in `stages/test_every_method.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from paranasal_training.workflow.plan import HERE

COMMAND = ("experiment", "loss", "--cores", "2", "--preset")


def start(folder: Path) -> subprocess.Popen[str]:
    """`smoke`, but with one process for all folds of a row: fewer of them start up."""
    program = Path(sys.executable).parent / "paranasal"
    preset = folder.with_name("together.yaml")
    smoke = (HERE / "presets/smoke.yaml").read_text(encoding="utf-8")
    preset.write_text(f"{smoke}\nruns_a_process: true\n", encoding="utf-8")
    return subprocess.Popen(
        [str(program), *COMMAND, str(preset), "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def killed_and_finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """The working folder, when its autoencoder was written before the kill, and the last output."""
    folder = tmp_path_factory.mktemp("experiment")
    process = start(folder)
    weights = folder / "autoencoder/plain/model.safetensors"
    # The next step has begun: Snakemake knows that the autoencoder is finished.
    wait_for(folder / "logs/residuals-calibrated.log", process)
    os.killpg(process.pid, signal.SIGKILL)  # Snakemake and all steps
    process.communicate()
    written = weights.stat().st_mtime_ns
    assert not (folder / "results").exists()
    again = start(folder)
    output = again.communicate()[0]
    assert again.returncode == 0, output
    return folder, written, output


@pytest.mark.slow
def test_a_killed_experiment_goes_on_and_ends_in_a_page(
    killed_and_finished: tuple[Path, int, str],
) -> None:
    folder, written, output = killed_and_finished
    weights = folder / "autoencoder/plain/model.safetensors"
    assert weights.stat().st_mtime_ns == written, "what was finished is not done again"
    results = folder / "results/loss"
    assert str(results / "page.html") in output
    for name in ("table.md", "table.csv", "paired.csv", "figure3.png", "figure3.svg"):
        assert (results / name).stat().st_size > 100
    page = (results / "page.html").read_text()
    assert "imulated" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_every_row_has_figures(killed_and_finished: tuple[Path, int, str]) -> None:
    folder, _, _ = killed_and_finished
    table = pd.read_csv(folder / "results/loss/table.csv")
    assert list(table["method"]) == ["l1", "l2", "calibrated"]
    page = (folder / "results/loss/page.html").read_text()
    for title in ("L1", "L2", "Residual, calibrated (ours)"):
        assert title in page


@pytest.mark.slow
def test_per_run_predictions_are_kept_for_one_fixed_test_set(
    killed_and_finished: tuple[Path, int, str],
) -> None:
    folder, _, _ = killed_and_finished
    files = sorted(folder.glob("finetune/*/*/*/predictions.csv"))
    assert len(files) == 3 * 2  # rows, folds
    tests = {tuple(found.loc[found["split"] == "test", "row"]) for found in map(pd.read_csv, files)}
    assert len(tests) == 1


@pytest.mark.slow
def test_what_is_there_is_not_done_again(killed_and_finished: tuple[Path, int, str]) -> None:
    folder, _, _ = killed_and_finished
    page = folder / "results/loss/page.html"
    before = page.stat().st_mtime_ns
    again = start(folder)
    output = again.communicate()[0]
    assert again.returncode == 0, output
    assert page.stat().st_mtime_ns == before
