"""How fast training is: our data path and steps beside the usual per-sample pipeline.

    python Testing/benchmarks/bench_training.py [--full] [--seconds 4] [--rounds 3] [--device cpu]
        [--voxels 64] [--one-thread] [--output FILE.json] [--output FILE.md]

One optimisation step of the autoencoder, of residual pretraining and of fine-tuning, all on crops
of 64^3 (or 32^3): ours (crops in memory, augmentation of whole batches on the device, channels-last,
bf16 where the processor has it, fused optimiser) and the usual one (`usual_pipeline.py`). The two take
turns and the median over the rounds counts, so that other jobs on the machine disturb both alike.
Operations are those of the plain networks, as counted by PyTorch; the matrix product to which their
rate is compared is measured in the same turns. With `--one-thread` ours alone is measured, on one
thread and in the processor's time for it: what else runs on the machine then hardly counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import torch
from paranasal_training.data.batches import Batch, BatchLoader, CropData
from paranasal_training.runs.memory import keep_memory
from paranasal_training.runs.optimizers import make_optimizer
from torch.utils.flop_counter import FlopCounterMode
from training_report import (
    BenchmarkRow,
    Rates,
    as_markdown,
    describe_machine,
    has_fast_bf16,
    write_result,
)
from training_tasks import Task, make_tasks
from usual_pipeline import plain_copy

WARM_STEPS = 2  # until memory is allocated and the workers' queues are full
TARGETS_CPU = {"autoencoder": 3.0, "residual": 2.2, "fine-tuning": 2.2}
TARGET_GPU = 5.0


def main() -> int:
    args = _parse()
    device, bf16 = torch.device(args.device), args.precision == "bf16"
    if args.one_thread:
        torch.set_num_threads(1)
    machine = describe_machine(device, args.precision)
    with tempfile.TemporaryDirectory() as folder:
        tasks = make_tasks(args, device, Path(folder))
        operations = [flops_per_sample(task, device) for task in tasks]
        measured = [Rates() for _ in tasks]
        for number in range(args.rounds):
            for task, rates in zip(tasks, measured, strict=True):
                print(f"round {number + 1}: {task.name} {task.widths}", file=sys.stderr)
                take_turns(task, rates, args, device, bf16)
    targets = TARGETS_CPU if device.type == "cpu" else dict.fromkeys(TARGETS_CPU, TARGET_GPU)
    rows = [
        BenchmarkRow.of(task, rates, flops, targets[task.name])
        for task, rates, flops in zip(tasks, measured, operations, strict=True)
    ]
    table = as_markdown(machine, rows)
    print(table)
    for output in args.output:
        write_result(output, table, machine, rows)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--full", action="store_true", help="the paper's widths too")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--voxels", type=int, choices=(64, 32), default=64, help="a crop's edge")
    parser.add_argument("--one-thread", action="store_true", help="ours alone, in processor time")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the usual pipeline")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision", choices=("32", "bf16"), help="ours; default: bf16 where fast"
    )
    parser.add_argument(
        "--output", type=Path, action="append", default=[], help="also to a .json or .md file"
    )
    args = parser.parse_args()
    if wrong := [path for path in args.output if path.suffix not in (".json", ".md")]:
        parser.error(f"--output is a .json or .md file, not {wrong[0]}")
    if args.precision is None:
        args.precision = "bf16" if has_fast_bf16(torch.device(args.device)) else "32"
    return args


# ------------------------------------------------------------------------------------ the turns


Clock = Callable[[], float]


def take_turns(
    task: Task, rates: Rates, args: argparse.Namespace, device: torch.device, bf16: bool
) -> None:
    """Measure everything about a task once."""
    clock = time.process_time if args.one_thread else time.perf_counter
    contenders = [
        (our_steps(task, device, bf16), rates.ours, 1.0),
        (our_data(task, device), rates.data, 0.25),
    ]
    if not args.one_thread:
        contenders.append((task.usual.steps(), rates.usual, 1.0))
    for steps, found, share in contenders:
        with closing(steps):
            found.append(rate(steps, share * args.seconds, device, clock))
    rates.product.append(product_gflops(device, bf16, clock))


def rate(
    steps: Generator[int, None, None], seconds: float, device: torch.device, clock: Clock
) -> float:
    """Samples per second of steps that yield how many samples they took; two steps at least."""
    for _ in range(WARM_STEPS):
        next(steps)
    synchronize(device)
    started, count, samples = clock(), 0, 0
    while count < 2 or clock() - started < seconds:
        samples += next(steps)
        count += 1
    synchronize(device)
    return samples / (clock() - started)


def our_steps(task: Task, device: torch.device, bf16: bool) -> Generator[int, None, None]:
    """Train for ever as a run does; yields the batch size after each step."""
    keep_memory()
    stage = task.stage.to(device).train()
    weights = list(stage.network.parameters())
    optimizer, _ = make_optimizer(stage.config.recipe.optimizer, weights, 1, 1)
    for batch in endless_batches(task.data, task.batch_size, device):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = stage.loss(batch, training=True)
        loss.backward()
        optimizer.step()
        yield len(batch.crops)


def our_data(task: Task, device: torch.device) -> Generator[int, None, None]:
    """Batches and their augmentation alone, without any network."""
    for batch in endless_batches(task.data, task.batch_size, device):
        task.prepare(batch)
        yield len(batch.crops)


def endless_batches(data: CropData, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Batches as runs draw them."""
    loader = BatchLoader(data.to(device), batch_size, seed=0, shuffle=True)
    while True:
        yield from loader
        loader.sampler.set_epoch(loader.sampler.epoch + 1)


def product_gflops(device: torch.device, bf16: bool, clock: Clock, seconds: float = 1.0) -> float:
    """Rate of a square matrix product of our precision."""
    edge = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(edge, edge, device=device, dtype=torch.bfloat16 if bf16 else None)

    def products() -> Generator[int, None, None]:
        while True:
            torch.mm(matrix, matrix)
            synchronize(device)
            yield 1

    return rate(products(), seconds, device, clock) * 2 * edge**3 / 1e9


def flops_per_sample(task: Task, device: torch.device) -> float:
    """Floating-point operations of forward and backward, of the plain network."""
    network = plain_copy(task.usual.network).to(device).train()
    maps = torch.rand(2, 1, *task.data.crops.shape[2:], device=device)
    labels = torch.zeros(2, dtype=torch.int64, device=device)
    with FlopCounterMode(display=False) as counter:
        task.usual.loss(network, {"image": maps, "residual": maps, "label": labels}).backward()
    return counter.get_total_flops() / len(maps)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
