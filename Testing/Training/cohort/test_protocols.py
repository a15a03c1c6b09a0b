"""One protocol and many: how alike a cohort's scans are."""

from __future__ import annotations

from pathlib import Path

import jsonargparse
import numpy as np
import pytest
from paranasal_training.cohort.acquisition import draw_acquisition
from paranasal_training.cohort.config import AcquisitionRange, ContrastRange, SimulateConfig
from paranasal_training.cohort.contrast import TYPICAL, draw_contrast, draw_curve
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.plan import Plan

from ParanasalSSLLib.errors import BadConfig


def cohort(name: str) -> SimulateConfig:
    """The settings of a cohort that comes with the package, as the command takes them."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SimulateConfig)
    settings = parser.parse_object(Plan.read("cpu", cohort=name).simulate_settings())
    return SimulateConfig(**vars(parser.instantiate_classes(settings)))


def test_scans_of_one_protocol_are_alike_and_near_the_hamburg_study_s() -> None:
    config = cohort("one-protocol")
    rng = np.random.default_rng(0)
    scans = [draw_acquisition(rng, config.acquisition) for _ in range(200)]
    assert {scan.slice_axis for scan in scans} == {0}
    assert {round(scan.slice_mm, 1) for scan in scans} <= {0.8, 0.9, 1.0}
    assert all(0.7 <= scan.in_plane_mm <= 0.8 and scan.noise < 0.03 for scan in scans)
    contrasts = [draw_contrast(rng, config.contrast) for _ in range(200)]
    for tissue in ("fat", "mucosa", "muscle"):
        values = np.array([getattr(contrast, tissue) for contrast in contrasts])
        assert np.median(values) == pytest.approx(getattr(TYPICAL["flair"], tissue), rel=0.03)
        assert np.log(values).std() == pytest.approx(0.05, rel=0.2)
    knots, values = draw_curve(rng, config.contrast)
    assert np.abs(values - knots).max() < 0.06, "a donor keeps the contrast of its scan"


def test_many_is_what_the_simulator_does_by_itself() -> None:
    assert cohort("many") == SimulateConfig(seed=2024)
    assert Plan.read("cpu").simulate_settings() == {"seed": 2024}


def test_a_cohort_has_a_folder_of_its_own_and_is_said(tmp_path: Path) -> None:
    config = ExperimentConfig(name="table2", cohort="one-protocol", donors=tmp_path)
    assert config.folder == Path("experiments/cpu-one-protocol")
    assert ExperimentConfig(name="table2").folder == Path("experiments/cpu")
    plan = Plan.read("cpu", cohort="one-protocol", donors=tmp_path)
    assert plan.simulate_settings()["donors"] == str(tmp_path)
    command = plan.compare_settings("table2")["experiment"]["Command"]
    assert command.endswith("table2 --preset cpu --cohort one-protocol --donors HEADS")


def test_own_crops_are_of_no_cohort() -> None:
    with pytest.raises(BadConfig, match="simulated"):
        ExperimentConfig(name="table2", crops=Path("crops"), cohort="many")
    with pytest.raises(BadConfig, match="one-protocol"):
        Plan.read("cpu", cohort="two-protocols")


def test_contrasts_that_there_are_not_are_refused() -> None:
    with pytest.raises(BadConfig, match="fat_suppressed"):
        ContrastRange(fractions={"dwi": 1.0})
    with pytest.raises(BadConfig, match="above 0"):
        ContrastRange(fractions={"t1": 0.0})


@pytest.mark.parametrize("axes", [(0.5, 0.5, 0.5), (-0.5, 0.5, 1.0)])
def test_directions_of_slices_that_are_no_fractions_are_refused(axes: tuple[float, ...]) -> None:
    with pytest.raises(BadConfig, match="together 1"):
        AcquisitionRange(slice_axes=axes)  # type: ignore[arg-type]
