"""`paranasal devices`: where the networks can run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ParanasalSSLLib.cli.views import say


@dataclass(frozen=True)
class DevicesConfig:
    """Lists the devices that --device takes; `auto` takes the first."""

    json: bool = False
    """Print one JSON object and nothing else."""


def run_devices(config: DevicesConfig) -> None:
    """Print each device with what people call it."""
    from ParanasalSSLLib.devices import device_title, present_devices

    titles = {device: device_title(device) for device in present_devices()}
    if config.json:
        say(json.dumps({"devices": titles}))
    else:
        say(*(f"{device:<5} {title}" for device, title in titles.items()))
