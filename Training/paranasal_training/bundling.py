"""From finished runs to a model bundle: residual thresholds, calibration, decision threshold."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.bundle import Bundle, BundleCard, save_bundle
from ParanasalSSLLib.calibration import Calibration
from ParanasalSSLLib.crop import CropConfig
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.networks import CAE
from ParanasalSSLLib.predict import resolve_device
from ParanasalSSLLib.residual import (
    MaskConfig,
    ResidualConfig,
    air_share,
    anomaly_mask,
    mask_evidence,
)

from .evaluate import dice, evaluate_run
from .modelcard import ModelCardConfig, write_model_card
from .stages.cae import load_cae
from .stages.finetune import load_classifier
from .stages.residuals import residual_pairs
from .store import CropStore

logger = logging.getLogger(__name__)

INTENDED_USE = (
    "Research on anomalies of the maxillary sinuses in head MRI. Not a medical device; gives no "
    "diagnosis."
)
LEVELS = tuple(n / 10 for n in range(8, 41))
LOOK_AT = 500  # lesions whose masks are compared


@dataclass(frozen=True)
class ThresholdConfig:
    """How the threshold of each voxel of the cube is learnt from healthy validation sinuses.

    Only the region where healthy sinuses hold air is ever marked: orbit, cheek and nose differ from
    person to person and are not judged.
    One half of the patients gives the quantile of the residual at each voxel; on the other half each
    level is raised until a share of the sinuses shows no more than some ml: nearly all of them next
    to nothing for sinuses that are called normal, half of them little for those called anomalous.
    """

    quantile: float = 0.97
    smoothing_mm: float = 2.0
    floor: float = 0.05  # evidence below this is never called anomalous at level 1
    air_share: float = 0.5  # of the healthy reconstructions, that makes a voxel part of the region
    margin_mm: float = 3.0  # around the region
    normal_share: float = 0.95
    normal_ml: float = 0.5
    anomalous_share: float = 0.5
    anomalous_ml: float = 1.0


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """`paranasal bundle`."""

    store: Path  # crop store
    cae: Path  # folder of a finished `train` run
    classifier: Path  # folder of a finished `finetune` run
    output: Path  # folder of the bundle
    name: str = "compact"
    version: str = "1"
    licence: str = "Apache-2.0"
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    minimum_part_voxels: int = 100
    thresholds: ThresholdConfig = field(default_factory=ThresholdConfig)


@dataclass(frozen=True, eq=False)
class HealthyResiduals:
    """What residuals of healthy sinuses look like.

    thresholds: float32 (64, 64, 64); mask: with the calibrated levels; facts: for the record.
    """

    thresholds: np.ndarray
    mask: MaskConfig
    facts: dict[str, Any]


def make_bundle(config: BundleConfig) -> Path:
    """Fit everything that is fitted on validation, and write the bundle; returns its folder.

    Raises:
        BadStore, BadCheckpoint: an input is missing, damaged or unfinished.
        BadConfig: the runs were trained on other crops than `store`.
    """
    store = CropStore.open(config.store)
    cae, cae_run = load_cae(config.cae)
    classifier, classifier_run = load_classifier(config.classifier)
    for run in (cae_run, classifier_run):
        if run.record["store"] != store.checksum:
            raise BadConfig(
                f"{run.folder} was trained on other crops than those in {store.folder}."
            )
    evaluation = config.classifier / "evaluation"
    metrics = evaluate_run(store, classifier, classifier_run, evaluation, resolve_device())
    healthy = learn_healthy(cae, store, config)
    card = BundleCard(
        name=config.name,
        version=config.version,
        cae=cae.config,
        classifier=classifier.config,
        crop=CropConfig(),
        residual=config.residual,
        mask=healthy.mask,
        calibration=Calibration(**metrics["calibration"]),
        decision_threshold=metrics["threshold"],
        simulated=bool(store.info.get("simulated", False)),
        intended_use=INTENDED_USE,
        licence=config.licence,
        training={
            "cohort": store.info,
            "cae": _run_facts(cae_run.record),
            "classifier": _run_facts(classifier_run.record),
            "metrics": {k: v for k, v in metrics.items() if k != "classifier"},
            "masks": healthy.facts | _mask_dice(cae, store, config, healthy),
        },
    )
    bundle = Bundle(card, cae, classifier, healthy.thresholds)
    save_bundle(bundle, config.output, model_card="")
    return write_model_card(ModelCardConfig(bundle=config.output))


def learn_healthy(cae: CAE, store: CropStore, config: BundleConfig) -> HealthyResiduals:
    """Thresholds from one half of the healthy validation patients, their level from the other."""
    rows = store.rows("validation", label=0)
    patients = store.table["patient"].to_numpy()[rows]
    first = np.isin(patients, np.unique(patients)[::2])
    if not first.any() or first.all():
        raise BadStore(f"{store.folder}: too few healthy validation sinuses to learn thresholds.")
    rules = config.thresholds
    pairs = list(residual_pairs(cae, store.crops[rows], config.residual))
    evidence = np.stack([mask_evidence(residual, rebuilt) for residual, rebuilt in pairs])
    air = np.mean([air_share(rebuilt) for _, rebuilt in pairs], axis=0)
    thresholds = np.quantile(evidence[first], rules.quantile, axis=0)
    thresholds = ndimage.gaussian_filter(thresholds, rules.smoothing_mm)
    # Rounded as it will be stored, so that the calibration holds for the stored numbers.
    thresholds = np.maximum(thresholds, rules.floor).astype(np.float16).astype(np.float32)
    thresholds[~sinus_region(air, rules)] = np.inf
    shown = _shown_by_level(evidence[~first], thresholds, config.minimum_part_voxels)
    normal = _lowest_level(shown, rules.normal_share, rules.normal_ml)
    anomalous = min(normal, _lowest_level(shown, rules.anomalous_share, rules.anomalous_ml))
    facts: dict[str, Any] = {
        "region_ml": round(float(np.isfinite(thresholds).sum()) / 1000, 1),
        "thresholds": asdict(rules),
        "healthy_sinuses": len(rows),
        "healthy_ml_95_percent": {
            "called normal": round(float(np.quantile(shown[normal], 0.95)), 2),
            "called anomalous": round(float(np.quantile(shown[anomalous], 0.95)), 2),
        },
    }
    mask = MaskConfig(normal, anomalous, config.minimum_part_voxels)
    return HealthyResiduals(thresholds, mask, facts)


def sinus_region(air: np.ndarray, rules: ThresholdConfig) -> np.ndarray:
    """Where a sinus may be: the part with air that holds the cube's centre, and a margin.

    Args:
        air: (n, n, n), mean `air_share` of healthy reconstructions.
        rules: the share that counts as air, and the margin.

    Raises:
        BadStore: there is no air in the middle of the cube.
    """
    parts, _ = ndimage.label(ndimage.binary_opening(air > rules.air_share, iterations=2))
    middle = parts[tuple(n // 2 for n in air.shape)]
    if middle == 0:
        raise BadStore("The healthy crops have no air in their middle: are they of sinuses?")
    return ndimage.binary_dilation(parts == middle, iterations=max(1, round(rules.margin_mm)))


def _evidence(cae: CAE, store: CropStore, rows: np.ndarray, config: BundleConfig) -> np.ndarray:
    """float32 (n, 64, 64, 64) `mask_evidence` of rows."""
    pairs = residual_pairs(cae, store.crops[rows], config.residual)
    return np.stack([mask_evidence(residual, rebuilt) for residual, rebuilt in pairs])


def _shown_by_level(
    evidence: np.ndarray, thresholds: np.ndarray, smallest: int
) -> dict[float, np.ndarray]:
    """For each level, the ml of mask that each healthy sinus shows."""
    shown = {}
    for level in LEVELS:
        mask = MaskConfig(level, level, smallest)
        found = [anomaly_mask(one, thresholds, True, mask).sum() / 1000 for one in evidence]
        shown[level] = np.array(found)
    return shown


def _lowest_level(shown: dict[float, np.ndarray], share: float, ml: float) -> float:
    for level, volumes in shown.items():
        if np.quantile(volumes, share) <= ml:
            return level
    logger.warning("healthy sinuses show more than %.2f ml even at the highest level", ml)
    return max(shown)


def _mask_dice(
    cae: CAE, store: CropStore, config: BundleConfig, healthy: HealthyResiduals
) -> dict[str, Any]:
    """Dice of masks (at the level for anomalous sinuses) of simulated test lesions of 2 ml or more.

    Nothing where the store has no lesion masks.
    """
    if store.lesions is None or "lesion_ml" not in store.table:
        return {}
    rows = store.rows("test", label=1)
    rows = rows[store.table["lesion_ml"].to_numpy()[rows] >= 2.0][:LOOK_AT]
    if not len(rows):
        return {}
    found = []
    for row, evidence in zip(rows, _evidence(cae, store, rows, config), strict=True):
        mask = anomaly_mask(evidence, healthy.thresholds, True, healthy.mask)
        found.append(dice(mask, store.lesions[row] > 0))
    return {"dice_2ml": round(float(np.mean(found)), 3), "dice_lesions": len(rows)}


def _run_facts(record: dict[str, Any]) -> dict[str, Any]:
    """What the bundle keeps of a run's record: no paths of the machine."""
    facts = {k: record[k] for k in ("best_epoch", "val_loss", "train_crops", "seconds", "torch")}
    config = dict(record["config"])
    for name in ("pretrained", "residuals"):
        if name in config:
            config[name] = config[name] is not None
    return facts | {"config": config}
