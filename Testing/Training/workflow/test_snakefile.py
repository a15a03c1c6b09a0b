"""What Snakemake would run, from dry runs in this process: nothing is computed, nothing starts up."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.workflow import card, experiment, several
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.experiment import snakemake_command
from paranasal_training.workflow.plan import HERE, Plan
from snakemake.api import SnakemakeApi
from snakemake.cli import args_to_api, parse_args
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import BadConfig


def dry_run(folder: Path, config: ExperimentConfig) -> str:
    """The steps of an experiment with their shell commands, as Snakemake prints them."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = experiment.read_plan(config)
    words = snakemake_command(config, plan, folder)
    where = words.index("--config")
    assert words[:3] == [sys.executable, "-m", "snakemake"]
    given = [*words[3:where], "--dry-run", "--printshellcmds", *words[where:]]
    with redirect_stdout(StringIO()) as shown, redirect_stderr(shown):
        parser, arguments = parse_args(given)
        done = args_to_api(arguments, parser)
    assert done, shown.getvalue()
    return shown.getvalue()


def commands(output: str, name: str) -> list[str]:
    """The shell commands of a dry run that call one of our commands."""
    return [line for line in output.splitlines() if f"paranasal {name} " in line]


def test_residuals_are_judged_on_the_splits_that_the_autoencoder_was_trained_with(
    tmp_path: Path,
) -> None:
    output = dry_run(tmp_path, ExperimentConfig(name="beyond", preset="smoke"))
    judged = commands(output, "evaluate-maps")
    assert len(judged) == 2
    for line in [*judged, *commands(output, "train")]:
        assert "--splits splits.csv" in line


def test_a_site_s_own_division_is_taken_and_none_is_made(
    tmp_path: Path, bare_store: CropStore
) -> None:
    config = ExperimentConfig(name="loss", preset="smoke", crops=bare_store.folder)
    output = dry_run(tmp_path, config)
    assert not commands(output, "split") and "--splits" not in output
    assert len(commands(output, "finetune")) == 3, "the table has one division"


def test_a_file_of_splits_is_taken_with_all_its_folds(
    tmp_path: Path, bare_store: CropStore
) -> None:
    splits = tmp_path / "my splits.csv"
    splits.touch()
    splits.with_suffix(".json").write_text('{"folds": 4}')
    config = ExperimentConfig(
        name="loss", preset="smoke", crops=bare_store.folder, splits=splits
    )  # fmt: skip
    output = dry_run(tmp_path / "work", config)
    assert not commands(output, "split")
    tuned = commands(output, "finetune")
    assert len(tuned) == 3 * 4
    for line in [*tuned, *commands(output, "pretrain"), *commands(output, "train")]:
        words = shlex.split(line)
        assert words[words.index("--splits") + 1] == str(splits)


def test_where_nothing_is_unlabelled_each_fold_pretrains_on_its_own_training_crops(
    tmp_path: Path, bare_store: CropStore
) -> None:
    config = ExperimentConfig(name="loss", preset="smoke", crops=bare_store.folder)
    splits = tmp_path / "s.csv"
    splits.touch()
    splits.with_suffix(".json").write_text('{"folds": 3}')
    output = dry_run(tmp_path / "work", replace(config, splits=splits))
    pretrained = commands(output, "pretrain")
    assert len(pretrained) == 3 * 3
    for line in pretrained:
        words = shlex.split(line)
        assert words[words.index("--fold") + 1] == words[words.index("--seed") + 1]


def test_one_process_does_all_folds_of_a_row_where_the_preset_says_so(tmp_path: Path) -> None:
    output = dry_run(tmp_path, ExperimentConfig(name="labels", preset="cpu"))
    shells = [line.removeprefix("Shell command: ") for line in output.splitlines()]
    started = [line.strip() for line in shells if "workflow.several" in line]
    words = [shlex.split(line.split("; done; done; ")[-1].split(" > logs/")[0]) for line in started]
    tuned = [line for line in words if line[4].startswith("finetune ")]
    scored = [line for line in words if line[4].startswith("evaluate-residuals ")]
    assert (len(tuned), len(scored)) == (3, 1)
    for line in [*tuned, *scored]:
        folds = [
            shlex.split(command)[shlex.split(command).index("--fold") + 1] for command in line[4:]
        ]
        assert folds == ["1", "2", "3", "4", "5"]
    ours = next(line for line in tuned if "pretrain/labels10/" in line[4])
    starts = [shlex.split(command)[4] for command in ours[4:]]
    assert starts == [f"pretrain/labels10/seed{fold}" for fold in range(1, 6)]
    assert len(commands(output, "pretrain")) == 5 + 5 + 2, "none, labels10, calibrated"
    assert len(commands(output, "residuals")) == 5 + 1


def test_one_process_looks_at_a_row_s_encoders_one_after_another(tmp_path: Path) -> None:
    output = dry_run(tmp_path, ExperimentConfig(name="core", preset="cpu"))
    lines = [line for line in output.splitlines() if "'evaluate-frozen " in line]
    assert len(lines) == 6, "none, ae, spark, residual, calibrated, oracle"
    looks = [
        [shlex.split(look) for look in shlex.split(line.split(" > logs/")[0]) if " --" in look]
        for line in lines
    ]
    for row in looks:
        outputs = {words[words.index("--output") + 1] for words in row}
        assert len(row) == len(outputs) == 2 * 3 * 5, "probes, shares of labels, folds"
        encoders = [words[words.index("--pretrained") + 1] for words in row]
        changes = sum(a != b for a, b in pairwise(encoders))
        assert changes == len(set(encoders)) - 1, "none is loaded a second time"


