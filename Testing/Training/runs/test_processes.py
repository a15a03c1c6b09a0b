"""Two processes (gloo, on the CPU) learn what one learns from the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from paranasal_training.data.augment import Augmentation
from paranasal_training.data.config import AugmentConfig, ViewConfig
from paranasal_training.data.store import CropStore
from paranasal_training.methods import Method, Sample, make_method
from paranasal_training.runs.processes import SharedBatchNorm, gathered, synchronised, world_size
from torch import Tensor, nn
from torch.multiprocessing import spawn

from ParanasalSSLLib.model.config import EncoderConfig

TINY = EncoderConfig((4, 8, 8, 16), voxels=32, pool=False)
OPTIONS: dict[str, dict[str, Any]] = {
    "simclr": {"norm": True},
    "drasclr": {"experts": 2, "queue": 16, "key_parts": 1},
}
STILL = AugmentConfig(probability=0.0, views=ViewConfig(0.0, 0.0, 0.0, 0.0))
CPU = torch.device("cpu")


def crops(count: int) -> Tensor:
    return torch.rand(count, 1, 32, 32, 32, generator=torch.Generator().manual_seed(3))


def sample_of(numbers: Tensor, seed: int) -> Sample:
    shared = torch.Generator().manual_seed(11)
    own = torch.Generator().manual_seed(seed)
    some = crops(4).index_select(0, numbers)
    return Sample(some, None, Augmentation(STILL), own, shared, numbers, training=True)


def method_named(name: str) -> Method:
    torch.manual_seed(0)
    return make_method(name, TINY, OPTIONS[name])


def learnt(method: Method, sample: Sample) -> dict[str, Tensor]:
    """Loss, gradients and buffers after one step."""
    loss = method.loss(sample)
    loss.backward()
    gradients = {f"grad {k}": v.grad for k, v in method.named_parameters() if v.grad is not None}
    return {"loss": loss.detach(), **gradients, **dict(method.named_buffers())}


def normed(norm: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    """What a norm makes of rows, with the gradients of a sum that weighs every value otherwise."""
    rows = rows.clone().requires_grad_()
    out = norm(rows)
    (out * rows.detach().exp()).sum().backward()
    assert rows.grad is not None
    found = {"out": out.detach(), "rows": rows.grad}
    return found | {k: v.grad for k, v in norm.named_parameters()} | dict(norm.named_buffers())


def rows_of_norm() -> Tensor:
    return 3 + torch.randn(6, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def in_process(rank: int, folder: Path) -> None:
    """Everything that two processes do in these tests; process 0 gets four of six rows."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    found: dict[str, Any] = {
        "world": world_size(),
        "gathered": gathered(torch.tensor([[rank, 10]])),
        "norm": normed(
            synchronised(nn.Sequential(nn.BatchNorm3d(3)), CPU), rows_of_norm().split(4)[rank]
        ),
    }
    for name in OPTIONS:
        method = synchronised(method_named(name), CPU)
        found[name] = learnt(method, sample_of(torch.arange(4)[rank::2], rank))
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes found."""
    folder = tmp_path_factory.mktemp("two")
    spawn(in_process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_rows_are_gathered_in_the_order_of_ranks(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert found["world"] == 2
        assert found["gathered"].tolist() == [[0, 10], [1, 10]]


def test_shared_norm_of_unequal_parts_is_the_norm_of_the_whole(both: list[dict[str, Any]]) -> None:
    whole = normed(nn.Sequential(nn.BatchNorm3d(3)), rows_of_norm())
    parts = [found["norm"] for found in both]
    for name in ("out", "rows"):
        torch.testing.assert_close(
            torch.cat([p[name] for p in parts]), whole[name], atol=1e-4, rtol=1e-4
        )
    for name in ("0.weight", "0.bias"):
        torch.testing.assert_close(
            parts[0][name] + parts[1][name], whole[name], rtol=1e-4, atol=1e-3
        )
    for name in ("0.running_mean", "0.running_var", "0.num_batches_tracked"):
        for part in parts:
            torch.testing.assert_close(part[name], whole[name])


@pytest.mark.parametrize("name", list(OPTIONS))
def test_two_processes_learn_what_one_learns_from_all_crops(
    name: str, both: list[dict[str, Any]]
) -> None:
    whole = learnt(method_named(name), sample_of(torch.arange(4), 0))
    parts = [found[name] for found in both]
    mean = {k: (parts[0][k] + parts[1][k]) / 2 for k in whole if k == "loss" or k[:5] == "grad "}
    assert len(mean) > 10
    for key, value in mean.items():
        torch.testing.assert_close(
            value, whole[key], rtol=2e-3, atol=2e-5, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_both_queues_hold_the_keys_of_both_at_one_location(both: list[dict[str, Any]]) -> None:
    parts = [found["drasclr"] for found in both]
    for name in ("queues", "owners", "places"):
        assert torch.equal(parts[0][name], parts[1][name]), name
    assert sorted(parts[0]["places"].tolist()) == [0] * 7 + [4]
    whole = learnt(method_named("drasclr"), sample_of(torch.arange(4), 0))
    here = int(whole["places"].argmax())
    assert parts[0]["owners"][here, :4].tolist() == [0, 2, 1, 3]
    expected = whole["queues"][here, [0, 2, 1, 3]]
    torch.testing.assert_close(parts[0]["queues"][here, :4], expected, rtol=1e-3, atol=1e-4)


def test_alone_a_shared_norm_is_an_ordinary_one() -> None:
    rows = rows_of_norm()
    shared = synchronised(nn.Sequential(nn.BatchNorm3d(3)), CPU)
    assert isinstance(shared[0], SharedBatchNorm)
    plain: Mapping[str, Tensor] = normed(nn.Sequential(nn.BatchNorm3d(3)), rows)
    for name, value in normed(shared, rows).items():
        torch.testing.assert_close(value, plain[name])
    assert gathered(rows) is rows and world_size() == 1


@pytest.mark.slow
def test_two_processes_pretrain(toy_store: CropStore, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "paranasal"
    words = f"pretrain --store {toy_store.folder} --output {tmp_path / 'run'} --method drasclr"
    words += " --device cpu --devices 2 --epochs 2 --batch_size 4 --network.widths [4,8,8,16]"
    words += " --network.voxels 32"
    done = subprocess.run([program, *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["config"]["devices"] == 2 and record["val_loss"] is not None
