"""An experiment that is run again, or beside another one, with steps that do nothing."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from paranasal_training.workflow import experiment
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.plan import HERE

from ParanasalSSLLib.errors import BadConfig

STEP = r"""#!/bin/sh
echo "$1" >> called.txt
name=$1
shift
settings='"command": "'$name'"'
while [ $# -gt 0 ]; do
    case $2 in *[!0-9]*) value='"'$2'"' ;; *) value=$2 ;; esac
    settings="$settings, \"${1#--}\": $value"
    [ "$1" = --output ] && output=$2
    shift 2
done
case $name in
split) echo > "$output" ;;
simulate)
    mkdir -p "$output"
    echo '{"format_version": 1, "kind": "crop store", "rows": 0, "info": {"simulated": true},
           "sha256": {"crops.npy": "", "table.csv": ""}}' > "$output/store.json"
    ;;
*)
    [ -e "$output/checkpoints/last.ckpt" ] && echo "$output" >> resumed.txt
    mkdir -p "$output"
    for file in run.json done.npy metrics.json page.html; do echo '{}' > "$output/$file"; done
    echo "{$settings}" > "$output/config.json"
    ;;
esac
"""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder of experiments whose steps only write the files that complete them."""
    program = tmp_path / "bin/paranasal"
    program.parent.mkdir()
    program.write_text(STEP)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setattr(experiment, "steps_environment", lambda: os.environ | {"PATH": path})
    return tmp_path / "work"


def steps_done(folder: Path, preset: str) -> dict[str, int]:
    """Run the experiment `loss`; how often each command was called."""
    (folder / "called.txt").unlink(missing_ok=True)
    experiment.run_experiment(ExperimentConfig(name="loss", preset=preset, output=folder))
    called = folder / "called.txt"
    return dict(Counter(called.read_text().split())) if called.exists() else {}


def test_what_is_done_again_is_what_the_edited_settings_concern(
    steps: Path, tmp_path: Path
) -> None:
    preset = tmp_path / "own.yaml"
    text = (HERE / "presets/smoke.yaml").read_text()
    preset.write_text(text)
    assert steps_done(steps, str(preset)) == {
        "simulate": 1, "split": 1, "train": 1, "residuals": 1, "pretrain": 3, "finetune": 6,
        "compare": 1,
    }  # fmt: skip
    checkpoint = steps / "finetune/l1/100/fold1/checkpoints/last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    preset.write_text(text.replace("batch_size: 8", "batch_size: 4"))
    assert steps_done(steps, str(preset)) == {"finetune": 6, "compare": 1}
    assert not checkpoint.exists(), "nothing is gone on from that was made in another way"
    old = steps / "finetune/l1/100/fold1.old/checkpoints/last.ckpt"
    assert old.exists(), "nor is it lost"

    checkpoint.parent.mkdir()
    checkpoint.touch()
    for missing in ("finetune/l1/100/fold1/run.json", "results/loss/page.html"):  # as after a kill
        (steps / missing).unlink()
    assert steps_done(steps, str(preset)) == {"finetune": 1, "compare": 1}
    assert (steps / "resumed.txt").read_text() == "finetune/l1/100/fold1\n"
    notes = steps / "crops/notes.txt"
    notes.write_text("mine")
    preset.write_text(text.replace("patients: 24", "patients: 20"))
    assert steps_done(steps, str(preset))["simulate"] == 1
    assert notes.read_text() == "mine", "another cohort takes no user's file with it"
    assert not checkpoint.exists(), "a complete run needs none"


def test_folds_that_started_from_a_seed_that_was_dropped_are_tuned_again(
    steps: Path, tmp_path: Path
) -> None:
    preset = tmp_path / "own.yaml"
    text = (HERE / "presets/smoke.yaml").read_text()
    preset.write_text(f"{text}\npretrain_seeds: 2\n")
    assert steps_done(steps, str(preset))["pretrain"] == 6
    preset.write_text(text)
    assert steps_done(steps, str(preset)) == {"finetune": 3, "compare": 1}
    for row in ("l1", "l2", "calibrated"):
        tuned = json.loads((steps / f"finetune/{row}/100/fold2/config.json").read_text())
        assert tuned["pretrained"] == f"pretrain/{row}/seed1"
    assert "seed2" in (steps / "finetune/l1/100/fold2.old/config.json").read_text()
    assert steps_done(steps, str(preset)) == {}
    preset.write_text(f"{text}\npretrain_seeds: 2\n")
    assert steps_done(steps, str(preset)) == {"finetune": 3, "compare": 1}, "back again"


def test_a_failed_step_is_told_by_its_last_lines(
    steps: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = steps.parent / "bin/paranasal"
    program.write_text('#!/bin/sh\nseq 100\necho "paranasal: no crops left" >&2\nexit 1\n')
    with pytest.raises(BadConfig, match="stopped"):
        steps_done(steps, "smoke")
    shown = capfd.readouterr().err
    assert "The step simulate failed:" in shown and "paranasal: no crops left" in shown
    assert "--config" not in shown and "\n    50\n" not in shown, "no shell commands, no whole log"


def test_a_second_experiment_in_a_folder_neither_starts_nor_unlocks_the_first_one(
    steps: Path,
) -> None:
    steps.mkdir()
    with (steps / ".experiment.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(BadConfig, match="Another experiment runs in"):
            steps_done(steps, "smoke")
    assert not (steps / ".snakemake").exists()


def test_the_lock_that_a_killed_experiment_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        unlocked.append("--unlock" in command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(experiment.subprocess, "run", run)
    monkeypatch.setattr(experiment, "run_quietly", lambda command, held: run(command))
    config = ExperimentConfig(name="loss", preset="smoke", output=tmp_path)
    experiment.run_experiment(config)
    assert unlocked == [False], "there is no lock"
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    experiment.run_experiment(config)
    assert unlocked == [False, True, False]
