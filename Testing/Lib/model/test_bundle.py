"""Model bundles: what is saved comes back; what is damaged is refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ParanasalSSLLib.crop import CropConfig, SinusCrop
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import sha256
from ParanasalSSLLib.model.anomaly import AnomalyNetwork, tensor_at_voxels
from ParanasalSSLLib.model.bundle import (
    Bundle,
    BundleCard,
    load_bundle,
    read_card,
    shipped_bundle_path,
)
from ParanasalSSLLib.model.bundle_folder import CARD, WEIGHTS, check_bundle, describe_bundle
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig, ResidualConfig
from ParanasalSSLLib.model.masks import MaskConfig
from ParanasalSSLLib.model.networks import CAE, Classifier
from ParanasalSSLLib.model.residual import residual_map
from ParanasalSSLLib.model.resolution import at_voxels
from ParanasalSSLLib.model.torch_networks import TorchNetworks
from ParanasalSSLLib.results.record import SIMULATED_MODEL, TRIAL_MODEL, ModelRecord
from ParanasalSSLLib.sinuses import Side

CAE_1_MM = CAEConfig(latent=8, channels=(2, 2, 4))
ENCODER_1_MM = EncoderConfig((2, 2, 4, 4))


def make_bundle(cae: CAEConfig = CAE_1_MM, classifier: EncoderConfig = ENCODER_1_MM) -> Bundle:
    torch.manual_seed(0)
    card = BundleCard(
        name="tiny",
        version="1",
        cae=cae,
        classifier=classifier,
        crop=CropConfig(),
        residual=ResidualConfig(),
        mask=MaskConfig(1.5, 1.2, 10),
        calibration=Calibration(2.0, -0.5),
        decision_threshold=0.4,
        simulated=True,
        intended_use="tests",
        licence="Apache-2.0",
        training={"seed": 0},
    )
    thresholds = np.full((64, 64, 64), 0.25, np.float32)
    networks = TorchNetworks(CAE(card.cae).eval(), Classifier(card.classifier).eval())
    return Bundle(card, networks, thresholds)


def test_a_model_of_one_epoch_says_so_wherever_it_is_used() -> None:
    card = make_bundle().card
    for epochs, told in ((1, (SIMULATED_MODEL, TRIAL_MODEL)), (30, (SIMULATED_MODEL,))):
        run = {"config": {"epochs": epochs}}
        trained = replace(card, training={"classifier": run})
        assert ModelRecord.of(trained, ("of the scan",)).notices == (*told, "of the scan")
    assert not card.is_trial, "a bundle that does not say how it was made"


def networks_of(bundle: Bundle) -> TorchNetworks:
    assert isinstance(bundle.networks, TorchNetworks)
    return bundle.networks


def make_crop(seed: int = 0) -> SinusCrop:
    data = np.random.default_rng(seed).random((64, 64, 64), np.float32)
    inside = np.ones(data.shape, bool)
    return SinusCrop(data.shape, np.eye(4), data, inside, (0.0, 1.0), Side.LEFT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_bundle(make_bundle(), tmp_path / "bundle", "# Model card\n")


def test_whoever_can_read_new_files_can_read_the_weights_too(folder: Path) -> None:
    new = folder / "new"
    new.touch()
    assert {path.stat().st_mode for path in folder.iterdir()} == {new.stat().st_mode}


def test_loaded_bundle_scores_as_the_saved_one(folder: Path) -> None:
    saved, loaded = make_bundle(), load_bundle(folder)
    (before,), (after,) = saved.analyse([make_crop()]), loaded.analyse([make_crop()])
    assert after.probability == pytest.approx(before.probability, abs=0.01)  # float16 weights
    assert np.allclose(after.residual, before.residual, atol=0.01)
    assert loaded.card.cae == saved.card.cae
    assert loaded.card.mask == saved.card.mask
    assert loaded.card.training == {"seed": 0}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("cae_voxels", [32, 64])
@pytest.mark.parametrize("voxels", [32, 64])
def test_networks_at_1_and_2_mm_with_and_without_residual_go_together(
    tmp_path: Path, voxels: int, cae_voxels: int, channels: int
) -> None:
    cae = replace(CAE_1_MM, voxels=cae_voxels)
    classifier = replace(ENCODER_1_MM, voxels=voxels, channels=channels)
    save_bundle(make_bundle(cae, classifier), tmp_path)
    bundle = load_bundle(tmp_path)
    assert (bundle.card.cae, bundle.card.classifier) == (cae, classifier)
    (score,) = bundle.analyse([make_crop()])
    for image in (score.residual, score.reconstruction, score.opacity):
        assert image.shape == (64, 64, 64)


def test_at_2_mm_the_residual_is_that_of_the_pooled_crop() -> None:
    bundle = make_bundle(replace(CAE_1_MM, voxels=32))
    crop = make_crop()
    (score,) = bundle.analyse([crop])
    pooled = crop.data.reshape(32, 2, 32, 2, 32, 2).mean(axis=(1, 3, 5))
    with torch.inference_mode():
        cae = networks_of(bundle).cae
        rebuilt = cae(torch.from_numpy(pooled)[None, None])[0, 0].numpy()
    expected = residual_map(pooled, rebuilt)[None, None]
    assert np.allclose(score.residual, at_voxels(expected, 64)[0, 0], atol=1e-5)


def test_classifier_of_two_channels_looks_at_the_residual() -> None:
    bundle = make_bundle(classifier=replace(ENCODER_1_MM, channels=2))
    networks = replace(networks_of(bundle), cae=CAE(CAE_1_MM).eval())
    other = replace(bundle, networks=networks)
    (one,), (two,) = bundle.analyse([make_crop()]), other.analyse([make_crop()])
    assert one.probability != two.probability
    with pytest.raises(ValueError, match="autoencoder"):
        AnomalyNetwork(networks.classifier)


def test_larger_and_smaller_voxels_cover_the_same_space() -> None:
    i = np.broadcast_to(np.arange(64, dtype=np.float32), (1, 2, 64, 64, 64))
    pooled = at_voxels(i, 32)
    assert np.array_equal(pooled[0, 0, 0, 0], np.arange(32) * 2 + 0.5)
    assert np.allclose(at_voxels(pooled, 64)[..., 1:-1], i[..., 1:-1], atol=1e-4)
    assert at_voxels(i, 64) is i
    for change in (lambda x: at_voxels(x, 32), lambda x: tensor_at_voxels(torch.from_numpy(x), 32)):
        with pytest.raises(ValueError, match="cannot become"):
            change(np.zeros((1, 1, 65, 65, 65), np.float32))


@pytest.mark.parametrize(("edge", "voxels"), [(64, 32), (32, 64), (16, 64)])
def test_pytorch_and_numpy_change_voxels_alike(edge: int, voxels: int) -> None:
    maps = np.random.default_rng(0).random((2, 2, edge, edge, edge), np.float32)
    expected = tensor_at_voxels(torch.from_numpy(maps), voxels).numpy()
    np.testing.assert_allclose(at_voxels(maps, voxels), expected, atol=1e-6)


def test_model_card_of_an_older_bundle_does_not_stay_behind(folder: Path) -> None:
    save_bundle(make_bundle(), folder)
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    load_bundle(folder)


def test_two_crops_are_scored_as_each_alone(folder: Path) -> None:
    bundle = load_bundle(folder)
    together = bundle.analyse([make_crop(1), make_crop(2)])
    alone = [bundle.analyse([make_crop(seed)])[0] for seed in (1, 2)]
    for one, other in zip(together, alone, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
        assert np.allclose(one.residual, other.residual, atol=1e-4)
    assert bundle.analyse([]) == []


class Copies(TorchDispatchMode):
    """Counts the bytes that operations take to make something new of some tensors.

    Filling memory that is there already, on another device for example, takes none.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.taken = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if args and self._is_known(args[0]) and not self._is_known(result):
            self.taken += result.nbytes
        return result

    def _is_known(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() in self.known


def test_a_bundle_leaves_a_full_device_without_being_copied_there(folder: Path) -> None:
    here = load_bundle(folder)
    full = replace(networks_of(here), device="full")
    networks = (full.cae, full.classifier)
    with Copies(t for network in networks for t in network.state_dict().values()) as copies:
        moved = replace(here, networks=full).on("cpu")
        assert copies.taken == 0
        deepcopy(full.cae)
        assert copies.taken > 0, "the test sees copies"
    one, other = (b.analyse([make_crop()])[0] for b in (here, moved))
    assert one.probability == other.probability
    assert np.array_equal(one.residual, other.residual)
    assert not {*networks_of(moved).cae.parameters()} & {*full.cae.parameters()}


def test_nothing_is_anomalous_outside_the_image(folder: Path) -> None:
    crop = make_crop()
    inside = crop.inside.copy()
    inside[:, :, :30] = False
    half = replace(crop, inside=inside)
    (score,) = load_bundle(folder).analyse([half])
    assert not score.residual[:, :, :30].any()
    assert not score.opacity[:, :, :30].any()


def test_decision_follows_the_cards_threshold_and_calibration(folder: Path) -> None:
    (score,) = load_bundle(folder).analyse([make_crop()])
    assert score.anomalous is (score.probability >= 0.4)
    assert Calibration(2.0, -0.5).probability(0.25) == pytest.approx(0.5)
    assert Calibration().probability(np.log(3)) == pytest.approx(0.75)
    assert Calibration().probability(-1e4) == 0.0


def test_changed_weights_are_refused(folder: Path) -> None:
    path = folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadBundle, match="SHA-256"):
        load_bundle(folder)


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    card["classifier"]["widths"] = [4, 4, 8, 8]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(BadBundle, match="does not fit"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"decision_threshold": 2.0}, "decision_threshold"),
        ({"cae": {"latent": -1}}, "CAE channels"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_card_that_makes_no_sense_is_refused(
    folder: Path, change: dict[str, object], words: str
) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | change))
    with pytest.raises(BadBundle, match=words):
        read_card(folder)


