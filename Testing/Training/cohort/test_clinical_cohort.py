"""The options of the simulator that make crops more like clinical scans; off, nothing changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from paranasal_training.cohort.anatomy import paint_procedural
from paranasal_training.cohort.config import (
    AcquisitionRange,
    ArtefactRange,
    GeometryRange,
    SimulateConfig,
    StackRange,
)
from paranasal_training.cohort.contrast import TYPICAL
from paranasal_training.cohort.geometry import draw_variant
from paranasal_training.cohort.lesions import grow_lesion
from paranasal_training.cohort.simulate import PatientPlan, PatientSimulator
from paranasal_training.cohort.stack import HALF_MM, SliceStack, draw_stack, slice_positions
from paranasal_training.commands import COMMANDS
from scipy import ndimage

from ParanasalSSLLib.cli.main import run_command
from ParanasalSSLLib.sinuses import Kind, Side

PLAN = PatientPlan(3, {Side.LEFT: Kind.NORMAL, Side.RIGHT: Kind.THICKENING}, "train")


def crops(config: SimulateConfig) -> np.ndarray:
    return np.stack([sinus.crop for sinus in PatientSimulator(config, [])(PLAN)])


def test_with_shares_of_zero_the_cohort_stays_as_it_was() -> None:
    off = AcquisitionRange(
        stack=StackRange(fraction=0.0, fraction_end=1.0), artefacts=ArtefactRange(ghost=(0.5, 0.5))
    )
    assert np.array_equal(crops(SimulateConfig()), crops(SimulateConfig(acquisition=off)))


@pytest.mark.parametrize(
    "acquisition",
    [
        AcquisitionRange(stack=StackRange(fraction=1.0)),
        AcquisitionRange(artefacts=ArtefactRange(fraction_ghost=1.0)),
        AcquisitionRange(artefacts=ArtefactRange(fraction_susceptibility=1.0)),
    ],
)
def test_each_option_changes_the_scan_and_is_repeatable(acquisition: AcquisitionRange) -> None:
    config = SimulateConfig(acquisition=acquisition)
    changed = crops(config)
    assert not np.array_equal(changed, crops(SimulateConfig()))
    assert np.array_equal(changed, crops(config))


def test_a_fat_pad_is_painted_behind_the_sinus_and_only_when_asked() -> None:
    spread = GeometryRange(fat_pad_fraction=1.0, fat_pad_mm=(8.0, 8.0))
    rng = np.random.default_rng
    plain, padded = (draw_variant(rng(3), each) for each in (GeometryRange(), spread))
    assert (plain.fat_pad_mm, padded.fat_pad_mm) == (0.0, 8.0)
    assert np.array_equal(plain.shift_mm, padded.shift_mm)
    before, after = (paint_procedural(v, TYPICAL["t1"], rng(4)) for v in (plain, padded))
    assert torch.equal(before.lumen, after.lumen), "the air stays where it was"
    changed = np.argwhere((after.image - before.image).abs().numpy() > 0.2)
    assert len(changed) > 1000
    assert changed[:, 1].mean() < 32, "behind the middle of the cube"


def test_a_stack_has_the_spacing_and_ends_where_it_should() -> None:
    stack = draw_stack(np.random.default_rng(0), StackRange(fraction=1, fraction_end=1), 2, 5.0)
    centers = slice_positions(stack, 50.0)
    assert np.allclose(np.diff(centers), 5.0)
    assert (stack.end_side * centers).max() <= HALF_MM - stack.end_mm
    whole: SliceStack = replace(stack, end_mm=0.0)
    assert slice_positions(whole, 50.0).max() > 45


def test_a_thickening_is_nowhere_thinner_than_asked() -> None:
    air = np.zeros((64, 64, 64), bool)
    air[16:48, 16:48, 16:48] = True
    rng = np.random.default_rng(1)
    depth = ndimage.distance_transform_edt(air)
    lesion = grow_lesion(air, Kind.THICKENING, 4.0, rng, least_depth_mm=3.0)
    thin = grow_lesion(air, Kind.THICKENING, 4.0, np.random.default_rng(1))
    assert lesion.sum() == pytest.approx(4000, rel=0.1)
    assert depth[lesion].max() >= 3.0
    # The same volume covers less of the wall when it has to be deep.
    assert (lesion & (depth == 1)).sum() < (thin & (depth == 1)).sum()


def test_the_recipe_of_the_shipped_model_is_accepted(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[3] / "Training/bundle/simulate.yaml"
    assert yaml.safe_load(recipe.read_text())["acquisition"]["stack"]["fraction"] == 1.0
    command = next(c for c in COMMANDS if c.name == "simulate")
    words = ["--config", str(recipe), "--patients", "10", "--unlabelled", "1"]
    words += ["--test_fraction", "0.3", "--validation_fraction", "0.2", "--processes", "1"]
    assert run_command(command, [*words, "--output", str(tmp_path / "crops")]) == 0