def test_several_commands_in_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[list[str]] = []

    def run(words: list[str]) -> int:
        called.append(words)
        return {"bad": 1, "stop": 130}.get(words[0], 0)

    monkeypatch.setattr(several, "main", run)
    assert several.run_all(["one 'a b'", "bad", "two"]) == 1
    assert called == [["one", "a b"], ["bad"], ["two"]], "the others are done"
    assert several.run_all(["stop", "three"]) == 130
    assert called[-1] == ["stop"]


def test_a_cluster_has_a_number_of_jobs_and_no_number_of_cores(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(nodes=2),
            config_settings=ConfigSettings(config={"experiment": "table2", "preset": "smoke"}),
            snakefile=HERE / "Snakefile",
            workdir=tmp_path,
        )
        workflow.dag(DAGSettings()).execute_workflow(executor="dryrun")
    shown = capfd.readouterr()
    assert "rule simulate" in shown.out + shown.err


EXPERIMENTS = (
    "core", "table2", "table3", "figure3", "labels", "postprocessing", "loss", "autoencoder",
    "spark", "beyond",
)  # fmt: skip


def test_every_experiment_is_dry_run_here() -> None:
    assert set(Plan.read("smoke").experiments) == set(EXPERIMENTS)


@pytest.fixture(scope="module")
def bare_store(tmp_path_factory: pytest.TempPathFactory, toy_store: CropStore) -> CropStore:
    """A store without lesion masks, as `paranasal prepare` makes them, in a folder with a space."""
    folder = tmp_path_factory.mktemp("own data") / "my crops"
    return write_store(folder, toy_store.crops[:4], toy_store.table[:4])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_planned_to_its_page(tmp_path: Path, name: str) -> None:
    output = dry_run(tmp_path, ExperimentConfig(name=name, preset="smoke"))
    probes = ("linear", "knn") if name in ("core", "table2") else ()
    assert len(commands(output, "simulate")) == 1
    assert len(commands(output, "compare")) == 1 + len(probes)
    looked = commands(output, "evaluate-frozen")
    assert bool(looked) == bool(probes)
    assert not any("score" in line for line in looked), "what has no encoder is not probed"
    assert commands(output, "finetune")
    assert len(commands(output, "evaluate-maps")) == (2 if name == "beyond" else 0)


def test_scans_without_lesion_masks_are_compared_but_not_judged_voxel_by_voxel(
    tmp_path: Path, bare_store: CropStore
) -> None:
    config = ExperimentConfig(name="beyond", preset="smoke", crops=bare_store.folder)
    output = dry_run(tmp_path, config)
    assert not commands(output, "simulate") and not commands(output, "evaluate-maps")
    for name in ("split", "train", "residuals", "pretrain", "finetune", "evaluate"):
        for line in commands(output, name):
            words = shlex.split(line)
            assert words[words.index("--store") + 1] == str(bare_store.folder)
    assert len(commands(output, "compare")) == 1


def test_crops_of_scans_in_the_place_of_the_simulated_ones_are_not_overwritten(
    tmp_path: Path, toy_store: CropStore
) -> None:
    store = write_store(tmp_path / "crops", toy_store.crops[:2], toy_store.table[:2])
    with pytest.raises(BadConfig, match="holds crops of scans"):
        experiment.run_experiment(ExperimentConfig(name="loss", preset="smoke", output=tmp_path))
    assert CropStore.open(store.folder).checksum == store.checksum


def test_a_dry_run_names_no_page_that_it_did_not_make(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment", "loss", "--preset", "smoke", "--dry_run", "--output"]
    assert main([*words, str(tmp_path)]) == 0
    shown = capfd.readouterr()
    assert "rule compare" in shown.out + shown.err
    assert "Wrote" not in shown.out


def test_runs_at_the_same_time_get_different_cards(tmp_path: Path) -> None:
    program = Path(card.__file__)
    meet = "mkdir -p up; touch up/$$; until [ $(ls up | wc -l) = 3 ]; do sleep 0.05; done"
    show = ["sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; {meet}"]
    given = dict(os.environ) | {"CUDA_VISIBLE_DEVICES": "4,5,7"}
    runs = [
        subprocess.Popen(
            [sys.executable, str(program), "1", "3", *show],
            cwd=tmp_path, env=given, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    assert sorted(run.communicate(timeout=60)[0] for run in runs) == ["4\n", "5\n", "7\n"]
    both = card.take_cards(2, ["0", "1"], tmp_path / ".more")
    assert both == ["0", "1"]
    assert card.take_cards(1, ["0", "1"], tmp_path / ".more") is None
    assert card.cards_there(2, {}) == ["0", "1"]


def test_only_presets_with_gpus_ask_for_cards_and_clusters_give_their_own(tmp_path: Path) -> None:
    paper = ExperimentConfig(name="loss", preset="paper", gpus=4, cores=16)
    output = dry_run(tmp_path / "paper", paper)
    for name in ("train", "pretrain", "finetune"):
        lines = commands(output, name)
        assert lines and all("workflow.card 1 4 paranasal" in line for line in lines)
    assert "workflow.card" not in dry_run(tmp_path / "smoke", replace(paper, preset="smoke"))
    words = snakemake_command(replace(paper, executor="slurm"), Plan.read("paper"), tmp_path)
    assert not any(word.startswith("cards=") for word in words)