@pytest.mark.parametrize("missing", [CARD, WEIGHTS])
def test_incomplete_bundle_is_refused_by_name(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BadBundle, match=missing):
        load_bundle(folder)


def test_pickles_are_never_loaded(folder: Path) -> None:
    """A pickle in place of the weights is refused even when its checksum is the card's."""
    import hashlib

    torch.save({"residual_thresholds": torch.ones(1)}, folder / WEIGHTS)
    card = json.loads((folder / CARD).read_text())
    card["weights_sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(BadBundle, match="cannot be read"):
        load_bundle(folder)


def test_shipped_bundle_loads_is_small_and_says_that_it_is_simulated() -> None:
    folder = shipped_bundle_path()
    bundle = load_bundle(folder)
    assert bundle.card.simulated
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40e6
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "simulated" in text
    assert "no diagnosis" in text
    assert bundle.card.weights_sha256 in text


# ---------------------------------------------------------------- what it is, before it is used


def test_a_bundle_is_described_and_checked_without_loading_it(tmp_path: Path) -> None:
    folder = save_bundle(make_bundle(), tmp_path / "tiny", "# The card")
    summary = describe_bundle(folder)
    assert (summary.name, summary.version, summary.simulated) == ("tiny", "1", True)
    assert (summary.licence, summary.model_card) == ("Apache-2.0", "# The card")
    assert summary.weights_sha256 == sha256(folder / WEIGHTS)
    check_bundle(folder)
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BadBundle, match="SHA-256"):
        check_bundle(folder)
    for look in (describe_bundle, check_bundle):
        with pytest.raises(BadBundle, match="no model bundle"):
            look(tmp_path / "nothing")


def test_describing_and_checking_a_bundle_loads_no_torch() -> None:
    code = (
        "import sys; from ParanasalSSLLib.model.bundle import *; "
        "from ParanasalSSLLib.model.bundle_folder import *; path = shipped_bundle_path(); "
        "describe_bundle(path); check_bundle(path); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_a_bundle_moves_to_another_device_and_stays_where_it_is() -> None:
    bundle = make_bundle()
    assert bundle.on("cpu") is bundle
    moved = bundle.on("meta")
    devices = [
        {p.device.type for p in networks_of(b).classifier.parameters()} for b in (moved, bundle)
    ]
    assert devices == [{"meta"}, {"cpu"}]
    assert (moved.device, bundle.device) == ("meta", "cpu")


@pytest.mark.parametrize("margin", [-3.0, 0.0, 1.7])
def test_a_calibrated_probability_leads_back_to_its_margin(margin: float) -> None:
    calibration = Calibration(0.8, -0.25)
    assert calibration.margin(calibration.probability(margin)) == pytest.approx(margin)
