"""Export: all files of a scan in a folder of their own, DICOM objects for a DICOM series."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reports import validated

from ParanasalSSLLib.boxes.placement import read_placement
from ParanasalSSLLib.boxes.quality import Quality
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
    headless.wait_until(lambda: not panel.exportSection.isRunning, 240)
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
    pictures = {name for name in names if name.endswith("_slices.png")}
    assert {"desc-boxes_slices.png", "desc-middle_slices.png"} <= pictures
    assert names - pictures == {
        *("report.html", "report.json", "desc-boxes.mrk.json", "scene.mrb"),
        *("desc-residual_map.nii.gz", "desc-residual_dseg.seg.nrrd"),
    }
    boxes = read_placement(out / "sub-0002" / "sub-0002_desc-boxes.mrk.json").boxes
    for side, box in boxesOf(scan).items():
        np.testing.assert_allclose(boxes[side].box_to_ras, box.box_to_ras, atol=1e-4)
        assert boxes[side].origin == box.origin
    assert not list(Path(slicer.app.temporaryPath).glob("ParanasalSSL-*"))
    assert not list((out / "sub-0001").iterdir())
    (out / "sub-0001").rmdir()
    assert list(validated(out)) == ["sub-0002"]
    assert placedPanel.ui.exportButton.enabled


def test_a_folder_that_cannot_be_written_is_told_in_words(placedPanel: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    placedPanel.ui.exportFolderEdit.currentPath = str(tmp_path / "file" / "below")
    placedPanel.ui.exportButton.click()
    assert "cannot be written" in placedPanel.ui.messageLabel.text
    assert not placedPanel.exportSection.isRunning and placedPanel.ui.exportButton.enabled


def test_a_scan_without_boxes_is_not_exported(openPanel: Any, standIn: Any, scan: Any) -> None:
    panel = openPanel(standIn)
    panel.ui.exportButton.click()
    assert panel.ui.exportLabel.text == "Choose a folder first."
    panel.ui.exportFolderEdit.currentPath = "/tmp"
    panel.ui.exportButton.click()
    assert "Press Place boxes first" in panel.ui.messageLabel.text


@dataclass
class FromDicom:
    """A volume as the application loads it from a DICOM series; files: by SOPInstanceUID."""

    node: Any
    files: dict[str, str]


@pytest.fixture
def dicomScan(slicer: Any, sample_series: Path, monkeypatch: Any) -> FromDicom:
    """With a stand-in for the application's DICOM database."""
    import pydicom

    from ParanasalSSLLib.scans.read import read_volume

    files = {}
    for path in sample_series.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        files[str(header.SOPInstanceUID)] = str(path)
    volume = read_volume(sample_series)
    node = slicer.util.addVolumeFromArray(
        volume.data.transpose(2, 1, 0).copy(),
        volume.affine,
        "3: T1",
        "vtkMRMLScalarVolumeNode",
    )
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    database = SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return FromDicom(node, files)


def move(scan: FromDicom) -> None:
    x, y, z = scan.node.GetOrigin()
    scan.node.SetOrigin(x, y + 20, z)


def change(scan: FromDicom) -> None:
    import slicer

    slicer.util.arrayFromVolume(scan.node)[:] *= 1.1


def lose(scan: FromDicom) -> None:
    scan.files.popitem()


def cut(scan: FromDicom) -> None:
    """The file that is left out makes a gap in the series."""
    kept = list(scan.files)[:3:2]
    scan.node.SetAttribute("DICOM.instanceUIDs", " ".join(kept))


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (None, ""),
        (move, "was changed or moved after it was loaded"),
        (change, "was changed or moved after it was loaded"),
        (lose, "no longer in Slicer's DICOM database"),
        (cut, "No DICOM files were written"),
    ],
    ids=["untouched", "moved", "changed", "lost", "cut"],
)
def test_a_series_stands_for_the_scan_only_as_long_as_it_is_the_scan(
    slicer: Any, module: Any, dicomScan: FromDicom, tmp_path: Path, alter: Any, words: str
) -> None:
    from ParanasalSSLPanel.compute import Settings
    from ParanasalSSLPanel.export import Export
    from ParanasalSSLPanel.scans import volumeFromNode

    if alter is not None:
        alter(dicomScan)
    export = Export(dicomScan.node, tmp_path, Settings(), print, print)
    export.inputs = tmp_path / "inputs"
    export.inputs.mkdir()
    series = export.series(volumeFromNode(dicomScan.node))
    assert (series is not None) == (alter is None)
    assert words in " ".join(export.remarks)


def record_of(model: str, version: str, files: Mapping[str, str] = MappingProxyType({})) -> Any:
    from ParanasalSSLLib.results.record import ImageRecord, ModelRecord, ScanRecord

    return ScanRecord(
        scan="sub-0001",
        note=None,
        software="0",
        model=ModelRecord(model, version, "0", True, 0.5, ()),
        image=ImageRecord("NIfTI", None, (2, 2, 2), (1.0, 1.0, 1.0)),
        quality=Quality("ok"),
        sinuses={},
        files=files,
    )


def test_files_of_another_model_than_the_panels_are_told(
    slicer: Any, module: Any, logic: Any, scan: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.compute import Settings
    from ParanasalSSLPanel.export import Export

    logic.placeBoxes(scan)
    logic.run(scan)
    export = Export(scan, tmp_path, Settings(), print, print)
    export.compare(record_of("compact", "2"))
    assert export.remarks == [
        "The files are of model compact 2, the table in the panel is of stand-in 0."
    ]
    export.remarks.clear()
    export.compare(record_of("stand-in", "0", {"dicom_sr": "a"}))
    assert export.remarks == [
        "No opacity was found, so there is no DICOM segmentation, only the report."
    ]


def test_an_export_is_cancelled(placedPanel: Any, fakeLibrary: Any, tmp_path: Path) -> None:
    import headless
    import slicer

    fakeLibrary(
        """
        print('{"event": "stage", "stage": "analyse", "fraction": 0.5}', flush=True)
        sys.stdin.read()
        """
    )
    ui = placedPanel.ui
    ui.exportButton.click()
    headless.wait_until(lambda: ui.exportLabel.text == "Scoring the sinuses")
    assert not ui.runButton.enabled
    ui.cancelExportButton.click()
    headless.wait_until(lambda: not placedPanel.exportSection.isRunning)
    assert ui.exportLabel.text == "Cancelled. Nothing was exported."
    assert not list((tmp_path / "Expört").iterdir())
    assert not list(Path(slicer.app.temporaryPath).glob("ParanasalSSL-*"))
    assert ui.exportButton.enabled and not ui.cancelExportButton.enabled


@pytest.mark.slow
def test_a_dicom_series_gives_dicom_objects_of_its_study(
    openPanel: Any, dicomScan: FromDicom, tmp_path: Path
) -> None:
    import pydicom
    from ParanasalSSLPanel.compute import SeparateProcess

    files = dicomScan.files
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
    segments = pydicom.dcmread(folder / report["files"]["dicom_seg"])  # of the left sinus's cyst
    assert segments.Modality == "SEG"
    assert segments.FrameOfReferenceUID == source.FrameOfReferenceUID
