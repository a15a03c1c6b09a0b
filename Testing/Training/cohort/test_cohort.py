"""The simulated cohort: anatomy, lesions, acquisition, plan, whole heads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from paranasal_training.cohort.acquisition import acquire, draw_acquisition
from paranasal_training.cohort.anatomy import paint_procedural
from paranasal_training.cohort.config import (
    PAPER_PATIENTS,
    AcquisitionRange,
    GeometryRange,
    HeadConfig,
    SimulateConfig,
)
from paranasal_training.cohort.contrast import draw_contrast
from paranasal_training.cohort.donors import load_donors, outline_air, paint_donor
from paranasal_training.cohort.geometry import draw_variant
from paranasal_training.cohort.heads import simulate_head
from paranasal_training.cohort.lesions import grow_lesion, paint_lesion
from paranasal_training.cohort.simulate import PatientSimulator, plan_cohort, simulate
from paranasal_training.data.store import CropStore
from scipy import ndimage

from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.sinuses import Kind, Side

ANOMALIES = [kind for kind in Kind if kind != Kind.NORMAL]


def healthy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image and lumen of a procedural sinus in the middle of its cube."""
    rng = np.random.default_rng(seed)
    still = GeometryRange(shift_sd_mm=(0, 0, 0), hypoplastic_fraction=0, pneumatised_fraction=0)
    anatomy = paint_procedural(draw_variant(rng, still), draw_contrast(rng), rng)
    return anatomy.image.numpy(), anatomy.lumen.numpy() > 0.5


def test_a_sinus_holds_a_plausible_volume_of_dark_air() -> None:
    volumes = []
    for seed in range(6):
        image, lumen = healthy(seed)
        volumes.append(lumen.sum() / 1000)
        assert image[lumen].mean() < 0.3 * np.percentile(image, 95)
    assert 8 < np.median(volumes) < 30


@pytest.mark.parametrize("kind", ANOMALIES)
def test_lesions_have_the_volume_asked_for_and_stay_in_the_air(kind: Kind) -> None:
    _, lumen = healthy()
    lesion = grow_lesion(lumen, kind, 3.0, np.random.default_rng(1))
    assert lesion.sum() == 3000
    assert not (lesion & ~lumen).any()


def test_lesions_grow_from_the_wall_except_where_they_fill_the_sinus() -> None:
    _, lumen = healthy()
    depth = ndimage.distance_transform_edt(lumen)
    for kind in (Kind.THICKENING, Kind.CYST, Kind.POLYP):
        lesion = grow_lesion(lumen, kind, 1.0, np.random.default_rng(2))
        assert depth[lesion].min() < 2, kind
    band = grow_lesion(lumen, Kind.THICKENING, 1.0, np.random.default_rng(2))
    dome = grow_lesion(lumen, Kind.CYST, 1.0, np.random.default_rng(2))
    assert depth[band].mean() < depth[dome].mean()


def test_a_lesion_needs_a_lumen() -> None:
    with pytest.raises(ValueError, match="lumen"):
        grow_lesion(np.zeros((8, 8, 8), bool), Kind.CYST, 1.0, np.random.default_rng(0))


def test_a_painted_lesion_is_bright_inside_and_nothing_changes_far_away() -> None:
    image, lumen = healthy()
    lesion = grow_lesion(lumen, Kind.CYST, 4.0, np.random.default_rng(3))
    painted = paint_lesion(image, lesion, 0.8, np.random.default_rng(3))
    assert painted[lesion].mean() > 0.6
    far = ndimage.distance_transform_edt(~lesion) > 5
    np.testing.assert_array_equal(painted[far], image[far])


def test_acquisition_keeps_the_place_of_things() -> None:
    blob = torch.zeros(64, 64, 64)
    blob[38:46, 18:26, 28:36] = 1.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        settings = draw_acquisition(rng, AcquisitionRange(fraction_ghost=0, fraction_cut=0))
        scanned, inside = acquire(blob, settings, rng)
        assert inside.all()
        bright = np.argwhere(scanned.numpy() > 0.5 * float(scanned.max()))
        assert np.linalg.norm(bright.mean(axis=0) - [41.5, 21.5, 31.5]) < 2.5, settings


