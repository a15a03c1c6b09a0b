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
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from paranasal_training.data.augment import Augmentation
from paranasal_training.data.batches import Batch, BatchLoader, CropData, as_floats
from paranasal_training.data.config import AugmentConfig
from paranasal_training.evaluation.classifier import Inputs
from paranasal_training.methods import make_method
from paranasal_training.methods.residual import Options, residual_loss
from paranasal_training.runs.memory import keep_memory
from paranasal_training.runs.optimizers import LARS, make_optimizer
from paranasal_training.runs.stage import TrainingStage
from paranasal_training.stages.cae import CAEStage
from paranasal_training.stages.config import FinetuneConfig, PretrainConfig, TrainConfig
from paranasal_training.stages.finetune import FinetuneStage
from paranasal_training.stages.pretrain import PretrainStage
from paranasal_training.workflow.plan import processor
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from usual_pipeline import UsualTraining, plain_copy, write_files

from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.model.config import FULL_WIDTHS, CAEConfig, EncoderConfig
from ParanasalSSLLib.model.networks import CAE, Classifier

QUARTER_WIDTHS = tuple(width // 4 for width in FULL_WIDTHS)
CROPS = 64
WARM_STEPS = 2  # until memory is allocated and the workers' queues are full
TARGETS_CPU = {"autoencoder": 3.0, "residual": 2.2, "fine-tuning": 2.2}
TARGET_GPU = 5.0
TARGET_SHARE, TARGET_OF_PRODUCT = 0.95, 0.5
PLACE: dict[str, Any] = {"store": Path(), "output": Path()}  # nothing is read or written


@dataclass(frozen=True)
class Task:
    """One kind of training step.

    Attributes:
        stage: the network and loss that real runs use.
        data: crops with residuals or labels, in memory.
        prepare: from a batch to what the network gets, as the stage's loss does it.
        usual: the same training in the usual pipeline.
    """

    name: str
    widths: tuple[int, ...]
    stage: TrainingStage
    data: CropData
    prepare: Callable[[Batch], object]
    usual: UsualTraining

    @property
    def batch_size(self) -> int:
        return self.usual.batch_size


@dataclass
class Rates:
    """Samples per second in every round; of the matrix product, GFLOP/s."""

    ours: list[float] = field(default_factory=list)
    data: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)
    product: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class BenchmarkRow:
    """A line of the result. Rates in samples/s and GFLOP/s, medians over the rounds."""

    step: str
    widths: tuple[int, ...]
    edge: int
    batch_size: int
    usual: float
    ours: float
    ratio: float
    target: float
    network_share: float
    gflops: float
    product_gflops: float
    rounds: Rates

    @classmethod
    def of(cls, task: Task, rates: Rates, flops: float, target: float) -> BenchmarkRow:
        middle = statistics.median
        return cls(
            step=task.name,
            widths=task.widths,
            edge=task.data.crops.shape[-1],
            batch_size=task.batch_size,
            usual=middle(rates.usual or [math.nan]),
            ours=middle(rates.ours),
            ratio=ratio_of(rates.ours, rates.usual),
            target=target,
            network_share=1 - middle(a / b for a, b in zip(rates.ours, rates.data, strict=True)),
            gflops=middle(rates.ours) * flops / 1e9,
            product_gflops=middle(rates.product),
            rounds=rates,
        )


def ratio_of(ours: list[float], usual: list[float]) -> float:
    """Median over the rounds; NaN where the usual pipeline was not measured."""
    pairs = zip(ours, usual, strict=True) if usual else [(math.nan, 1.0)]
    return statistics.median(a / b for a, b in pairs)


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


# --------------------------------------------------------------------------------- the contenders


def make_tasks(args: argparse.Namespace, device: torch.device, folder: Path) -> list[Task]:
    """The autoencoder once, the other two for each of the widths."""
    torch.manual_seed(0)
    crops, residuals = example_crops(CROPS, args.voxels)
    files = write_files(crops.numpy(), residuals.numpy(), folder)
    maker = _TaskMaker(crops.unsqueeze(1), residuals.unsqueeze(1), files, args, device)
    tasks = [maker.autoencoder()]
    for widths in (QUARTER_WIDTHS, FULL_WIDTHS) if args.full else (QUARTER_WIDTHS,):
        tasks += [maker.residual(widths), maker.finetuning(widths)]
    return tasks


def example_crops(count: int, edge: int) -> tuple[Tensor, Tensor]:
    """uint8 (count, D, D, D) smooth shapes with noise, and maps like residuals."""
    smooth = torch.rand(2 * count, 1, 9, 9, 9)
    maps = F.interpolate(smooth, (edge,) * 3, mode="trilinear").squeeze(1)
    maps = maps + 0.03 * torch.randn(maps.shape)
    return tuple((maps.clamp(0, 1) * 255).to(torch.uint8).chunk(2))  # type: ignore[return-value]


