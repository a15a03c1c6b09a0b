"""From finished runs to a model bundle: residual thresholds, calibration, decision threshold."""

from __future__ import annotations

import bisect
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from paranasal_training.data.batches import as_floats
from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import (
    load_classifier,
    measure,
    probabilities,
)
from paranasal_training.evaluation.metrics import dice
from paranasal_training.evaluation.sinus_region import sinus_region
from paranasal_training.release.config import AddOnnxConfig, BundleConfig, ModelCardConfig
from paranasal_training.release.model_card import write_model_card
from paranasal_training.release.onnx_export import add_onnx
from paranasal_training.runs.record import FinishedRun
from paranasal_training.stages.cae import load_cae
from paranasal_training.stages.residuals import residual_pairs
from ParanasalSSLLib.crop import CropConfig
from ParanasalSSLLib.errors import BadCheckpoint, BadConfig, BadStore, UnsafeOutput
from ParanasalSSLLib.files import refuse_filled
from ParanasalSSLLib.model.anomaly import AnomalyNetwork
from ParanasalSSLLib.model.bundle import Bundle
from ParanasalSSLLib.model.bundle_folder import CARD
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.model.masks import MaskConfig, air_fraction, mask_evidence, opacity_mask
from ParanasalSSLLib.model.networks import CAE
from ParanasalSSLLib.model.torch_networks import TorchNetworks

logger = logging.getLogger(__name__)

