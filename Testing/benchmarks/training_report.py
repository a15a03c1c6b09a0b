"""What the training bench has measured, as a table and as a file."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from paranasal_training.runs.machine import processor
from training_tasks import Task

from ParanasalSSLLib.files import write_json, write_whole

TARGET_SHARE, TARGET_OF_PRODUCT = 0.95, 0.5


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
