"""The model card of a bundle: what `bundle.json` and the real-scan check say, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paranasal_training.release.config import ModelCardConfig
from paranasal_training.release.unseen_figures import as_table, in_words
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.bundle_folder import MODEL_CARD
from ParanasalSSLLib.model.card import BundleCard, read_card


def write_model_card(config: ModelCardConfig) -> Path:
    """Write the model card; returns the bundle's folder.

    Raises:
        BadBundle: the bundle is damaged, or the real-scan check is of another bundle.
    """
    text = model_card(read_card(config.bundle), config)
    with write_whole(config.bundle / MODEL_CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return config.bundle


def model_card(card: BundleCard, config: ModelCardConfig) -> str:
    """The model card as Markdown. Raises `BadBundle`, see `write_model_card`."""
    training = card.training
    metrics, cohort = training["metrics"], training["cohort"]
    parts = [
        f"# Model card: {card.name}, version {card.version}",
        f"**{card.intended_use}**",
        _origin(card, cohort),
        "## What it is",
        _architecture(card),
        "## On simulated test patients" if card.simulated else "## On test patients",
        _metric_lines(metrics, training["masks"]),
    ]
    if "sensitivity_by_kind_and_ml" in metrics:
        parts += ["Found, by kind of lesion and volume:", _kind_table(metrics)]
    if config.real_check is not None:
        parts += ["## On real scans", _real_check(card, config.real_check)]
    if config.notes is not None:
        parts.append(config.notes.read_text(encoding="utf-8").strip())
    parts += ["## How it was made", _provenance(training)]
    if config.commands is not None:
        script = config.commands.read_text(encoding="utf-8").strip()
        parts += ["All commands:", f"```sh\n{script}\n```"]
    return "\n\n".join(parts) + "\n"


def sinus_section(card: BundleCard) -> str:
    """What the sinus network of a bundle is and does, as Markdown. Raises `BadBundle` without one."""
    if card.sinus is None:
        raise BadBundle(f"The bundle {card.name} has no sinus network.")
    facts = card.training["sinus"]
    widths = "-".join(map(str, card.sinus.network.widths))
    count = card.sinus.members
    several = f" Probabilities are the mean of {count} such networks." if count > 1 else ""
    unseen = "; ".join(", ".join(persons) for persons in facts["left_out"])
    lines = [
        f"# Model card: {card.name}, version {card.version}",
        f"**{card.intended_use}**",
        "Decision, cavity and opacity come from the **sinus network**: a U-Net on the encoder of the "
        f"paper's kind ({widths} channels) that outlines, at 1 mm, all inside the bony walls and what "
        f"of it is not air, with the other side, mirrored, as a second input.{several} It learnt from "
        "clear sinuses of real heads (donors named in `sinus/references.csv` of the training) with "
        "disease painted into the scans' own voxels: no patient's disease was seen. The residual "
        "|x - x'| beside it is the published method's; the classifier of that method takes no part "
        "in the decision.",
        "Probability: calibrated from the largest smoothed probability of opacity inside the cavity, "
        f"on {facts['samples']} painted samples, each of a person whom the network that was asked "
        f"never saw (persons left out of each network: {unseen}). On them, at the threshold "
        f"{card.decision_threshold:.2f}:",
        *(as_table(f"painted, by {what}", rows) for what, rows in facts["found"].items()),
        f"Clear sides of these persons as they were scanned, in boxes that lie otherwise each time "
        f"({facts['sides_as_they_are']} sides), called clear: "
        f"{in_words(facts['as_they_are_called_clear'])}. Clear samples that were made harder (cut, "
        f"noisy, with look-alikes): {in_words(facts['clear_called_clear'])}. Mean Dice of the "
        f"cavity {facts['dice_cavity']:.2f}, of opacity of 2 ml and more "
        f"{facts['dice_opacity_from_2_ml']:.2f}. Intervals: persons drawn with replacement.",
        as_table("clear as scanned, by sequence", facts["clear_by_sequence"], "called clear"),
        f"SHA-256 of the weights: `{card.weights_sha256}`.",
    ]
    return "\n\n".join(lines)


def _origin(card: BundleCard, cohort: dict[str, Any]) -> str:
    if not card.simulated:
        return "Trained on the crops of a site."
    donors = cohort.get("donors") or []
    heads = sorted({name.rsplit(":", 1)[0] for name in donors})
    real = f", part of them on the anatomy of {len(heads)} healthy real heads ({', '.join(heads)})"
    share = card.training["anomalous_share"]
    return (
        f"Trained on simulated sinuses{real if heads else ''}. Its probabilities are those of the "
        f"simulated cohort, in which {share:.0%} of the sinuses are anomalous. No patient's image of "
        "the paper was used."
    )


def _architecture(card: BundleCard) -> str:
    return (
        f"Autoencoder: channels {card.cae.channels}, latent {card.cae.latent}. Classifier: 3D ResNet18 "
        f"encoder, widths {card.classifier.widths}. Residual: |x - x'|, median filter "
        f"{card.residual.median_kernel_voxels}. Mask: threshold per voxel, level "
        f"{card.mask.level_anomalous} in sinuses called anomalous, {card.mask.level_normal} in others, "
        f"parts of {card.mask.minimum_part_voxels} voxels or more. Decision: calibrated probability "
        f"of {card.decision_threshold:.4g} or more. Licence: {card.licence}. "
        f"SHA-256 of the weights: `{card.weights_sha256}`."
    )


def _metric_lines(metrics: dict[str, Any], masks: dict[str, Any]) -> str:
    names = ("auroc", "auprc", "f1", "sensitivity", "specificity", "brier", "ece")
    head = f"{metrics['test_crops']} crops of patients that no stage has seen:"
    lines = [f"- {name}: {metrics[name]}" for name in names]
    if "dice_2ml" in masks:
        lines.append(
            f"- mean Dice of the mask, {masks['dice_lesions']} lesions of 2 ml or more: "
            f"{masks['dice_2ml']}"
        )
    for called, ml in masks["healthy_ml_95_percent"].items():
        lines.append(
            f"- mask of a healthy sinus that is {called}: at most {ml} ml in 95 % (validation)"
        )
    return "\n".join([head, "", *lines])


def _kind_table(metrics: dict[str, Any]) -> str:
    lines = ["| kind | from ml | lesions | found |", "| --- | --- | --- | --- |"]
    for row in metrics["sensitivity_by_kind_and_ml"]:
        lines.append(f"| {row['kind']} | {row['from_ml']} | {row['lesions']} | {row['found']} |")
    return "\n".join(lines)


def _real_check(card: BundleCard, folder: Path) -> str:
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        text = (folder / "summary.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadBundle(f"{folder} holds no result of `paranasal check-real`.") from error
    if summary["weights_sha256"] != card.weights_sha256:
        raise BadBundle(
            f"{folder} was made with another bundle. Run `paranasal check-real` with this one first."
        )
    return text.strip()


def _provenance(training: Mapping[str, Any]) -> str:
    keys = ("cohort", "cohort of the autoencoder", "cae", "classifier")
    shown = {key: training[key] for key in keys if key in training}
    return f"```json\n{json.dumps(shown, indent=1)}\n```"