def test_a_cut_field_of_view_is_zero_and_marked_as_outside() -> None:
    rng = np.random.default_rng(0)
    settings = draw_acquisition(rng, AcquisitionRange(fraction_cut=1.0))
    scanned, inside = acquire(torch.ones(64, 64, 64), settings, rng)
    assert 0 < (~inside).sum() < 64**3 / 2
    assert (scanned[~inside] == 0).all()


def test_the_plan_follows_the_papers_counts() -> None:
    plans = plan_cohort(SimulateConfig())
    labelled = [plan for plan in plans if plan.split != "unlabelled"]
    sides = Counter(kind != Kind.NORMAL for plan in labelled for kind in plan.kinds.values())
    assert len(labelled) == PAPER_PATIENTS
    assert (sides[False], sides[True]) == (1264, 870)  # Table 1, all splits together
    splits = Counter(plan.split for plan in labelled)
    assert abs(splits["test"] / PAPER_PATIENTS - 0.30) < 0.01
    assert abs(splits["validation"] / PAPER_PATIENTS - 0.14) < 0.01
    assert len({plan.number for plan in plans}) == len(plans)


def test_a_patient_is_the_same_whenever_it_is_made() -> None:
    config = SimulateConfig(patients=20, unlabelled=0, seed=5)
    plan = plan_cohort(config)[7]
    first, again = (PatientSimulator(config, [])(plan) for _ in range(2))
    other = PatientSimulator(SimulateConfig(patients=20, unlabelled=0, seed=6), [])(plan)
    np.testing.assert_array_equal(first[0].crop, again[0].crop)
    assert first[1].row == again[1].row
    assert not np.array_equal(first[0].crop, other[0].crop)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(BadConfig, match="at least 10"):
        plan_cohort(SimulateConfig(patients=3))


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated head with an opacified left sinus."""
    folder = tmp_path_factory.mktemp("donors")
    config = HeadConfig(left="full", right="normal", spacing_mm=2.0, seed=1)
    return simulate_head(config, folder / "head.nii.gz")


def test_a_simulated_head_is_localised_with_its_lesion_on_the_right_side(head: Path) -> None:
    volume = read_volume(head)
    where = find_boxes(volume)
    assert where.quality.verdict == "ok"
    middle = {side: cut_crop(volume, box).data[26:38, 26:38, 26:38].mean()
              for side, box in where.boxes.items()}  # fmt: skip
    assert middle[Side.LEFT] > 0.4 > 0.25 > middle[Side.RIGHT]


def test_donors_lend_their_healthy_sinus_only(head: Path) -> None:
    donors = load_donors(head.parent)
    assert [donor.name for donor in donors] == ["head:right"]
    rng = np.random.default_rng(0)
    anatomy = paint_donor(donors[0], draw_variant(rng, GeometryRange()), rng)
    air = anatomy.lumen.numpy() > 0.5
    assert 2 < air.sum() / 1000 < 45
    assert anatomy.image.numpy()[air].mean() < 0.25


def test_outlined_air_agrees_with_the_lumen_that_was_painted() -> None:
    image, lumen = healthy(4)
    found = outline_air(np.clip(image / np.percentile(image, 99), 0, 1).astype(np.float32))
    assert 2 * (found & lumen).sum() / (found.sum() + lumen.sum()) > 0.85


def test_a_folder_without_a_head_is_no_donor(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No usable healthy head"):
        load_donors(tmp_path)


def test_an_unknown_lesion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cyst"):
        simulate_head(HeadConfig(left="tumour"), tmp_path / "head.nii.gz")


@pytest.mark.slow
def test_a_cohort_is_written_as_a_store(tmp_path: Path) -> None:
    config = SimulateConfig(patients=10, unlabelled=2, processes=1)
    store = CropStore.open(simulate(config, tmp_path / "crops"))
    assert store.info["simulated"] is True
    assert len(store.table) == 24
    assert store.table.groupby("patient")["split"].nunique().max() == 1
    assert store.table["label"].isna().sum() == 4
    assert store.lesions is not None
    anomalous = (store.table["true_class"] > 0).to_numpy()
    has_lesion = np.array([mask.any() for mask in store.lesions])
    assert not has_lesion[~anomalous].any()
    assert has_lesion[anomalous].mean() > 0.8  # a lesion may lie outside a cut image
