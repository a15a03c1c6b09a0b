"""What is wrong with an experiment is said before it starts, and a dry run changes nothing."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest
from paranasal_training.workflow.checks import keep_to_its_crops, require_settings
from paranasal_training.workflow.config import ExperimentConfig, StudyConfig
from paranasal_training.workflow.declared import preset_names
from paranasal_training.workflow.experiment import look_ahead, run_experiment
from paranasal_training.workflow.plan import DONORS, Plan

from ParanasalSSLLib.errors import BadConfig, UnsafeOutput

CORE = "core"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "cannot be read"),
        ("\udcff", "cannot be read"),
        ("train: 3", "train is settings by name, not 3"),
        ("percents: 10", "percents is a list, not 10"),
        ("percents: [0, 300]", "1 to 100"),
        ("percents: [ten]", "1 to 100"),
        ("threads: two", "threads is a whole number"),
        ("split: {folds: none}", "split.folds"),
        ("pretrain_by_row: {ae: 3}", "pretrain_by_row"),
        ("{runs_a_process: true, finetune: {devices: 2}}", "runs on one device"),
        ("bogus: {}", "bogus"),
    ],
)
def test_a_preset_that_is_none_is_told_in_words(text: str, words: str, tmp_path: Path) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadConfig, match=words):
        Plan.read(str(preset))


@pytest.mark.parametrize("preset", preset_names())
def test_presets_fit_their_commands(preset: str) -> None:
    require_settings(Plan.read(preset), CORE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finetune: {epochz: 3}", "paranasal finetune"),
        ("finetune_by_share: {10: {epochs: -1}}", "paranasal finetune"),
        ("pretrain: {precision: 16}", "paranasal pretrain"),
        ("simulate: {contrast: {fractions: {ct: 1}}}", "paranasal simulate"),
        ("split: {folds: 1}", "paranasal split"),
    ],
)
def test_a_setting_that_a_step_would_refuse_is_refused_at_once(
    text: str, words: str, tmp_path: Path
) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text(text)
    with pytest.raises(BadConfig, match=words):
        require_settings(Plan.read(str(preset)), CORE)


def test_a_working_folder_keeps_to_its_crops(tmp_path: Path) -> None:
    for name in ("one", "other", "moved"):
        (tmp_path / name).mkdir()
        text = '{"a": 1}' if name == "other" else "{}"
        (tmp_path / name / "store.json").write_text(text)
    plan = Plan.read("smoke")
    work = tmp_path / "work"
    work.mkdir()

    def of(name: str | None) -> Plan:
        crops = tmp_path / name if name else None
        return Plan(**vars(plan) | {"crops": crops})

    keep_to_its_crops(work, of("one"))
    keep_to_its_crops(work, of("moved"))
    (tmp_path / "moved/store.json").write_text('{"b": 2}')
    keep_to_its_crops(work, of("moved"))  # made again in its place: Snakemake sees that
    for name in ("other", None):
        with pytest.raises(BadConfig, match="of other crops"):
            keep_to_its_crops(work, of(name))


@pytest.mark.parametrize("mine", ["splits.csv", "crops/notes.txt", "results/loss/page.html"])
def test_what_a_user_has_in_the_working_folder_is_never_replaced(mine: str, tmp_path: Path) -> None:
    path = tmp_path / "work" / mine
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for dry_run in (True, False):
        config = ExperimentConfig(
            name="loss", preset="smoke", output=tmp_path / "work", dry_run=dry_run
        )
        with pytest.raises(BadConfig, match=r"work.*(notes|splits|results)"):
            run_experiment(config)
    assert path.read_text() == "mine"
    assert [name for name in (tmp_path / "work").rglob("*") if name.is_file()] == [path]


def test_a_file_in_the_place_of_the_working_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    with pytest.raises(UnsafeOutput, match="work is no folder"):
        run_experiment(ExperimentConfig(name="loss", preset="smoke", output=tmp_path / "work"))


def test_places_where_nothing_could_run_are_refused() -> None:
    for places in ({"cores": 0}, {"gpus": -1}):
        with pytest.raises(BadConfig, match="cores are 1 or more"):
            ExperimentConfig(name="loss", **places)
        with pytest.raises(BadConfig, match="cores are 1 or more"):
            StudyConfig(scans=[], output=Path("out"), **places)


def test_looking_ahead_does_not_bind_a_folder_to_its_crops(tmp_path: Path) -> None:
    keep_to_its_crops(tmp_path, Plan.read("smoke"), note=False)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_leaves_settings_as_they_were(tmp_path: Path) -> None:
    kept, same = (tmp_path / f"settings/train/{name}.yaml" for name in ("kept", "same"))
    kept.parent.mkdir(parents=True)
    for path in (kept, same):
        path.write_text("epochs: 1")
        os.utime(path, ns=(10**18, 10**18))
    code = (
        "from pathlib import Path; Path('settings/train/kept.yaml').write_text('epochs: 2');"
        "Path('settings/train/new.yaml').write_text('')"
    )
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"]
    assert look_ahead(command, tmp_path).returncode == 0
    assert kept.read_text() == "epochs: 1"
    assert {path.stat().st_mtime_ns for path in kept.parent.iterdir()} == {10**18}
    assert sorted(kept.parent.iterdir()) == [kept, same]
    with (tmp_path / ".experiment.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(BadConfig, match="Another experiment"):
            look_ahead(command, tmp_path)
    assert kept.read_text() == "epochs: 1"


def test_the_page_says_how_it_was_divided_and_whose_anatomy_it_is(tmp_path: Path) -> None:
    plain = Plan.read("smoke").compare_settings(CORE)
    assert plain["notes"] == [] and "--folds" not in plain["experiment"]["Command"]
    settings = Plan.read("smoke", folds=3, donors=tmp_path).compare_settings(CORE)
    assert settings["notes"] == [DONORS]
    assert settings["experiment"]["Command"].endswith("--donors HEADS --folds 3")
