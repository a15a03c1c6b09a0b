"""What a run does with the smallest network: its steps, and where they are computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from paranasal_training.data.batches import Batch, CropData
from paranasal_training.data.store import CropStore
from paranasal_training.runs.config import OptimizerConfig, RunConfig
from paranasal_training.runs.fit import fit
from paranasal_training.runs.stage import TrainingStage
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import nn

from ParanasalSSLLib.model.config import CAEConfig


def test_steps_do_not_wait_for_their_numbers(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU `item` waits until all that was asked for is computed."""
    item, count = torch.Tensor.item, 0

    def counted(self: torch.Tensor) -> Any:
        nonlocal count
        count += 1
        return item(self)

    data = CropData(
        torch.ones(64, 1, 1, 1, 1, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64)
    )

    def waits(name: str, batch_size: int) -> int:
        nonlocal count
        config = RunConfig(store=toy_store.folder, output=tmp_path / name, epochs=1,
                           batch_size=batch_size)  # fmt: skip
        count = 0
        fit(OneWeightStage(OneWeight(), config), toy_store, data, data)
        return count

    monkeypatch.setattr(torch.Tensor, "item", counted)
    monkeypatch.setattr(torch.Tensor, "__float__", counted)
    few, many = waits("few", 32), waits("many", 2)
    assert many <= few + 3, (few, many)


class OneWeight(nn.Module):
    """The smallest network: a factor. Without batch norm, so that batches do not matter."""

    config = CAEConfig()

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))


class OneWeightStage(TrainingStage):
    network: OneWeight

    def loss(self, batch: Batch, training: bool) -> torch.Tensor:
        values = batch.crops.float().flatten(1).mean(dim=1)
        return ((self.network.factor * values - 1) ** 2).mean()


def test_accumulated_batches_make_the_steps_of_one_larger_batch(
    toy_store: CropStore, tmp_path: Path
) -> None:
    crops = torch.arange(32, dtype=torch.uint8).reshape(32, 1, 1, 1, 1)
    data = CropData(crops, torch.zeros(32, dtype=torch.int64))

    def train(name: str, batch_size: int, accumulate: int) -> tuple[int, float]:
        config = RunConfig(
            store=toy_store.folder, output=tmp_path / name, epochs=2, batch_size=batch_size,
            accumulate=accumulate, optimizer=OptimizerConfig(lr=0.1),
        )  # fmt: skip
        fit(OneWeightStage(OneWeight(), config), toy_store, data, data)
        last = torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
        return last["global_step"], float(last["state_dict"]["network.factor"])

    large = train("large", 8, 1)
    assert large[0] == 8, "4 batches an epoch"
    assert train("accumulated", 4, 2) == (8, pytest.approx(large[1], rel=1e-5))
    assert train("small", 4, 1)[0] == 16


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "seen"), [(4, 1, 24), (4, 2, 24), (16, 1, 28), (5, 1, 20)]
)
def test_crops_that_were_seen_are_counted_whatever_makes_a_step(
    toy_store: CropStore, tmp_path: Path, batch_size: int, accumulate: int, seen: int
) -> None:
    crops = torch.arange(14, dtype=torch.uint8).reshape(14, 1, 1, 1, 1)
    data = CropData(crops, torch.zeros(14, dtype=torch.int64))
    config = RunConfig(
        store=toy_store.folder, output=tmp_path / "r", epochs=2, batch_size=batch_size,
        accumulate=accumulate,
    )  # fmt: skip
    fit(OneWeightStage(OneWeight(), config), toy_store, data, data)
    assert json.loads((tmp_path / "r/run.json").read_text())["crops_seen"] == seen


class StageOnTheMove(OneWeightStage):
    """Remembers where it was moved."""

    def __init__(self, network: OneWeight, config: RunConfig) -> None:
        super().__init__(network, config)
        self.places: list[torch.device] = []

    def to(self, *args: Any, **kwargs: Any) -> StageOnTheMove:
        self.places += [place for place in args if isinstance(place, torch.device)]
        return super().to(*args, **kwargs)

    def cpu(self) -> StageOnTheMove:
        self.places.append(torch.device("cpu"))
        return super().cpu()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_is_scored_on_the_device_that_trained_it(
    toy_store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Literal["cpu"]
) -> None:
    """Without a GPU: `cpu:0` stands in for one, which no code but the trainer's strategy names."""
    trained_on = torch.device(device, 0)
    if device == "cpu":
        monkeypatch.setattr(SingleDeviceStrategy, "root_device", trained_on)
    elif not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    data = CropData(torch.ones(4, 1, 1, 1, 1, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    config = RunConfig(
        store=toy_store.folder, output=tmp_path / "r", epochs=1, batch_size=4, device=device
    )
    stage = StageOnTheMove(OneWeight(), config)
    seen: list[torch.device] = []

    def score() -> dict[str, Any]:
        seen.extend([stage.places[-1], next(stage.network.parameters()).device])
        return {}

    fit(stage, toy_store, data, data, after=score)
    assert seen[0] == trained_on
    assert seen[1].type == device
