"""Frozen encoders: probes with known answers, figures of collapse, a whole run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.data.store import CropStore, write_store
from paranasal_training.evaluation.collapse import effective_rank, feature_deviation
from paranasal_training.evaluation.comparison.provenance import Cost, read_training
from paranasal_training.evaluation.frozen import (
    FrozenEncoder,
    evaluate_frozen,
    linear_scores,
    neighbour_scores,
)
from paranasal_training.runs.record import read_run
from paranasal_training.stages.config import EvaluateFrozenConfig, PretrainConfig
from paranasal_training.stages.pretrain import pretrain
from sklearn.metrics import roc_auc_score

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.networks import Classifier


def blobs(count: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (2 count, 16) of two classes that are `distance` apart along one direction."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * count) % 2
    features = rng.standard_normal((2 * count, 16)) + 5
    features[:, 3] += distance * labels
    return features.astype(np.float32), labels


@pytest.mark.parametrize("probe", [linear_scores, neighbour_scores])
def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is(probe) -> None:  # type: ignore[no-untyped-def]
    for distance, low, high in ((6.0, 0.97, 1.0), (0.0, 0.35, 0.65)):
        known, labels = blobs(60, distance, 0)
        checks, truth = blobs(60, distance, 1)
        test, answer = blobs(200, distance, 2)
        scores = probe(known, labels, np.concatenate([checks, test]), truth)
        assert low <= roc_auc_score(answer, scores[len(truth) :]) <= high


@pytest.mark.parametrize("probe", ["linear", "knn"])
def test_labels_of_one_class_teach_no_probe(probe: str, tmp_path: Path) -> None:
    """A quarter of the training patients is one, with a single sinus."""
    table = pd.DataFrame(
        {
            "patient": [f"p{number}" for number in range(8)],
            "side": "left",
            "class": None,
            "label": [0, 1] * 4,
            "split": ["train"] * 4 + ["validation"] * 2 + ["test"] * 2,
            "source": "toy",
            "quality": "ok",
        }
    )
    store = write_store(tmp_path / "crops", np.zeros((8, 64, 64, 64), np.uint8), table)
    config = EvaluateFrozenConfig(
        store=store.folder,
        pretrained=tmp_path / "run",
        output=tmp_path / "scores",
        probe=probe,  # type: ignore[arg-type]
        label_fraction=0.25,
    )
    with pytest.raises(BadConfig, match="all of one class"):
        evaluate_frozen(config)


def test_neighbours_are_balanced_between_the_classes() -> None:
    known, labels = blobs(40, 0.0, 0)
    known[:] = known[0]  # all alike: nothing to tell apart
    chosen = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:10]])
    few = neighbour_scores(known[chosen][:12], labels[chosen][:12], known[:2], labels[:2])
    assert np.isfinite(few).all()


def test_figures_of_collapse_of_known_features() -> None:
    rng = torch.Generator().manual_seed(0)
    everywhere = torch.randn(4000, 32, generator=rng)
    assert feature_deviation(everywhere) == pytest.approx(1, abs=0.03)
    assert effective_rank(everywhere) == pytest.approx(32, rel=0.02)
    one_way = torch.ones(100, 32)
    assert feature_deviation(one_way) == pytest.approx(0, abs=1e-6)
    assert effective_rank(one_way) == 1
    plane = (
        torch.randn(500, 2, generator=rng) @ torch.linalg.qr(torch.randn(32, 2, generator=rng))[0].T
    )
    assert effective_rank(plane) == pytest.approx(2, rel=0.02)
    assert effective_rank(3 * plane + 7) == pytest.approx(2, rel=0.02), "scale and mean aside"


def test_an_encoder_looks_at_every_crop_once(toy_store: CropStore) -> None:
    torch.manual_seed(0)
    network = Classifier(EncoderConfig((4, 8, 16, 16), voxels=32)).eval()
    encoder, rows = FrozenEncoder(network, toy_store), np.array([3, 0, 5])
    first = encoder.features(rows)
    assert first.shape == (3, 16) and first.std() > 0
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    np.testing.assert_array_equal(encoder.features(rows[::-1]), first[::-1])
    more = encoder.features(np.array([0, 1]))
    np.testing.assert_array_equal(more[0], first[1])
    assert not more[1].any(), "a crop that it had not looked at"


def test_another_run_in_the_place_of_one_is_not_taken_for_it(
    toy_store: CropStore, tmp_path: Path
) -> None:
    run, found = tmp_path / "run", []
    for seed in (1, 2, 1):
        shutil.rmtree(run, ignore_errors=True)
        network = EncoderConfig((4, 8, 16, 16), voxels=32)
        pretrain(
            PretrainConfig(
                store=toy_store.folder, output=run, method="none", seed=seed, network=network
            )
        )
        output = tmp_path / "scores"
        evaluate_frozen(EvaluateFrozenConfig(store=toy_store.folder, pretrained=run, output=output))
        found.append(pd.read_csv(output / "predictions.csv")["margin"].to_list())
    assert found[0] == found[2] != found[1]


def test_pretraining_logs_them_and_its_encoder_is_probed(
    toy_store: CropStore, tmp_path: Path
) -> None:
    run = tmp_path / "pretrain/none/seed1"
    network = EncoderConfig((4, 8, 16, 16), voxels=32)
    pretrain(
        PretrainConfig(
            store=toy_store.folder, output=run, method="ae", epochs=1, batch_size=4, network=network
        )
    )
    log = pd.read_csv(run / "logs/csv/version_0/metrics.csv")
    assert log["val/feature_sd"].notna().sum() == log["val/rankme"].notna().sum() == 1
    assert 1 <= log["val/rankme"].max() <= 16
    for probe in ("linear", "knn"):
        output = tmp_path / probe / "none/100/fold1"
        config = EvaluateFrozenConfig(
            store=toy_store.folder,
            pretrained=run,
            output=output,
            probe=probe,  # type: ignore[arg-type]
        )
        metrics = evaluate_frozen(config)
        assert metrics["test"]["auroc"] > 0.7, "a bright ball in the air shows in any features"
        found = read_training(output, tmp_path)
        assert found is not None and found.cost == Cost(0, 0, 0.0)
        assert found.pretraining == str(run) and found.pretraining_cost
    assert read_run(run, "PretrainStage")
