"""Ways to call a sinus diseased, compared on persons that the networks never saw.

Each member of the bundle's ensemble is asked about the persons that its run left out: clear sides as
they were scanned, which give every decision its threshold, and painted samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch import Tensor

from paranasal_training.release.config import SinusDecisionsConfig
from paranasal_training.release.sinus_bundle import left_out_of
from paranasal_training.release.unseen_figures import (
    DARK_FROM_ML,
    LESION_ML,
    SIZES_ML,
    called_at,
    clear_or_diseased,
    dark_fluid,
    diseased,
    drawn_persons,
    in_ranges,
)
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.training import load_sinus_networks
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.anomaly import logits_of, native_residuals
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.model.opacity import measure_sinus
from ParanasalSSLLib.model.sinus_network import SinusEnsemble
from ParanasalSSLLib.model.torch_networks import TorchNetworks, load_torch_networks

DECISIONS = {
    "classifier": "classifier alone",
    "evidence": "opacification alone",
    "both": "classifier and opacification",
    "alone": "opacification, without the other side",
    "opacity_ml": "volume of opacification above 0.5",
}


def compare_decisions(config: SinusDecisionsConfig) -> Path:
    """Write `decisions.csv` (a line per sample) and `decisions.md` (the table); the table's path.

    Raises:
        BadBundle, BadStore: damaged input.
        BadConfig: a run left nobody out.
    """
    torch.set_num_threads(1)
    card, older = read_card(config.bundle), load_torch_networks(config.bundle)
    networks = load_sinus_networks(config.weights)
    tables = []
    for member, weights in zip(networks.members, config.weights, strict=True):
        persons, one = left_out_of(weights), SinusEnsemble([member])
        for stores, real in ((config.clear, True), (config.store, False)):
            scores = score_all(card, older, one, SinusSamples(stores), persons, config)
            tables.append(scores.assign(as_it_is=real))
    scores = with_both(pd.concat(tables, ignore_index=True))
    config.output.mkdir(parents=True, exist_ok=True)
    with write_whole(config.output / "decisions.csv") as temporary:
        scores.round(4).to_csv(temporary, index=False)
    path = config.output / "decisions.md"
    with write_whole(path) as temporary:
        temporary.write_text(as_markdown(scores, config), encoding="utf-8")
    return path


def score_all(
    card: BundleCard,
    older: TorchNetworks,
    networks: SinusEnsemble,
    samples: SinusSamples,
    persons: Sequence[str],
    config: SinusDecisionsConfig,
) -> pd.DataFrame:
    """What stands in the store about samples of these persons, and each decision's score."""
    scored = [
        dict(samples.table.loc[row]) | score_one(card, older, networks, *_sample(samples, row))
        for row in samples.draw(persons, True, config.samples, config.seed)
    ]
    return pd.DataFrame(scored)


def _sample(samples: SinusSamples, row: int) -> tuple[Tensor, np.ndarray]:
    batch = samples.batch(np.array([row]))
    return batch.image, batch.valid[0].numpy() > 0


def score_one(
    card: BundleCard,
    older: TorchNetworks,
    networks: SinusEnsemble,
    image: Tensor,
    inside: np.ndarray,
) -> dict[str, float]:
    """The score of each decision but "both"; higher is more diseased.

    Args:
        card, older: of the bundle whose autoencoder and classifier are asked.
        networks: of cavity and filling.
        image: (1, 2, 64, 64, 64), the side and the other side.
        inside: bool (64, 64, 64), what lies in the scan's image.
    """
    crop, without = image[:, :1], image.clone()
    without[:, 1] = 0
    with torch.inference_mode():
        residual, _ = native_residuals(older.cae, crop, card.residual)
        normal, anomalous = logits_of(older.classifier, crop, residual)[0].tolist()
        (cavity, opacity), alone = (networks(given)[0].numpy() for given in (image, without))
    measures = measure_sinus(cavity, opacity, inside)
    return {
        "classifier": anomalous - normal,
        "evidence": measures.margin,
        "alone": measure_sinus(alone[0], alone[1], inside).margin,
        "seen_ml": measures.opacity_ml,
    }


def with_both(scores: pd.DataFrame) -> pd.DataFrame:
    """With the column "both": a logistic regression of classifier and evidence.

    It is fitted on other persons than those that it is asked about. Samples with less than
    `LESION_ML` of disease teach it nothing, as they count for neither class.
    """
    raw = scores[["classifier", "evidence"]].to_numpy()
    features = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    ill, groups = diseased(scores), scores["group"].to_numpy()
    weights = np.where(
        clear_or_diseased(scores), np.where(ill, 1 / ill.sum(), 1 / (~ill).sum()), 0.0
    )
    folds = GroupKFold(min(5, len(set(groups))))
    margin = cross_val_predict(
        LogisticRegression(), features, ill, groups=groups, cv=folds, method="decision_function",
        params={"sample_weight": weights * len(weights)},
    )  # fmt: skip
    return scores.assign(both=margin)


def as_markdown(scores: pd.DataFrame, config: SinusDecisionsConfig) -> str:
    """The table of decisions."""
    sizes = [f"{low:g}-{high:g} ml" if high < np.inf else f"> {low:g} ml" for low, high in SIZES_ML]
    titles = ["decision", "AUROC", *sizes, "dark fluid"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for name, words in DECISIONS.items():
        column = "seen_ml" if name == "opacity_ml" else name
        lines.append(f"| {' | '.join([words, *_cells(scores, column, config)])} |")
    real = int(scores["as_it_is"].sum())
    about = (
        f"{len(scores)} samples of {scores['group'].nunique()} persons, each scored by a network that "
        f"never saw the person. Threshold of every decision: {config.specificity:.0%} of the {real} "
        "clear crops of real sides as they were scanned. AUROC (95 % interval: persons drawn with "
        f"replacement, {config.resamples} times): painted disease of {LESION_ML:g} ml and more against "
        "all clear crops, the real ones and those made harder. Then the fraction found by volume, and "
        f"of sinuses with {DARK_FROM_ML:g} ml and more of dark fluid."
    )
    return "\n".join(["# Ways to decide", "", about, "", *lines, ""])


def _cells(scores: pd.DataFrame, column: str, config: SinusDecisionsConfig) -> list[str]:
    low, middle, high = auroc_interval(scores, column, config.resamples, config.seed)
    called = called_at(scores, column, config.specificity)
    chosen = [*in_ranges(scores["opacity_ml"], SIZES_ML), dark_fluid(scores)]
    found = [f"{100 * called[of].mean():.0f} %" if of.any() else "-" for of in chosen]
    return [f"{middle:.3f} ({low:.3f}-{high:.3f})", *found]


def auroc_interval(
    scores: pd.DataFrame, column: str, resamples: int, seed: int
) -> tuple[float, float, float]:
    """Lower end, value and upper end of the AUROC; persons are drawn with replacement."""
    kept = scores[clear_or_diseased(scores)]
    drawn = (kept.iloc[rows] for rows in drawn_persons(kept["group"], resamples, seed))
    value = auroc(kept, column)
    values = [auroc(table, column) for table in drawn if diseased(table).any()]
    low, high = np.quantile(values or [value], [0.025, 0.975])
    return float(low), value, float(high)


def auroc(scores: pd.DataFrame, column: str) -> float:
    """Of painted disease against clear samples; what counts for neither is left out."""
    kept = scores[clear_or_diseased(scores)]
    return float(roc_auc_score(diseased(kept), kept[column]))
