"""Boxes that a user gives to `paranasal predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import Run

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, write_placement
from ParanasalSSLLib.sinuses import Side


def test_boxes_by_hand_are_used_as_they_are(
    run: Run, scan: Path, toolbox: Any, tmp_path: Path
) -> None:
    moved = toolbox.centers[Side.RIGHT] + (3.0, 2.0, 1.0)
    file = tmp_path / "hand.mrk.json"
    box = SinusBox(Side.RIGHT, moved, toolbox.turned(5, 2), origin="hand")
    write_placement(Placement({Side.RIGHT: box}), file)
    assert run(scan, "--boxes", file) == 0
    report = json.loads((tmp_path / "out" / "sub-0001" / "sub-0001_report.json").read_text())
    assert list(report["sinuses"]) == ["right"]
    box = report["sinuses"]["right"]["box"]
    np.testing.assert_allclose(box["center_ras_mm"], moved, atol=1e-3)
    assert box["origin"] == "hand"


def test_boxes_that_nobody_moved_keep_the_quality_of_their_registration(
    run: Run, scan: Path, toolbox: Any, tmp_path: Path
) -> None:
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    placement = Placement(boxes, toolbox.quality("review", ("Look at them.",)))
    write_placement(placement, tmp_path / "placed.json")
    assert run(scan, "--boxes", tmp_path / "placed.json") == 0
    report = json.loads((tmp_path / "out" / "sub-0001" / "sub-0001_report.json").read_text())
    assert report["quality"]["verdict"] == "review"
    assert report["quality"]["reasons"] == ["Look at them."]
    assert report["sinuses"]["left"]["box"]["origin"] == "registration"


def test_boxes_belong_to_one_scan(run: Run, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        run(scan, scan, "--boxes", tmp_path / "hand.mrk.json")
    assert stop.value.code == 2


def test_unreadable_boxes_are_said_once(
    run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, "--boxes", tmp_path / "none.mrk.json") == 1
    assert "none.mrk.json" in capsys.readouterr().err