INTENDED_USE = (
    "Research on anomalies of the maxillary sinuses in head MRI. Not a medical device; gives no "
    "diagnosis."
)
LEVELS = tuple(n / 10 for n in range(8, 41))
LOOK_AT = 500  # lesions whose masks are compared
COMPARED = 32  # sinuses whose scores are compared with those of the run


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

    Validation and test sinuses are those that the classifier's run has scored.

    Raises:
        BadStore, BadCheckpoint: an input is missing, damaged or unfinished.
        BadConfig: the runs were trained on other crops than `store`, or do not belong together.
        UnsafeOutput: the output holds something else than an older bundle of this name and version.
    """
    _refuse_others(config)
    store = CropStore.open(config.store)
    cae, cae_run = load_cae(config.cae)
    classifier, classifier_run = load_classifier(config.classifier)
    cae_store = store if config.cae_store is None else CropStore.open(config.cae_store)
    for run, crops in ((cae_run, cae_store), (classifier_run, store)):
        if run.record["store"] != crops.checksum:
            raise BadConfig(
                f"{run.folder} was trained on other crops than those in {crops.folder}."
            )
    scored = read_predictions(config.classifier, store)
    _, measured = measure(scored, config.calibration)
    metrics = measured.pop("test") | {k: v for k, v in measured.items() if k != "validation"}
    held_out = held_out_rows(cae_run, classifier_run, store, scored, config)
    healthy = learn_healthy(cae, store, held_out, config)
    masks = healthy.facts | _mask_dice(cae, store, _rows(scored, "test", 1), config, healthy)
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
            **({} if cae_store is store else {"cohort of the autoencoder": cae_store.info}),
            "cae": _run_facts(cae_run.record),
            "classifier": _run_facts(classifier_run.record),
            "anomalous_share": round(float(scored["label"].mean()), 3),
            "metrics": metrics,
            "masks": masks,
        },
    )
    networks = TorchNetworks(cae, classifier)
    check_scores(networks, card, store, scored)
    save_bundle(Bundle(card, networks, healthy.thresholds), config.output)
    add_onnx(AddOnnxConfig(bundle=config.output))
    return write_model_card(ModelCardConfig(bundle=config.output))


def _refuse_others(config: BundleConfig) -> None:
    """Raise `UnsafeOutput` where the output holds another bundle, or no bundle."""
    if not (config.output / CARD).is_file():
        refuse_filled(config.output)
        return
    older = read_card(config.output)
    if (older.name, older.version) != (config.name, config.version):
        raise UnsafeOutput(
            f"{config.output} holds the bundle {older.name}, version {older.version}. Choose another "
            "folder, or remove it."
        )


def read_predictions(run: Path, store: CropStore) -> pd.DataFrame:
    """The validation and test sinuses that a `finetune` run has scored, one line each.

    Raises:
        BadCheckpoint: `predictions.csv` is missing, damaged or of other crops.
    """
    path = run / "predictions.csv"
    try:
        table = pd.read_csv(path)
        known = (store.table["label"].iloc[table["row"]].to_numpy() == table["label"]).all()
        whole = {"validation", "test"} == set(table["split"]) and np.isfinite(table["margin"]).all()
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BadCheckpoint(f"{path} is missing or damaged. Fine-tune again.") from error
    if not known or not whole:
        raise BadCheckpoint(f"{path} is damaged or of other crops. Fine-tune again.")
    return table


def check_scores(
    networks: TorchNetworks, card: BundleCard, store: CropStore, scored: pd.DataFrame
) -> None:
    """See that the bundle scores a few test sinuses as the classifier's run did.

    Raises:
        BadConfig: it does not: the classifier saw the residuals of another autoencoder, say.
    """
    test = scored[scored["split"] == "test"]
    some = test.iloc[:: max(1, len(test) // COMPARED)]
    network = AnomalyNetwork(networks.classifier, networks.cae, card.residual).eval()
    crops = as_floats(torch.from_numpy(store.crops[some["row"]]).unsqueeze(1))
    with torch.inference_mode():
        logits = network(crops)
    found = probabilities(card.calibration, (logits[:, 1] - logits[:, 0]).numpy())
    expected = probabilities(card.calibration, some["margin"].to_numpy())
    difference = float(np.abs(found - expected).max())
    if difference > 0.05:
        raise BadConfig(
            f"The bundle's probabilities differ from those of the classifier's run by up to "
            f"{difference:.2f}. A classifier that sees residuals needs the autoencoder and the "
            "residual options of its residual store, and a gain of 1 there (a larger one cuts "
            "residuals off)."
        )


def held_out_rows(
    cae: FinishedRun,
    classifier: FinishedRun,
    store: CropStore,
    scored: pd.DataFrame,
    config: BundleConfig,
) -> np.ndarray:
    """Rows of healthy sinuses that set the mask's levels: the autoencoder has not learnt from them.

    Raises:
        BadConfig: it is of another fold than the classifier, whose splits are not given.
    """
    folds = [run.record["config"]["fold"] for run in (cae, classifier)]
    if config.cae_store is not None or folds[0] == folds[1]:
        return _rows(scored, "validation", 0)
    if config.splits is None:
        raise BadConfig(
            f"{cae.folder} was trained on fold {folds[0]} and {classifier.folder} on fold {folds[1]}: "
            "the autoencoder has learnt healthy sinuses that would set the mask's levels. Give their "
            "division with --splits, or a classifier of its own fold."
        )
    return Partition.of(store, config.splits, folds[0]).rows("validation", 0)


def learn_healthy(
    cae: CAE, store: CropStore, rows: np.ndarray, config: BundleConfig
) -> HealthyResiduals:
    """Thresholds from one half of the patients of healthy rows, their level from the other half."""
    patients = store.table["patient"].to_numpy()[rows]
    first = np.isin(patients, np.unique(patients)[::2])
    if not first.any() or first.all():
        raise BadStore(f"{store.folder}: too few healthy validation sinuses to learn thresholds.")
    rules = config.thresholds
    pairs = list(residual_pairs(cae, store.crops[rows], config.residual))
    evidence = np.stack([mask_evidence(residual, rebuilt) for residual, rebuilt in pairs])
    air = np.mean([air_fraction(rebuilt) for _, rebuilt in pairs], axis=0)
    thresholds = np.quantile(evidence[first], rules.quantile, axis=0)
    thresholds = ndimage.gaussian_filter(thresholds, rules.smoothing_mm)
    # Rounded as it will be stored, so that the calibration holds for the stored numbers.
    thresholds = np.maximum(thresholds, rules.floor).astype(np.float16).astype(np.float32)
    thresholds[~sinus_region(air, rules)] = np.inf
    shown = ShownByLevel(evidence[~first], thresholds, config.minimum_part_voxels)
    normal = shown.lowest_level(rules.normal_fraction, rules.normal_ml)
    anomalous = min(normal, shown.lowest_level(rules.anomalous_fraction, rules.anomalous_ml))
    facts: dict[str, Any] = {
        "region_ml": round(float(np.isfinite(thresholds).sum()) / 1000, 1),
        "thresholds": asdict(rules),
        "healthy_sinuses": len(rows),
        "healthy_ml_95_percent": {
            "called normal": round(float(np.quantile(shown.ml(normal), 0.95)), 2),
            "called anomalous": round(float(np.quantile(shown.ml(anomalous), 0.95)), 2),
        },
    }
    mask = MaskConfig(normal, anomalous, config.minimum_part_voxels)
    return HealthyResiduals(thresholds, mask, facts)


class ShownByLevel:
    """How much mask healthy sinuses show at each of `LEVELS`; only levels that are asked for are tried.

    Args:
        evidence: float32 (n, 64, 64, 64), `mask_evidence` of healthy sinuses.
        thresholds: float32 (64, 64, 64).
        smallest: part in voxels.
    """

    def __init__(self, evidence: np.ndarray, thresholds: np.ndarray, smallest: int) -> None:
        region = ndimage.find_objects(np.isfinite(thresholds).astype(np.int8))[0]
        self._evidence, self._thresholds = evidence[:, *region], thresholds[region]
        self._smallest = smallest
        self._found: dict[float, np.ndarray] = {}

    def ml(self, level: float) -> np.ndarray:
        """float64 (n,) ml of each sinus."""
        if level not in self._found:
            mask = MaskConfig(level, level, self._smallest)
            masks = (opacity_mask(one, self._thresholds, True, mask) for one in self._evidence)
            self._found[level] = np.array([mask.sum() / 1000 for mask in masks])
        return self._found[level]

    def lowest_level(self, share: float, ml: float) -> float:
        """The lowest level at which a share of the sinuses shows `ml` or less.

        A higher level never shows more, so that halving the range finds it.
        """
        number = bisect.bisect_left(
            LEVELS, True, key=lambda level: bool(np.quantile(self.ml(level), share) <= ml)
        )
        if number == len(LEVELS):
            logger.warning(
                "Healthy sinuses show more than %.2f ml even at the highest level: expect masks in "
                "clear sinuses. An autoencoder of more healthy sinuses or more epochs shows less.",
                ml,
            )
        return LEVELS[min(number, len(LEVELS) - 1)]


def _mask_dice(
    cae: CAE, store: CropStore, rows: np.ndarray, config: BundleConfig, healthy: HealthyResiduals
) -> dict[str, Any]:
    """Dice of masks (at the level for anomalous sinuses) of rows with a lesion of 2 ml or more.

    Nothing where the store has no lesion masks.
    """
    if store.lesions is None or "lesion_ml" not in store.table:
        return {}
    rows = rows[store.table["lesion_ml"].to_numpy()[rows] >= 2.0][:LOOK_AT]
    if not len(rows):
        return {}
    found = []
    pairs = residual_pairs(cae, store.crops[rows], config.residual)
    for row, pair in zip(rows, pairs, strict=True):
        mask = opacity_mask(mask_evidence(*pair), healthy.thresholds, True, healthy.mask)
        found.append(dice(mask, store.lesions[row] > 0))
    return {"dice_2ml": round(float(np.mean(found)), 3), "dice_lesions": len(rows)}


def _rows(scored: pd.DataFrame, part: str, label: int) -> np.ndarray:
    chosen = scored[(scored["split"] == part) & (scored["label"] == label)]
    return np.sort(chosen["row"].to_numpy())


def _run_facts(record: dict[str, Any]) -> dict[str, Any]:
    """What the bundle keeps of a run's record: no paths of the machine."""
    facts = {k: record[k] for k in ("best_epoch", "val_loss", "train_crops", "seconds", "torch")}
    config = dict(record["config"])
    for name in ("pretrained", "residuals"):
        if name in config:
            config[name] = config[name] is not None
    return facts | {"config": config}
