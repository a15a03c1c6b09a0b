"""The site's bundle: the networks after, their threshold and calibration, and a word in the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from paranasal_training.adapt.learn import LearnJob, settings_of
from paranasal_training.adapt.outcome import Outcome
from paranasal_training.release.config import AddOnnxConfig
from paranasal_training.release.onnx_export import add_onnx
from paranasal_training.sinus.training import half_weights
from ParanasalSSLLib.files import write_whole_folder
from ParanasalSSLLib.model.bundle import Bundle, load_bundle
from ParanasalSSLLib.model.bundle_folder import MODEL_CARD
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.card import SinusReading
from ParanasalSSLLib.model.networks import channels_last
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import load_torch_networks, write_tensors


def write_site_bundle(
    source: Path, name: str, jobs: Sequence[LearnJob], outcome: Outcome, report: str, output: Path
) -> Path:
    """Write the bundle, whole or not at all; returns its folder.

    Args:
        source: folder of the bundle that was adapted.
        name: what the version ends in.
        jobs: of the networks, done.
        report: Markdown for the card.
    """
    bundle = load_bundle(source)
    networks = SinusEnsemble([_network(job) for job in jobs]).eval()
    card = replace(
        bundle.card,
        version=f"{bundle.card.version}+{name}",
        decision_threshold=outcome.rule.threshold,
        sinus=SinusReading(networks.config, outcome.rule.calibration, len(networks.members)),
        training=dict(bundle.card.training) | {"adaptation": facts_of(jobs, outcome)},
    )
    older_networks = load_torch_networks(source, bundle.card)
    made = Bundle(card, replace(older_networks, sinus=networks), bundle.residual_thresholds)
    older = source / MODEL_CARD
    text = older.read_text(encoding="utf-8") if older.is_file() else ""
    about = (
        "What follows is the card of the bundle that was adapted; its figures are not this one's."
    )
    with write_whole_folder(output) as new:
        save_bundle(made, new, "\n\n".join([report.strip(), about, text]))
        add_onnx(AddOnnxConfig(bundle=new))
    return output


def save_members(source: Path, folder: Path) -> list[Path]:
    """Write the weights of a bundle's sinus networks to files of their own, to start from."""
    networks = load_torch_networks(source).sinus
    assert networks is not None
    paths = [folder / f"start_{number}.safetensors" for number in range(len(networks.members))]
    for member, path in zip(networks.members, paths, strict=True):
        if not path.exists():
            write_tensors(half_weights(member.state_dict()), path)
    return paths


def _network(job: LearnJob) -> SinusNetwork:
    network = SinusNetwork(job.network)
    network.load_state_dict(load_file(job.weights))
    return channels_last(network)


def facts_of(jobs: Sequence[LearnJob], outcome: Outcome) -> dict[str, Any]:
    """What the card keeps: settings, who was left out of which network, figures."""
    used = [side for side in outcome.sides if side.choice.used]
    return {
        "settings": settings_of(jobs[0]),
        "with_donors": bool(jobs[0].donors),
        "left_out": [list(job.left_out) for job in jobs],
        "sides": len(outcome.sides),
        "used": len(used),
        "doubtful": sum(side.doubtful for side in used),
        **{when: dict(values) for when, values in outcome.painted.items()},
    }
