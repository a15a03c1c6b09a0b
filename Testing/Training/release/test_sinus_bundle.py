"""Calibration, threshold and figures of a bundle's sinus network; a bundle that has one comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.release.config import AddSinusConfig
from paranasal_training.release.sinus_bundle import (
    add_sinus,
    fit_calibration,
    fit_threshold,
    judged_at,
    left_out_of,
    score_unseen,
)
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.training import half_weights, load_sinus_networks
from safetensors.torch import load_file, save_file

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.crop import CropConfig, SinusCrop, cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import sha256, write_json
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.model.bundle_folder import WEIGHTS
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import SinusReading
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.onnx_networks import OnnxNetworks
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import TorchNetworks, load_torch_networks
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

SMALL = SinusNetworkConfig(widths=(4, 8, 8, 8), decoder=(8, 8, 4, 4))


def scored(clear: list[float], ill: list[float]) -> pd.DataFrame:
    """Samples with this evidence; the diseased ones hold 3 ml."""
    n = len(clear) + len(ill)
    return pd.DataFrame(
        {
            "seen_evidence": clear + ill,
            "opacity_ml": [0.0] * len(clear) + [3.0] * len(ill),
            "signal": [np.nan] * len(clear) + [0.5] * len(ill),
            "dice_opacity": [0.0] * len(clear) + [0.8] * len(ill),
            "dice_cavity": [0.9] * n,
            "group": [f"person-{i % 5}" for i in range(n)],
            "kind": ["clear"] * len(clear) + ["dome"] * len(ill),
            "modality": "t1",
            "slice_mm": 1.0,
        }
    )


def as_they_are(evidence: list[float]) -> pd.DataFrame:
    """Clear sides of four scans with this evidence."""
    table = scored(evidence, [])
    return table.assign(scan=[f"{i % 4}.nii" for i in range(len(table))], side="left")


def test_the_threshold_calls_as_many_sides_as_they_are_clear_as_asked_for() -> None:
    table = scored(np.linspace(0.01, 0.8, 100).tolist(), np.linspace(0.4, 0.99, 100).tolist())
    real = as_they_are(np.linspace(0.01, 0.6, 100).tolist())
    calibration = fit_calibration(table)
    threshold = fit_threshold(real, calibration, 0.95)
    facts = judged_at(threshold, calibration, table, real)
    assert calibration.slope > 0
    assert facts["as_they_are_called_clear"]["fraction"] == pytest.approx(0.95, abs=0.011)
    assert facts["sides_as_they_are"] == 4
    assert facts["clear_called_clear"]["fraction"] == pytest.approx(0.71, abs=0.02)
    of_size = facts["found"]["volume"]["2 to 5 ml"]
    assert of_size["samples"] == 100 and of_size["fraction"] == pytest.approx(0.7, abs=0.05)
    assert facts["dice_opacity_from_2_ml"] == pytest.approx(0.8)
    assert facts["found"]["dark fluid"]["from 5 ml"]["fraction"] is None


def test_one_class_alone_calibrates_nothing() -> None:
    with pytest.raises(BadConfig, match="clear sinuses and diseased ones"):
        fit_calibration(scored([0.1, 0.2], []))


@pytest.fixture(scope="module")
def with_sinus(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped bundle with two small sinus networks of random weights, saved and loaded."""
    torch.manual_seed(0)
    shipped = load_bundle(shipped_bundle_path())
    sinus = SinusEnsemble([SinusNetwork(SMALL) for _ in range(2)]).eval()
    networks = replace(load_torch_networks(shipped_bundle_path()), sinus=sinus)
    reading = SinusReading(SMALL, Calibration(2.0, 1.0), members=2)
    made = Bundle(replace(shipped.card, sinus=reading), networks, shipped.residual_thresholds)
    return load_bundle(save_bundle(made, tmp_path_factory.mktemp("bundles") / "sinus"))


def networks_of(bundle: Bundle) -> TorchNetworks:
    assert isinstance(bundle.networks, TorchNetworks)
    return bundle.networks


