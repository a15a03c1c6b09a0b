"""Simulated patients with a left and a right maxillary sinus, written as a crop store.

Everything about a patient follows from (seed, patient number), so the cohort is the same whatever the
number of processes, and any crop can be made again alone.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from paranasal_training.cohort.acquisition import (
    Acquisition,
    acquire,
    draw_acquisition,
)
from paranasal_training.cohort.anatomy import Anatomy, paint_procedural
from paranasal_training.cohort.config import PAPER_PATIENTS, SimulateConfig
from paranasal_training.cohort.contrast import Contrast, draw_contrast
from paranasal_training.cohort.donors import Donor, load_donors, paint_donor
from paranasal_training.cohort.fields import SIZE
from paranasal_training.cohort.geometry import draw_variant
from paranasal_training.cohort.lesions import (
    draw_least_depth_mm,
    draw_signal,
    draw_volume_ml,
    grow_lesion,
    paint_lesion,
)
from paranasal_training.data.store import StoreWriter
from ParanasalSSLLib.crop import CropConfig, scale_intensities
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Kind, Side

# The paper's cohort (2.1): 1067 labelled patients, 489 with both sides normal, 870 of 2134 sides
# anomalous, so 292 of the other 578 patients on both sides; 1559 unlabelled patients.
PAPER_BOTH_NORMAL, PAPER_BOTH_ANOMALOUS = 489, 292
# The paper does not say how often each kind occurs; these follow the literature on incidental findings.
KIND_SHARES = {Kind.THICKENING: 0.45, Kind.POLYP: 0.15, Kind.CYST: 0.28, Kind.FULL: 0.12}


@dataclass(frozen=True)
class PatientPlan:
    """What a patient is to be: the kinds of both sides and the part of the cohort."""

    number: int
    kinds: dict[Side, Kind]
    split: str  # train | validation | test | unlabelled


@dataclass(frozen=True, eq=False)
class SimulatedSinus:
    """One crop: uint8 (64, 64, 64), bool lesion mask (visible part), and its table row."""

    crop: np.ndarray
    lesion: np.ndarray
    row: dict[str, Any]


def plan_cohort(config: SimulateConfig) -> list[PatientPlan]:
    """Kinds and splits of all patients, in the paper's proportions; both sides of one share a split.

    Raises:
        BadConfig: numbers of patients that cannot be split.
    """
    if config.patients < 10 or config.unlabelled < 0:
        raise BadConfig("simulate needs at least 10 labelled patients and no negative numbers.")
    if not 0 < config.test_fraction < config.test_fraction + config.validation_fraction < 1:
        raise BadConfig("test_fraction and validation_fraction are above 0 and together below 1.")
    rng = np.random.default_rng([config.seed, 0xC0])
    both_normal = round(config.patients * PAPER_BOTH_NORMAL / PAPER_PATIENTS)
    both_anomalous = round(config.patients * PAPER_BOTH_ANOMALOUS / PAPER_PATIENTS)
    anomalous_sides = [0] * both_normal + [2] * both_anomalous
    anomalous_sides += [1] * (config.patients - len(anomalous_sides))
    plans: list[PatientPlan] = []
    for sides in (0, 1, 2):  # splitting each stratum keeps the class ratio in every split
        members = anomalous_sides.count(sides)
        for share in rng.permutation((np.arange(members) + 0.5) / members):
            split = _split_of(share, config)
            plans.append(PatientPlan(len(plans), _draw_kinds(sides, rng), split))
    shares = np.array([both_normal, config.patients - both_normal - both_anomalous, both_anomalous])
    for sides in rng.choice(3, config.unlabelled, p=shares / shares.sum()):
        plans.append(PatientPlan(len(plans), _draw_kinds(int(sides), rng), "unlabelled"))
    return plans


def _split_of(share: float, config: SimulateConfig) -> str:
    if share < config.test_fraction:
        return "test"
    return "validation" if share < config.test_fraction + config.validation_fraction else "train"


def _draw_kinds(anomalous_sides: int, rng: np.random.Generator) -> dict[Side, Kind]:
    sides = rng.permutation([Side.LEFT, Side.RIGHT])[:anomalous_sides]
    kinds, shares = list(KIND_SHARES), list(KIND_SHARES.values())
    return {s: kinds[rng.choice(4, p=shares)] if s in sides else Kind.NORMAL for s in Side}


class PatientSimulator:
    """Makes the two sinuses of a planned patient. Holds the donors, so one instance a process."""

    def __init__(self, config: SimulateConfig, donors: list[Donor]) -> None:
        self.config = config
        self.donors = donors

    def __call__(self, plan: PatientPlan) -> list[SimulatedSinus]:
        rng = np.random.default_rng([self.config.seed, 1, plan.number])
        contrast = draw_contrast(rng, self.config.contrast)
        settings = draw_acquisition(rng, self.config.acquisition)
        head = self._draw_head(rng)
        return [
            self._sinus(plan, side, head.get(side), contrast, settings, rng)
            for side in (Side.LEFT, Side.RIGHT)
        ]

    def _draw_head(self, rng: np.random.Generator) -> dict[Side, Donor]:
        """The donors of both sides (of any head: mirrored sinuses are interchangeable), or none."""
        if not self.donors or rng.random() >= self.config.donor_fraction:
            return {}
        return {side: self.donors[rng.integers(len(self.donors))] for side in Side}

    def _sinus(
        self,
        plan: PatientPlan,
        side: Side,
        donor: Donor | None,
        contrast: Contrast,
        settings: Acquisition,
        rng: np.random.Generator,
    ) -> SimulatedSinus:
        variant = draw_variant(rng, self.config.geometry)
        if donor is None:
            anatomy = paint_procedural(variant, contrast, rng)
        else:
            anatomy = paint_donor(donor, variant, rng, self.config.geometry, self.config.contrast)
        kind = plan.kinds[side]
        image, lesion, lumen_ml = self._with_lesion(anatomy, kind, settings, rng)
        scanned, inside = acquire(torch.from_numpy(image), settings, rng)
        scaled, _ = scale_intensities(scanned.numpy(), CropConfig(), inside.numpy())
        lesion &= inside.numpy()
        if lesion.sum() < 1000 * self.config.lesions.least_seen_ml:
            kind, lesion = Kind.NORMAL, np.zeros_like(lesion)
        unlabelled = plan.split == "unlabelled"
        row = {
            "patient": f"sim-{plan.number:05d}",
            "side": side.value,
            "class": None if unlabelled else int(kind),
            "label": None if unlabelled else int(kind != Kind.NORMAL),
            "split": plan.split,
            "source": "procedural" if donor is None else f"donor:{donor.name}",
            "quality": "ok",
            "true_class": int(kind),
            "lesion_ml": round(float(lesion.sum()) / 1000, 3),
            "lumen_ml": round(lumen_ml, 2),
            "slice_mm": round(settings.slice_mm, 2),
            "slice_axis": settings.slice_axis,
            "noise": round(settings.noise, 4),
            "cut_mm": round(settings.outside_mm, 1),
        }
        return SimulatedSinus(np.round(scaled * 255).astype(np.uint8), lesion, row)

    def _with_lesion(
        self, anatomy: Anatomy, kind: Kind, settings: Acquisition, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        image, lumen = anatomy.image.numpy(), anatomy.lumen.numpy() > 0.5
        lumen_ml = float(lumen.sum()) / 1000
        if kind == Kind.NORMAL or not lumen.any():
            return image, np.zeros((SIZE, SIZE, SIZE), bool), lumen_ml
        spread = self.config.lesions
        volume_ml = draw_volume_ml(kind, lumen_ml, spread, rng)
        least_mm = draw_least_depth_mm(spread, settings.slice_mm, rng)
        lesion = grow_lesion(lumen, kind, volume_ml, rng, least_mm)
        signal = draw_signal(anatomy.lesion_signal, image, lumen, spread, rng)
        return paint_lesion(image, lesion, signal, rng), lesion, lumen_ml


_simulator: PatientSimulator | None = None


def _start_process(config: SimulateConfig, donors: list[Donor]) -> None:
    global _simulator
    torch.set_num_threads(1)
    _simulator = PatientSimulator(config, donors)


def _simulate_one(plan: PatientPlan) -> list[SimulatedSinus]:
    assert _simulator is not None
    return _simulator(plan)


def simulate(config: SimulateConfig, output: Path) -> Path:
    """Simulate a cohort and write it as a crop store; returns the store's folder.

    Raises:
        BadConfig: an impossible number of patients, or a donor folder without a usable head.
    """
    plans = plan_cohort(config)
    donors = load_donors(config.donors) if config.donors else []
    info = {"simulated": True, "donors": [d.name for d in donors], "config": _plain(config)}
    context = multiprocessing.get_context("spawn")
    with (
        StoreWriter(output, rows=2 * len(plans), lesions=True, info=info) as writer,
        context.Pool(config.processes, _start_process, (config, donors)) as pool,
    ):
        patients = pool.imap(_simulate_one, plans, chunksize=4)
        for sinuses in tqdm(patients, total=len(plans), desc="simulated patients"):
            for sinus in sinuses:
                writer.append(sinus.crop, sinus.row, sinus.lesion)
    return Path(output)


def _plain(config: SimulateConfig) -> dict[str, Any]:
    """The configuration for the record; the donors' folder is a path of one machine, so left out."""
    return asdict(config) | {"donors": config.donors is not None}


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Sides by split and class, as in the paper's Table 1."""
    return pd.crosstab(table["split"], table["true_class"])
