"""What a run was trained on, in words for its record."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def machine_of(device: torch.device) -> str:
    """The graphics card by its name, or the processor and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{processor()}, {os.cpu_count()} cores"
    return f"{processor()}, {device.type}"


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