def members_of(folder: Path | Bundle) -> Sequence[SinusNetwork]:
    networks = networks_of(folder) if isinstance(folder, Bundle) else load_torch_networks(folder)
    assert networks.sinus is not None
    return networks.sinus.members


def crops() -> list[SinusCrop]:
    data = np.random.default_rng(0).random((90, 90, 90), np.float32)
    volume = Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))
    boxes = [
        SinusBox(side, np.array([x, 90.0, 90.0]))
        for side, x in ((Side.LEFT, 50), (Side.RIGHT, 120))
    ]
    return [cut_crop(volume, box, CropConfig()) for box in boxes]


def test_a_bundle_with_a_sinus_network_measures_and_decides_by_it(with_sinus: Bundle) -> None:
    for score in with_sinus.analyse(crops()):
        assert score.measures is not None
        assert score.probability == pytest.approx(
            Calibration(2.0, 1.0).probability(score.measures.margin)
        )
        assert not (score.opacity & ~score.measures.cavity).any()


def test_the_order_of_the_sides_changes_nothing(with_sinus: Bundle) -> None:
    left, right = with_sinus.analyse(crops())
    turned = with_sinus.analyse(crops()[::-1])
    assert [s.probability for s in turned] == pytest.approx([right.probability, left.probability])


def test_a_side_alone_is_scored_too(with_sinus: Bundle) -> None:
    (score,) = with_sinus.analyse(crops()[:1])
    assert score.measures is not None


def test_weights_that_lack_the_sinus_network_are_refused(
    with_sinus: Bundle, tmp_path: Path
) -> None:
    from ParanasalSSLLib.errors import BadBundle

    networks = replace(networks_of(with_sinus), sinus=None)
    folder = save_bundle(replace(with_sinus, networks=networks), tmp_path / "lacking")
    with pytest.raises(BadBundle, match="does not fit"):
        load_bundle(folder)


def test_every_member_comes_back_as_it_was_saved(with_sinus: Bundle, tmp_path: Path) -> None:
    first, second = members_of(with_sinus)
    assert not torch.equal(first.head.weight, second.head.weight)
    again = members_of(save_bundle(with_sinus, tmp_path))
    for member, saved in zip(again, (first, second), strict=True):
        torch.testing.assert_close(member.state_dict(), saved.state_dict())


def test_a_network_that_was_saved_without_a_number_is_still_read(
    with_sinus: Bundle, tmp_path: Path
) -> None:
    """As bundle 4 holds it."""
    assert with_sinus.card.sinus is not None
    one = members_of(with_sinus)[1]
    networks = replace(networks_of(with_sinus), sinus=SinusEnsemble([one]))
    card = replace(with_sinus.card, sinus=replace(with_sinus.card.sinus, members=1))
    folder = save_bundle(replace(with_sinus, card=card, networks=networks), tmp_path)
    tensors = load_file(folder / WEIGHTS)
    save_file({k.replace("sinus.0.", "sinus."): v for k, v in tensors.items()}, folder / WEIGHTS)
    content = json.loads((folder / "bundle.json").read_text())
    del content["sinus"]["members"]
    write_json(folder / "bundle.json", content | {"weights_sha256": sha256(folder / WEIGHTS)})
    (read,) = members_of(folder)
    torch.testing.assert_close(read.state_dict(), one.state_dict())


class Fixed(torch.nn.Module):
    """Says the same of every crop; in place of a network."""

    config = SMALL

    def __init__(self, cavity: float, fill: float) -> None:
        super().__init__()
        self.logits = torch.tensor([cavity, fill]).logit().view(1, 2, 1, 1, 1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(crops), 2, 64, 64, 64)


def test_probabilities_are_the_mean_of_the_members() -> None:
    networks = SinusEnsemble([Fixed(0.9, 0.5), Fixed(0.5, 0.2)])  # type: ignore[list-item]
    cavity, opacity = networks(torch.zeros(1, 2, 64, 64, 64))[0]
    torch.testing.assert_close(cavity, torch.full_like(cavity, 0.7))
    torch.testing.assert_close(opacity, torch.full_like(opacity, (0.45 + 0.1) / 2))


