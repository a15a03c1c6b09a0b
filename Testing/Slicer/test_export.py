"""Export: all files of a scan in a folder of their own, DICOM objects for a DICOM series."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes import read_boxes
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def placedPanel(openPanel: Any, standIn: Any, scan: Any, tmp_path: Path) -> Any:
    """A panel with a scan, boxes placed, and a folder to export to."""
    panel = openPanel(standIn)
    panel.ui.placeBoxesButton.click()
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "Expört")
    return panel


def export(panel: Any) -> str:
    """Press the button, wait, and return what the panel says."""
    import headless

    panel.ui.exportButton.click()
    headless.wait_until(lambda: not panel._export.isRunning, 240)
    return str(panel.ui.exportLabel.text)


@pytest.mark.slow
def test_everything_is_written_and_nothing_overwritten(
    slicer: Any, placedPanel: Any, scan: Any, tmp_path: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel.boxes import boxesOf, boxNode

    geometry.move(boxNode(scan, Side.LEFT), (2, 1, -1))
    out = tmp_path / "Expört"
    (out / "sub-0001").mkdir(parents=True)  # of another scan
    assert str(out / "sub-0002") in export(placedPanel)
    names = {path.name.removeprefix("sub-0002_") for path in (out / "sub-0002").iterdir()}
    assert names == {
        *("report.html", "report.json", "desc-boxes.mrk.json", "scene.mrb"),
        *("desc-residual_map.nii.gz", "desc-residual_dseg.seg.nrrd"),
    }
    boxes = read_boxes(out / "sub-0002" / "sub-0002_desc-boxes.mrk.json")
    for side, box in boxesOf(scan).items():
        np.testing.assert_allclose(boxes[side].box_to_ras, box.box_to_ras, atol=1e-4)
        assert boxes[side].origin == box.origin
    assert not list(Path(slicer.app.temporaryPath).glob("ParanasalSSL-*"))
    assert not list((out / "sub-0001").iterdir())
    assert placedPanel.ui.exportButton.enabled


def test_a_folder_that_cannot_be_written_is_told_in_words(placedPanel: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    placedPanel.ui.exportFolderEdit.currentPath = str(tmp_path / "file" / "below")
    placedPanel.ui.exportButton.click()
    assert "cannot be written" in placedPanel.ui.messageLabel.text
    assert not placedPanel._export.isRunning and placedPanel.ui.exportButton.enabled


def test_a_scan_without_boxes_is_not_exported(openPanel: Any, standIn: Any, scan: Any) -> None:
    panel = openPanel(standIn)
    panel.ui.exportButton.click()
    assert panel.ui.exportLabel.text == "Choose a folder first."
    panel.ui.exportFolderEdit.currentPath = "/tmp"
    panel.ui.exportButton.click()
    assert "Press Place boxes first" in panel.ui.messageLabel.text


@pytest.mark.slow
def test_a_dicom_series_gives_dicom_objects_of_its_study(
    slicer: Any, openPanel: Any, shared_data: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """The series is loaded as the application does, with a stand-in for its DICOM database."""
    import pydicom

    from ParanasalSSLLib.volume import read_volume

    series = tmp_path / "series"
    with zipfile.ZipFile(shared_data / "heads" / "t1_sagittal_dicom.zip") as archive:
        archive.extractall(series)
    files = {}
    for path in (p for p in series.rglob("*") if p.is_file()):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if "SOPInstanceUID" in header:
            files[str(header.SOPInstanceUID)] = str(path)
    volume = read_volume(shared_data / "heads" / "t1_sagittal_dicom.zip")
    node = slicer.util.addVolumeFromArray(
        volume.data.transpose(2, 1, 0).copy(),
        volume.affine,
        "3: T1",
        "vtkMRMLScalarVolumeNode",
    )
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    database = SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)

    from ParanasalSSLPanel.compute import SeparateProcess

    panel = openPanel(SeparateProcess())
    panel.ui.placeBoxesButton.click()
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "out")
    assert "Written to" in export(panel)
    folder = tmp_path / "out" / "sub-0001"
    report = json.loads((folder / "sub-0001_report.json").read_text())
    found = pydicom.dcmread(folder / report["files"]["dicom_sr"])
    source = pydicom.dcmread(next(iter(files.values())), stop_before_pixels=True)
    assert found.StudyInstanceUID == source.StudyInstanceUID
    assert found.PatientID == source.PatientID
    if report["sinuses"]["left"]["anomaly_ml"] > 0:  # the nodule of the left sinus
        segments = pydicom.dcmread(folder / report["files"]["dicom_seg"])
        assert segments.Modality == "SEG"
        assert segments.FrameOfReferenceUID == source.FrameOfReferenceUID
