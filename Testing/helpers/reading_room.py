"""A reading room in a process of its own, seen by Chromium; for tests, benches and pictures."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PARANASAL = [sys.executable, "-m", "ParanasalSSLLib.cli.main"]
VIEW = "from ParanasalSSLLib.cli.main import run_command; from ParanasalSSLViewer.commands import "
VIEW += "COMMANDS; import sys; sys.exit(run_command(COMMANDS[0], sys.argv[1:]))"
CHROMIUM = shutil.which("chromium")
PATIENCE_S = 120.0  # of a busy computer
OPENING_S = 300.0  # until a room is open there
SIZE = {"width": 1400, "height": 850}


@dataclass(frozen=True)
class OpenRoom:
    """address: with its token. process: id of the room's."""

    address: str
    process: int


@contextmanager
def open_room(arguments: list[str], log: Path) -> Iterator[OpenRoom]:
    """`paranasal view` with these arguments."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    call = [sys.executable, "-c", VIEW, *arguments, "--no-browser"]
    with log.open("w") as file:
        server = subprocess.Popen(call, cwd=ROOT, stdout=file, stderr=file, env=environment)
    try:
        yield OpenRoom(_address(server, log), server.pid)
    finally:
        server.terminate()
        server.wait(30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + OPENING_S
    while time.monotonic() < end and server.poll() is None:
        found = re.search(r"http://\S+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


@contextmanager
def open_page(address: str, size: dict[str, int] | None = None) -> Iterator[Any]:
    """The room's page in Chromium, once a case is open; errors of its scripts are raised at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport=size or SIZE).new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        faults: list[Any] = []
        page.on("pageerror", lambda fault: faults.append(fault))
        page.goto(address)
        page.wait_for_selector("#worklist .case.present")
        yield page
        browser.close()
        assert not faults, faults


def picture(page: Any, view: int) -> np.ndarray:
    """(height, width, 3) of a view, in the order in which the page has them."""
    png = page.locator(".layout-grid-item").nth(view).screenshot()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def wait_until(page: Any, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end
        page.wait_for_timeout(300)
