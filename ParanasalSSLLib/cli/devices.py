"""`paranasal devices`: where the networks can run."""

from __future__ import annotations

import argparse
import json
from typing import Any


def register_devices(subparsers: Any) -> None:
    """Add `paranasal devices`."""
    parser = subparsers.add_parser(
        "devices",
        help="list where the networks can run",
        description="Lists the devices that --device takes; `auto` takes the first.",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run_devices)


def run_devices(args: argparse.Namespace) -> int:
    """Print each device with what people call it."""
    from ParanasalSSLLib.devices import device_title, present_devices

    titles = {device: device_title(device) for device in present_devices()}
    if args.json:
        print(json.dumps({"devices": titles}))
    else:
        print("\n".join(f"{device:<5} {title}" for device, title in titles.items()))
    return 0
