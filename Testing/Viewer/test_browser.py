"""The reading room in a real browser: Slicer's views, clicked by Playwright in Debian's Chromium."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="needs playwright: make test-browser")
pytest.importorskip("trame_slicer", reason="needs trame-slicer: make test-browser")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs Chromium (Debian: apt-get install chromium)", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
PARANASAL = [sys.executable, "-m", "ParanasalSSLLib.cli.main"]
VIEW = "from ParanasalSSLLib.cli.main import run_command; from ParanasalSSLViewer.commands import "
VIEW += "COMMANDS; import sys; sys.exit(run_command(COMMANDS[0], sys.argv[1:]))"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def out(sample_head: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the sample head, with the cyst in its left sinus."""
    folder = tmp_path_factory.mktemp("room") / "out"
    call = [*PARANASAL, "predict", str(sample_head), "-o", str(folder)]
    subprocess.run(call, check=True, cwd=ROOT, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def address(out: Path, sample_head: Path) -> Iterator[str]:
    """Of a room that shows them."""
    call = [sys.executable, "-c", VIEW, str(out), str(sample_head), "--no-browser"]
    log = out.parent / "log"
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("w") as file:
        server = subprocess.Popen(call, cwd=ROOT, stdout=file, stderr=file, env=environment)
    try:
        yield wait_for_address(server, log)
    finally:
        server.terminate()
        server.wait(30)


def wait_for_address(server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 300
    while time.monotonic() < end and server.poll() is None:
        found = re.search(r"http://\S+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 850})
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        faults: list[Any] = []
        page.on("pageerror", lambda fault: faults.append(fault))
        page.goto(address)
        page.wait_for_selector("#scores table")
        yield page
        browser.close()
        assert not faults


def picture(page: Any, view: int) -> np.ndarray:
    """(height, width, 3) of a view: 0 axial, 1 sagittal, 2 coronal, 3 in 3D."""
    png = page.locator(".layout-grid-item").nth(view).screenshot()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def orange(picture: np.ndarray) -> int:
    """How many pixels have a colour of the overlay."""
    red, _green, blue = np.moveaxis(picture, -1, 0)
    return int(((red > 150) & (red - blue > 90)).sum())


def wait_until(page: Any, happened: Any) -> None:
    end = time.monotonic() + PATIENCE_MS / 1000
    while not happened():
        assert time.monotonic() < end
        page.wait_for_timeout(300)


def test_a_result_is_read(page: Any, out: Path) -> None:
    assert page.locator("#worklist .case").count() == 1
    assert "Anomaly suspected" in page.inner_text("#scores")
    assert "token" not in page.url
    wait_until(page, lambda: picture(page, 0).max() > 150)  # the scan is seen

    page.click("#next")
    page.wait_for_selector("#findings .present")
    assert "Left maxillary sinus" in page.inner_text("#findings .present")
    wait_until(page, lambda: orange(picture(page, 0)) > 200)
    shown = orange(picture(page, 0))

    page.locator("[role=slider]").first.press("End")
    wait_until(page, lambda: orange(picture(page, 0)) < shown / 2)

    page.click("#left-agree")
    page.wait_for_selector("#kept:has-text('Saved')")
    page.fill("#comment", "A cyst.")
    page.click("#save")
    reading = next(out.glob("*/*_reading.json"))
    wait_until(page, lambda: json.loads(reading.read_text())["comment"] == "A cyst.")
    assert json.loads(reading.read_text())["verdicts"] == {"left": "agree"}

    page.reload()
    page.wait_for_selector("#scores table")
    assert page.input_value("#comment") == "A cyst."
    assert "read" in page.inner_text("#worklist .case")
    wait_until(page, lambda: picture(page, 0).max() > 150)


def test_a_second_window_is_refused_in_words(page: Any) -> None:
    second = page.context.new_page()
    second.goto(page.url)
    second.wait_for_selector("text=open in another window")
    second.close()
    assert page.locator("#scores table").count() == 1


def test_a_run_is_cancelled_and_changes_nothing(page: Any, out: Path) -> None:
    report = next(out.glob("*/*_report.json"))
    before = report.stat().st_mtime_ns
    page.click("#run")
    page.wait_for_selector("#cancel")
    page.click("#cancel")
    page.wait_for_selector("#words:has-text('Cancelled')")
    assert report.stat().st_mtime_ns == before


def test_all_files_are_exported(page: Any) -> None:
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename.endswith(".zip")
