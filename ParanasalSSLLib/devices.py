"""Where the networks can run. Importing this loads no torch."""

from __future__ import annotations

import os
from typing import Literal

from ParanasalSSLLib.errors import DeviceUnavailable

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DEVICE_NAMES: tuple[DeviceName, ...] = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> str:
    """The torch device for a name of `DEVICE_NAMES`; "auto" takes a GPU if there is one.

    Raises `DeviceUnavailable` for a device that is not present.
    """
    if name not in DEVICE_NAMES:
        raise DeviceUnavailable(f"Unknown device {name!r}; choose {', '.join(DEVICE_NAMES)}.")
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
    """torch's names of the devices of this machine, the best first; the CPU is always there."""
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return [device for device, there in present.items() if there]


def device_title(device: str) -> str:
    """What people call a device of `present_devices`: "NVIDIA H200", "CPU, 16 cores"."""
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return "Apple GPU" if device == "mps" else f"CPU, {os.cpu_count()} cores"