def test_members_of_other_architecture_are_refused() -> None:
    with pytest.raises(ValueError, match="one architecture"):
        SinusEnsemble([SinusNetwork(SMALL), SinusNetwork(replace(SMALL, decoder=(4, 4, 4, 4)))])


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """A store of three persons, two samples each: all cavity, half of them all filled."""
    maps = np.full((6, 64, 64, 64), 255, np.uint8)
    filled = np.array([0, 255] * 3, np.uint8)[:, None, None, None]
    opacity, valid = np.broadcast_to(filled, maps.shape), np.ones_like(maps)
    images = np.zeros((6, 2, 64, 64, 64), np.uint8)
    for name, array in (
        ("image", images), ("cavity", maps), ("opacity", opacity), ("valid", valid),
    ):  # fmt: skip
        np.save(tmp_path / f"{name}.npy", array)
    table = pd.DataFrame(
        {"sample": range(6), "group": list("aabbcc"), "signal": 0.5, "scan": "s", "side": "left"}
        | {"modality": "t1", "kind": ["clear", "full"] * 3, "slice_mm": 1.0}
    )
    table.assign(opacity_ml=[0.0, 262.1] * 3).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


def test_each_member_is_asked_about_the_persons_that_it_never_saw(painted: Path) -> None:
    networks = SinusEnsemble([Fixed(0.9, 0.5), Fixed(0.8, 0.25)])  # type: ignore[list-item]
    config = AddSinusConfig(
        bundle=painted, weights=[], store=[painted], clear=[painted], output=painted
    )
    table = score_unseen(networks, [["a"], ["b", "c"]], SinusSamples([painted]), config)
    seen = table.groupby("group")["seen_evidence"].agg(["size", "min", "max"])
    assert seen.loc["a"].tolist() == pytest.approx([2, 0.45, 0.45], abs=1e-3)
    for person in "bc":
        assert seen.loc[person].tolist() == pytest.approx([2, 0.2, 0.2], abs=1e-3)


def run_of(folder: Path, leave_out: list[str]) -> Path:
    """A run's weights and record."""
    folder.mkdir()
    save_file(half_weights(SinusNetwork(SMALL).state_dict()), folder / "sinus.safetensors")
    settings = {"leave_out": leave_out, "network": asdict(SMALL)}
    write_json(folder / "run.json", {"config": settings})
    return folder / "sinus.safetensors"


def test_the_run_says_its_architecture_and_whom_it_left_out(tmp_path: Path) -> None:
    weights = [run_of(tmp_path / "1", ["a"]), run_of(tmp_path / "2", ["b", "c"])]
    networks = load_sinus_networks(weights)
    assert (networks.config, len(networks.members)) == (SMALL, 2)
    assert [left_out_of(path) for path in weights] == [["a"], ["b", "c"]]


def test_a_run_that_left_nobody_out_calibrates_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="left nobody out"):
        left_out_of(run_of(tmp_path / "all", []))


def test_weights_without_their_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="is missing or damaged"):
        load_sinus_networks([tmp_path / "sinus.safetensors"])


def test_add_sinus_makes_a_bundle_of_all_members(painted: Path, tmp_path: Path) -> None:
    config = AddSinusConfig(
        bundle=shipped_bundle_path(),
        weights=[run_of(tmp_path / "1", ["a"]), run_of(tmp_path / "2", ["b", "c"])],
        store=[painted],
        clear=[painted],
        output=tmp_path / "bundle",
    )
    folder = add_sinus(config)
    made = load_bundle(folder)
    assert isinstance(made.networks, OnnxNetworks)
    assert len(members_of(folder)) == 2
    by_torch = replace(made, networks=load_torch_networks(folder))
    for one, other in zip(made.analyse(crops()), by_torch.analyse(crops()), strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
    assert made.card.training["sinus"]["left_out"] == [["a"], ["b", "c"]]
    assert "mean of 2 such networks" in (config.output / "README.md").read_text()
