"""Where networks can run: ONNX Runtime on the CPU, PyTorch on a GPU. Importing this loads neither."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ParanasalSSLLib.errors import DeviceUnavailable, MissingPackage, install_line

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
MINIMUM_TORCH = (2, 5)
_M_ARENA_MAX = -8  # of glibc's malloc.h
DEVICE_NAMES: tuple[DeviceName, ...] = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> str:
    """The torch device for a name of `DEVICE_NAMES`; "auto" takes a GPU if there is one.

    Raises `DeviceUnavailable` for a device that is not present.
    """
    if name not in DEVICE_NAMES:
        raise DeviceUnavailable(f"Unknown device {name!r}; choose {', '.join(DEVICE_NAMES)}.")
    if name == "cpu":
        return name
    if name != "auto":
        require_torch(f"The device {name}")
    present = present_devices()
    if name == "auto":
        return present[0]
    if name not in present:
        import torch

        raise DeviceUnavailable(
            f"The device {name} is not present on this machine, or the installed torch "
            f"({torch.__version__}) does not support it. Use auto or cpu."
        )
    return name


def present_devices() -> list[str]:
    """torch's names of the devices of this machine, the best first; the CPU is always there.

    torch is asked, and loaded, only where it is installed and a GPU's driver is there.
    """
    if not has_torch() or not has_gpu_driver():
        return ["cpu"]
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return [device for device, there in present.items() if there]


def device_title(device: str) -> str:
    """What people call a device of `present_devices`: "NVIDIA H200", "CPU, 16 cores"."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return "Apple GPU" if device == "mps" else f"CPU, {os.cpu_count()} cores"


def has_torch() -> bool:
    """Whether PyTorch is installed and new enough; it is not loaded for that."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    numbers = version.split("+")[0].split(".")[:2]
    return tuple(int(n) for n in numbers if n.isdecimal()) >= MINIMUM_TORCH


def require_torch(what: str) -> None:
    """Raise `MissingPackage` where PyTorch is not installed. what: that needs it."""
    if not has_torch():
        raise MissingPackage(
            f"{what} needs PyTorch {'.'.join(map(str, MINIMUM_TORCH))} or newer, which is not "
            f"installed. Install it with `{install_line('gpu')}`."
        )


def has_gpu_driver() -> bool:
    """Whether a GPU that PyTorch knows may be there: Apple's, or one with NVIDIA's or AMD's driver."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def share_one_heap() -> None:
    """Let all threads of this process take memory from one heap, where the C library is glibc.

    It would give each thread a heap of its own, which keeps what is freed.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def cpu_threads() -> int:
    """Threads for work on the CPU: OMP_NUM_THREADS where it is set, else the cores of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return available_cores()


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
