"""A bundle with sinus networks: calibration and threshold come from persons that they never saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from paranasal_training.release.config import AddOnnxConfig, AddSinusConfig
from paranasal_training.release.model_card import sinus_section
from paranasal_training.release.onnx_export import add_onnx
from paranasal_training.release.unseen_figures import clear_or_diseased, diseased, figures
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.evaluation import score_samples
from paranasal_training.sinus.training import load_sinus_networks, run_settings
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.bundle import Bundle, load_bundle
from ParanasalSSLLib.model.bundle_folder import MODEL_CARD
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import SinusReading, read_card
from ParanasalSSLLib.model.opacity import evidence_margin
from ParanasalSSLLib.model.sinus_network import SinusEnsemble
from ParanasalSSLLib.model.torch_networks import load_torch_networks


def add_sinus(config: AddSinusConfig) -> Path:
    """Write `config.bundle` with sinus networks, calibrated on the persons left out; its folder.

    Raises:
        BadBundle, BadStore: damaged input.
        BadConfig: the left-out samples lack clear or diseased sinuses; a run left nobody out.
    """
    bundle = load_bundle(config.bundle)
    networks = load_sinus_networks(config.weights)
    left_out = [left_out_of(weights) for weights in config.weights]
    scored = score_unseen(networks, left_out, SinusSamples(config.store), config)
    as_they_are = score_unseen(networks, left_out, SinusSamples(config.clear), config)
    calibration = fit_calibration(scored)
    threshold = fit_threshold(as_they_are, calibration, config.specificity)
    facts = judged_at(threshold, calibration, scored, as_they_are) | {"left_out": left_out}
    card = replace(
        bundle.card,
        version=config.version,
        decision_threshold=threshold,
        sinus=SinusReading(networks.config, calibration, len(networks.members)),
        training=dict(bundle.card.training) | {"sinus": facts},
    )
    made = Bundle(
        card,
        replace(load_torch_networks(config.bundle), sinus=networks),
        bundle.residual_thresholds,
    )
    older = (config.bundle / MODEL_CARD).read_text(encoding="utf-8")
    notes = [] if config.notes is None else [config.notes.read_text(encoding="utf-8").strip()]
    about_older = "What follows is the card of the bundle that gave classifier and residual."
    folder = save_bundle(made, config.output)
    add_onnx(AddOnnxConfig(bundle=folder))
    parts = [sinus_section(read_card(folder)), *notes, about_older, older]
    with write_whole(folder / MODEL_CARD) as temporary:
        temporary.write_text("\n\n".join(parts), encoding="utf-8")
    return folder


def left_out_of(weights: Path) -> list[str]:
    """The persons that the run of these weights never saw. Raises `BadConfig` if there are none."""
    persons = list(run_settings(weights)["leave_out"])
    if not persons:
        raise BadConfig(f"The run of {weights} left nobody out: nothing can calibrate it.")
    return persons


def score_unseen(
    networks: SinusEnsemble,
    left_out: Sequence[Sequence[str]],
    samples: SinusSamples,
    config: AddSinusConfig,
) -> pd.DataFrame:
    """Samples as each member sees those of the persons that it never saw; all members' in one table.

    The members are asked one by one, since all of them together have seen everybody. Their mean,
    which decides later, is steadier than each of them.
    """
    tables = [
        score_samples(SinusEnsemble([member]), samples, persons, config.samples, config.seed)
        for member, persons in zip(networks.members, left_out, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def margins(scored: pd.DataFrame) -> np.ndarray:
    """Logits of the evidence, (n,)."""
    return np.array([evidence_margin(evidence) for evidence in scored["seen_evidence"]])


def fit_calibration(scored: pd.DataFrame) -> Calibration:
    """Platt's calibration of the evidence, both classes counting alike.

    Samples with less disease than `diseased` asks for count for neither class.

    Raises:
        BadConfig: one of the classes is missing.
    """
    judged, ill = clear_or_diseased(scored), diseased(scored)
    if not (judged & ~ill).any() or not ill.any():
        raise BadConfig("The left-out samples need clear sinuses and diseased ones.")
    model = LogisticRegression(class_weight="balanced")
    model.fit(margins(scored)[judged, None], ill[judged])
    return Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))


def fit_threshold(
    as_they_are: pd.DataFrame,
    calibration: Calibration,
    specificity: float,
    lowest: float = -math.inf,
) -> float:
    """The probability below which that fraction of clear sides, as they were scanned, lies.

    lowest: margin (logit of the evidence) that the threshold is not below in any case.
    """
    highest = float(np.quantile(margins(as_they_are), specificity))
    return round(calibration.probability(max(highest, lowest)), 4)


def judged_at(
    threshold: float, calibration: Calibration, scored: pd.DataFrame, as_they_are: pd.DataFrame
) -> dict[str, Any]:
    """`figures` of samples at a decision threshold, with the calibration that it goes with."""
    called, false_alarms = (
        np.array([calibration.probability(m) for m in margins(table)]) >= threshold
        for table in (scored, as_they_are)
    )
    facts = figures(scored, as_they_are, called, false_alarms)
    return {"calibration": asdict(calibration)} | facts
