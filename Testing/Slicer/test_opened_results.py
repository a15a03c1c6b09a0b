"""Results of a worklist that are opened: those of this scan, as they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def home(slicer: Any, makeLogic: Callable[[Any], Any], writing: Any, scan: Any) -> Any:
    """The scan as a file, and its result; neither is in the scene."""
    from ParanasalSSLPanel import cases, kept, scans

    from ParanasalSSLLib.scans.volume import write_volume

    logic = makeLogic(writing)
    logic.placeBoxes(scan)
    logic.run(scan)
    files = kept.resultOf(scan)
    path = files.folder.parent / "scan.nii"
    write_volume(scans.volumeFromNode(scan), path)
    cases.closeCase(scan)
    return path, files


def opened(home: tuple[Path, ScanFiles]) -> Any:
    from ParanasalSSLPanel.openResult import openResult

    path, files = home
    return openResult(path, files.folder.parent, files.scan_id)


def score_anew(files: ScanFiles, probability: float) -> None:
    """As another user, or the command line, does meanwhile."""
    from dataclasses import replace

    from ParanasalSSLLib.results.record import read_report, write_report

    record = read_report(files.report_json)
    sinus = replace(record.sinuses[Side.LEFT], probability=probability)
    write_report(replace(record, sinuses={**record.sinuses, Side.LEFT: sinus}), files.report_json)


def test_another_scan_on_the_same_grid_does_not_get_the_results(slicer: Any, home: Any) -> None:
    """As when two patients were scanned by one protocol, and a file was replaced or mistaken."""
    from ParanasalSSLLib.scans.read import read_volume
    from ParanasalSSLLib.scans.volume import Volume, write_volume

    path, _files = home
    volume = read_volume(path)
    other = Volume(np.flip(volume.data, 1).copy(), volume.affine, volume.provenance)
    write_volume(other, path)
    with pytest.raises(ParanasalError, match="not the scan of these results"):
        opened(home)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []


def test_a_scan_that_was_scored_anew_elsewhere_gets_its_new_numbers(home: Any) -> None:
    from ParanasalSSLPanel import results

    scan = opened(home)
    assert opened(home) is scan
    score_anew(home[1], 0.35)
    assert opened(home) is scan
    assert results.probabilitiesOf(scan)[Side.LEFT] == 0.35


def test_a_verdict_on_numbers_that_are_no_longer_there_is_not_written(home: Any) -> None:
    from ParanasalSSLPanel.readings import setReading

    scan = opened(home)
    score_anew(home[1], 0.35)
    with pytest.raises(ParanasalError, match="scored anew elsewhere"):
        setReading(scan, {Side.LEFT: "agree"}, "")
    assert not home[1].reading.exists()
    assert "agree" not in home[1].report_html.read_text()


@pytest.mark.application
def test_a_saved_scene_does_not_get_the_files_of_a_later_run(
    slicer: Any, makeLogic: Callable[[Any], Any], writing: Any, scan: Any, tmp_path: Path
) -> None:
    """What is on screen is exported, not what was scored after the scene was saved."""
    from ParanasalSSLPanel import kept, scans

    logic = makeLogic(writing)
    logic.placeBoxes(scan)
    logic.run(scan)
    copy = slicer.vtkSlicerVolumesLogic.CloneVolume(slicer.mrmlScene, scan, "Copy")
    first = kept.resultOf(scan)
    logic.run(scan)
    assert kept.resultOf(copy) == first != kept.resultOf(scan)
    scene = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(scene))
    logic.run(scan)
    last = kept.resultOf(scan)
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(scene))
    assert len(scans.scansInScene()) == 2
    assert last not in [kept.resultOf(node) for node in scans.scansInScene()]