@dataclass(frozen=True)
class _TaskMaker:
    crops: Tensor
    residuals: Tensor
    files: list[dict[str, Any]]
    args: argparse.Namespace
    device: torch.device

    def autoencoder(self) -> Task:
        config = TrainConfig(**PLACE, network=CAEConfig(voxels=self.args.voxels))
        network = CAE(config.network)
        images = [{"image": entry["image"]} for entry in self.files]
        return Task(
            "autoencoder",
            config.network.channels,
            CAEStage(network, config),
            CropData(self.crops, torch.zeros(CROPS, dtype=torch.int64)),
            lambda batch: as_floats(batch.crops),
            self._usual(
                network,
                lambda net, batch: F.l1_loss(net(batch["image"]), batch["image"]),
                lambda weights: torch.optim.Adam(weights, 1e-4),
                images,
                None,
            ),
        )

    def residual(self, widths: tuple[int, ...]) -> Task:
        config = PretrainConfig(**PLACE, network=EncoderConfig(widths, voxels=self.args.voxels))
        method = make_method("residual", config.network, {})
        augmentation = Augmentation(config.augment)

        def prepare(batch: Batch) -> object:
            maps = as_floats(batch.crops), as_floats(batch.target)
            return augmentation(maps[0], torch.Generator().manual_seed(batch.seed), maps[1])

        def usual_loss(net: Any, batch: Any) -> Tensor:
            logits = net.decoder(net.encoder(batch["image"]))
            return residual_loss(logits, batch["residual"], Options())

        usual = self._usual(method, usual_loss, LARS, self.files, config.augment)
        stage = PretrainStage(method, config)
        data = CropData(self.crops, self.residuals)
        return Task("residual", widths, stage, data, prepare, usual)

    def finetuning(self, widths: tuple[int, ...]) -> Task:
        config = FinetuneConfig(**PLACE)
        network = Classifier(EncoderConfig(widths, voxels=self.args.voxels))
        augmentation = Augmentation(config.augment)
        stage = FinetuneStage(network, config, torch.ones(2), Inputs(self.args.voxels))
        images = [{name: entry[name] for name in ("image", "label")} for entry in self.files]
        return Task(
            "fine-tuning",
            widths,
            stage,
            CropData(self.crops, torch.arange(CROPS) % 2),
            lambda batch: augmentation(
                as_floats(batch.crops), torch.Generator().manual_seed(batch.seed)
            ),
            self._usual(
                network,
                lambda net, batch: F.cross_entropy(net(batch["image"]), batch["label"]),
                lambda weights: torch.optim.AdamW(weights, 1e-4),
                images,
                config.augment,
            ),
        )

    def _usual(
        self,
        network: Any,
        loss: Callable[..., Tensor],
        optimizer: Callable[..., Any],
        files: list[dict[str, Any]],
        augment: AugmentConfig | None,
    ) -> UsualTraining:
        args = self.args
        return UsualTraining(
            network, loss, optimizer, files, augment, args.batch_size, args.workers, self.device
        )


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


# ------------------------------------------------------------------------------------ the report


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products run at the device's full rate, not converted to float32."""
    if device.type != "cpu":
        return True
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text().split()))


def describe_machine(device: torch.device, precision: str) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "precision": precision,
        "load_before": [round(n, 1) for n in os.getloadavg()]
        if hasattr(os, "getloadavg")
        else None,
    }


HEADER = """\
| step | widths | batch | usual | ours | ratio (target) | network's share | GFLOP/s | of product |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def as_markdown(machine: dict[str, Any], rows: list[BenchmarkRow]) -> str:
    """The result as a table, with what its columns mean."""
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    lines = [
        f"| {row.step} | {'-'.join(map(str, row.widths))} | {row.batch_size} | {row.usual:.2f} "
        f"| {row.ours:.2f} | {row.ratio:.2f} ({row.target}) | {row.network_share:.1%} "
        f"| {row.gflops:.0f} | {row.gflops / row.product_gflops:.2f} of {row.product_gflops:.0f} |\n"
        for row in rows
    ]
    legend = (
        f"Usual and ours: samples/s on crops of {rows[0].edge}^3, medians of "
        f"{len(rows[0].rounds.ours)} turns. Network's share: of our step's time (target "
        f"{TARGET_SHARE:.0%}); the rest is data and augmentation. GFLOP/s: ours, and as a part of a "
        f"matrix product of the same precision (target {TARGET_OF_PRODUCT})."
    )
    table = "".join(lines).replace("nan", "-")
    return f"{facts}\n\n{HEADER}{table}\n{legend}"


def write_result(
    output: Path, table: str, machine: dict[str, Any], rows: list[BenchmarkRow]
) -> None:
    """As JSON with every round, or the table."""
    if output.suffix == ".json":
        write_json(output, {"machine": machine, "rows": [asdict(row) for row in rows]})
    else:
        with write_whole(output) as temporary:
            temporary.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
