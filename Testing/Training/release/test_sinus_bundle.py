"""Calibration, threshold and figures of a bundle's sinus network; a bundle that has one comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.release.sinus_bundle import figures, fit

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.crop import CropConfig, SinusCrop, cut_crop
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, save_bundle, shipped_bundle_path
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import SinusReading
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.sinus_network import SinusNetwork
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


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
        }
    )


def test_the_threshold_calls_as_many_clear_sinuses_clear_as_asked_for() -> None:
    table = scored(np.linspace(0.01, 0.6, 100).tolist(), np.linspace(0.4, 0.99, 100).tolist())
    calibration, threshold = fit(table, 0.95)
    facts = figures(table, calibration, threshold)
    assert calibration.slope > 0
    assert facts["clear_called_clear"] == pytest.approx(0.95, abs=0.011)
    assert facts["found_by_ml"][2] == {
        "from_ml": 2.0,
        "sinuses": 100,
        "found": pytest.approx(0.7, abs=0.05),
    }
    assert facts["dice_opacity_from_2_ml"] == pytest.approx(0.8)
    assert facts["dark_fluid_found"] is None


def test_one_class_alone_calibrates_nothing() -> None:
    with pytest.raises(BadConfig, match="clear sinuses and diseased ones"):
        fit(scored([0.1, 0.2], []), 0.95)


@pytest.fixture(scope="module")
def with_sinus(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped bundle with a small sinus network of random weights, saved and loaded."""
    torch.manual_seed(0)
    shipped = load_bundle(shipped_bundle_path())
    config = SinusNetworkConfig(widths=(4, 8, 8, 8), decoder=(8, 8, 4, 4))
    card = replace(shipped.card, sinus=SinusReading(config, Calibration(2.0, 1.0)))
    made = Bundle(
        card, shipped.cae, shipped.classifier, shipped.residual_thresholds,
        sinus=SinusNetwork(config).eval(),
    )  # fmt: skip
    return load_bundle(save_bundle(made, tmp_path_factory.mktemp("bundles") / "sinus"))


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

    folder = save_bundle(replace(with_sinus, sinus=None), tmp_path / "lacking")
    with pytest.raises(BadBundle, match="does not fit"):
        load_bundle(folder)
