"""The declared workflow: presets, settings of every run, and rows that stay open."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

import jsonargparse
import pytest
from paranasal_training.cohort.config import SimulateConfig
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.evaluation.comparison.config import ComparisonConfig
from paranasal_training.evaluation.config import EvaluateConfig
from paranasal_training.methods import method_names
from paranasal_training.stages.config import (
    EvaluateFrozenConfig,
    EvaluateResidualsConfig,
    FinetuneConfig,
    PretrainConfig,
    ResidualsConfig,
    TrainConfig,
)
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.declared import Settings, merged, preset_names
from paranasal_training.workflow.plan import Plan

from ParanasalSSLLib.errors import BadConfig, BadStore

PATHS = {
    "pretrained": "p",
    "store": "s",
    "output": "o",
    "cae": "c",
    "classifier": "k",
    "residuals": "r",
}


def test_help_and_readme_name_every_experiment() -> None:
    readme = Path(__file__).parents[3] / "Training" / "README.md"
    for text in (inspect.getsource(ExperimentConfig), readme.read_text(encoding="utf-8")):
        assert set(Plan.read("smoke").experiments) <= set(re.findall(r"\w+", text))


@cache
def parser_of(kind: type) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    return parser


def accepted(kind: type, settings: Settings) -> object:
    """The configuration that the command line makes of these settings; unknown names are errors."""
    parser = parser_of(kind)
    fields = {k: v for k, v in PATHS.items() if k in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return kind(**vars(parser.instantiate_classes(parser.parse_object(fields | settings))))


@pytest.mark.parametrize("preset", preset_names())
def test_every_setting_of_a_preset_is_one_of_its_command(preset: str) -> None:
    plan = Plan.read(preset, medicalnet="file.pth")
    accepted(SimulateConfig, plan.preset.simulate)
    for autoencoder in plan.autoencoders:
        accepted(TrainConfig, plan.train_settings(autoencoder))
    for name, residuals in plan.residuals.items():
        assert residuals["autoencoder"] in plan.autoencoders
        accepted(ResidualsConfig, plan.residual_settings(name))
    for name, row in plan.rows.items():
        if row.pretrain:
            accepted(PretrainConfig, plan.pretrain_settings(name))
            assert row.learns_from in (None, *plan.residuals)
        elif row.score:
            accepted(EvaluateResidualsConfig, plan.score_settings(name))
            assert plan.source(name) is None
        else:
            assert plan.rows[str(plan.source(name))].pretrain
        accepted(EvaluateConfig, row.evaluate)
        for percent in plan.preset.percents:
            found = accepted(FinetuneConfig, plan.finetune_settings(name, percent))
            assert isinstance(found, FinetuneConfig)
            assert found.label_fraction == percent / 100
    for name, experiment in plan.experiments.items():
        assert set(experiment.rows) <= set(plan.rows)
        accepted(ComparisonConfig, plan.compare_settings(name))
        for probe in experiment.probes:
            accepted(ComparisonConfig, plan.compare_settings(name, probe))
            accepted(EvaluateFrozenConfig, plan.probe_settings(probe, 10))


def test_table_2_compares_every_method_that_there_is() -> None:
    plan = Plan.read("paper")
    rows = plan.experiment("table2").rows
    assert {plan.rows[row].method for row in rows} - {None} == set(method_names()) - {"weights"}
    assert [row for row in rows if plan.rows[row].score] == ["score", "score-calibrated"]
    assert plan.experiment("table2").ours == "calibrated" and "residual" in rows


def test_the_paper_preset_keeps_each_method_s_own_recipe_and_full_size() -> None:
    plan = Plan.read("paper")
    assert plan.percents("figure3") == (10, 20, 40, 60, 80, 100)
    found = accepted(PretrainConfig, plan.pretrain_settings("residual"))
    assert isinstance(found, PretrainConfig)
    assert (found.recipe.epochs, found.recipe.optimizer.name) == (500, "lars")
    assert found.network.widths == (64, 128, 256, 512)
    assert found.network.voxels == 64


def test_the_autoencoder_of_the_cpu_preset_compresses_as_the_paper_s() -> None:
    plan = Plan.read("cpu")
    found = accepted(TrainConfig, plan.train_settings("plain"))
    assert isinstance(found, TrainConfig)
    assert found.network.voxels**3 / found.network.latent == 64**3 / 512
    assert (found.epochs, found.jittered) == (40, True)
    assert plan.residual_settings("plain")["gain"] == 1.0, "nothing is cut off"


def test_folds_share_pretraining_in_turn_but_random_weights_with_nobody() -> None:
    plan = Plan.read("cpu")
    assert [plan.seed_of("none", fold) for fold in range(1, 6)] == [1, 2, 3, 4, 5]
    assert [plan.seed_of("residual", fold) for fold in range(1, 6)] == [1, 2, 1, 2, 1]
    assert [plan.seed_of("two-channels", fold) for fold in range(1, 6)] == [1, 2, 1, 2, 1]
    assert {plan.seed_of("transfer", fold) for fold in range(1, 6)} == {1}


def test_crossed_residuals_have_an_autoencoder_of_every_fold() -> None:
    plan = Plan.read("cpu")
    names = ["plain", "plain.fold2", "plain.fold3", "plain.fold4", "plain.fold5"]
    assert plan.autoencoders_of("crossed") == names
    assert [plan.train_settings(name).get("fold", 1) for name in names] == [1, 2, 3, 4, 5]
    assert plan.rows["two-channels"].finetune == {"residuals": "crossed"}
    assert [plan.score_autoencoder("score", fold) for fold in range(1, 6)] == names
    assert "crossed" not in plan.residual_settings("crossed")


def test_with_the_labels_of_10_percent_only_nothing_is_shared_between_folds() -> None:
    plan = Plan.read("cpu")
    assert [plan.seed_of("labels10", fold) for fold in range(1, 6)] == [1, 2, 3, 4, 5]
    assert plan.residuals_of("labels10", 3) == "labels10.fold3"
    assert plan.residuals_of("calibrated", 2) == "calibrated"
    assert plan.autoencoders_of("labels10.fold3") == ["labels10.fold3"]
    found = plan.train_settings("labels10.fold3")
    assert (found["normal_fraction"], found["fold"]) == (0.1, 3)
    assert plan.residual_settings("labels10.fold3") == plan.residual_settings("labels10")
    assert plan.percents("labels") == (10,)


def test_one_division_has_no_autoencoder_that_has_not_learnt_from_its_training_crops(
    toy_store: CropStore, tmp_path: Path
) -> None:
    bare = write_store(tmp_path / "bare", toy_store.crops[:4], toy_store.table[:4])
    assert "one division" in Plan.read("cpu", bare.folder).open_rows("beyond")["two-channels"]


def test_residual_maps_that_reach_1_are_stored_without_a_gain_that_would_cut_them() -> None:
    plan = Plan.read("cpu")
    for name in ("otsu", "percentile", "crossed"):
        assert plan.residual_settings(name)["gain"] == 1.0


def test_transfer_stays_open_and_says_why_without_its_file() -> None:
    plan = Plan.read("cpu")
    assert "resnet_18_23dataset.pth" in plan.open_rows("table2")["transfer"]
    assert "transfer" not in plan.closed_rows("table2")
    given = Plan.read("paper", medicalnet="file.pth")
    assert given.open_rows("table2") == {}
    assert given.pretrain_settings("transfer")["options"]["file"].endswith("file.pth")


def test_the_oracle_stays_open_where_no_lesion_is_known(
    toy_store: CropStore, tmp_path: Path
) -> None:
    assert "oracle" in Plan.read("cpu").closed_rows("table2")
    bare = write_store(tmp_path / "bare", toy_store.crops[:2], toy_store.table[:2])
    assert "without lesion masks" in Plan.read("cpu", bare.folder).open_rows("table2")["oracle"]


def test_pages_say_simulated_as_the_store_says_it(toy_store: CropStore, tmp_path: Path) -> None:
    assert Plan.read("smoke").compare_settings("loss")["simulated"]
    assert Plan.read("smoke", toy_store.folder).compare_settings("loss")["simulated"]
    info = {"simulated": False}
    real = write_store(tmp_path / "real", toy_store.crops[:2], toy_store.table[:2], info=info)
    assert not Plan.read("smoke", real.folder).compare_settings("loss")["simulated"]
    with pytest.raises(BadStore, match="no crop store"):
        Plan.read("smoke", tmp_path)


def test_a_small_encoder_cannot_take_over_full_size_weights() -> None:
    plan = Plan.read("cpu", medicalnet="file.pth")
    assert "64, 128, 256, 512" in plan.open_rows("table2")["transfer"]


def test_settings_are_merged_one_by_one() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(base, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}
    assert base["a"] == {"b": 1, "c": 2}


def test_unchanged_settings_are_not_written_again(tmp_path: Path) -> None:
    plan = Plan.read("smoke")
    path = plan.write(tmp_path / "s.yaml", {"epochs": 1, "seed": 3})
    before = path.stat().st_mtime_ns
    plan.write(path, {"seed": 3, "epochs": 1})
    assert path.stat().st_mtime_ns == before, "their order says nothing"
    assert plan.write(path, {"epochs": 2}).read_text() == "epochs: 2\n"
    path.write_text("{")
    assert plan.write(path, {"epochs": 2}).read_text() == "epochs: 2\n"


def test_wrong_names_are_answered_with_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cpu, paper, smoke"):
        Plan.read("tiny")
    with pytest.raises(BadConfig, match="table2"):
        Plan.read("smoke").experiment("table9")
    (tmp_path / "own.yaml").write_text("epochs: 3\n")
    with pytest.raises(BadConfig, match="epochs"):
        Plan.read(str(tmp_path / "own.yaml"))
