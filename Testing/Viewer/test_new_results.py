"""All scans of a room are scored into a new folder, in a real browser; one of them is none."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="needs playwright: make test-browser")
pytest.importorskip("trame_slicer", reason="needs trame-slicer: make test-browser")

from reading_room import CHROMIUM, open_page, open_room

from ParanasalSSLLib.results.layout import OVERVIEW, TABLE

if CHROMIUM is None:
    pytest.skip("needs Chromium (Debian: apt-get install chromium)", allow_module_level=True)


def test_new_results_get_an_overview_and_errors_tell_no_folder(
    sample_head: Path, tmp_path: Path
) -> None:
    broken, out, log = tmp_path / "Meier Anna" / "a.nii", tmp_path / "out", tmp_path / "log"
    broken.parent.mkdir()
    broken.write_text("no scan")
    arguments = [str(broken), str(sample_head), "--output", str(out)]
    with open_room(arguments, log) as room, open_page(room.address) as page:
        page.wait_for_selector("#words.error:has-text('a.nii')")  # the first case is opened
        page.click("#run-waiting")
        page.wait_for_selector("#case-sub-0002:has-text('Anomaly suspected')", timeout=300_000)
        page.wait_for_selector("#progress", state="detached")
        assert "a.nii" in page.inner_text("#case-sub-0001 .error")
        assert "Meier" not in page.content()
    assert str(broken) in log.read_text()
    with (out / TABLE).open(newline="") as file:
        states = {row["id"]: row["state"] for row in csv.DictReader(file)}
    assert states == {"sub-0001": "failed", "sub-0002": "done"}
    assert "sub-0001" in (out / OVERVIEW).read_text()
