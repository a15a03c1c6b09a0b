"""Export: what is on screen, in a folder of its own; DICOM objects for a DICOM series."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.placement import read_placement
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side


@pytest.fixture
def scored(openPanel: Any, writing: Any, scan: Any, tmp_path: Path) -> Any:
    """A panel with a scored scan, and a folder to export to."""
    panel = openPanel(writing)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "Expört")
    return panel


def export(panel: Any) -> str:
    """Press the button, and return what the panel says."""
    panel.ui.exportButton.click()
    return str(panel.ui.exportLabel.text)


def test_everything_is_written_under_the_id_that_the_user_has_chosen(
    slicer: Any, scored: Any, scan: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.boxes import boxesOf

    assert scored.ui.exportIdEdit.text == "sub-0001", "a free one is proposed"
    scored.ui.exportIdEdit.text = "Nose 7"
    out = tmp_path / "Expört" / "Nose 7"
    assert str(out) in export(scored)
    names = {path.name.removeprefix("Nose 7_") for path in out.iterdir()}
    assert names == {
        *("report.html", "report.json", "desc-boxes.mrk.json", "scene.mrb"),
        *("desc-residual_map.nii.gz", "desc-residual_dseg.seg.nrrd"),
    }
    boxes = read_placement(out / "Nose 7_desc-boxes.mrk.json").boxes
    for side, box in boxesOf(scan).items():
        np.testing.assert_allclose(boxes[side].box_to_ras, box.box_to_ras, atol=1e-4)
    assert json.loads((out / "Nose 7_report.json").read_text())["scan"] == "Nose 7"
    assert scored.ui.exportButton.enabled


def test_a_users_edits_and_verdict_are_exported(
    slicer: Any, scored: Any, scan: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.results import segmentationOf

    from ParanasalSSLLib.results.maps import read_labels
    from ParanasalSSLLib.results.reading import read_reading
    from ParanasalSSLLib.results.record import read_report

    node = segmentationOf(scan)
    identifier = node.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, scan).copy()
    mask[: np.argwhere(mask)[:, 0].mean().astype(int)] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, identifier, scan)
    choose(scored.ui.leftVerdictComboBox, "disagree")
    export(scored)
    files = ScanFiles.in_output(tmp_path / "Expört", "sub-0001")
    labels = read_labels(files, mask.shape[::-1])[0]
    assert np.array_equal(labels == SEGMENT_LABELS[Side.LEFT], mask.transpose(2, 1, 0) > 0)
    reading = read_reading(files, read_report(files.report_json))
    assert reading is not None and reading.verdicts == {Side.LEFT: "disagree"}
    assert reading.edited_ml[Side.LEFT] == pytest.approx(mask.sum() * 0.027, abs=1e-3)
    assert "the reader disagrees" in files.report_html.read_text()


def choose(combo: Any, data: str) -> None:
    """As a user does with the mouse."""
    combo.setCurrentIndex(combo.findData(data))
    combo.activated.emit(combo.currentIndex)


def test_what_cannot_be_exported_is_told_in_words(
    scored: Any, scan: Any, tmp_path: Path, geometry: Any
) -> None:
    from ParanasalSSLPanel.boxes import boxNode

    (tmp_path / "file").touch()
    ui = scored.ui
    ui.exportFolderEdit.currentPath = str(tmp_path / "file" / "below")
    ui.exportButton.click()
    assert "cannot be written" in ui.messageLabel.text and ui.exportButton.enabled
    ui.exportFolderEdit.currentPath = str(tmp_path)
    ui.exportIdEdit.text = "../elsewhere"
    ui.exportButton.click()
    assert "cannot be the name of a folder" in ui.messageLabel.text
    ui.exportIdEdit.text = "sub-0001"
    geometry.move(boxNode(scan, Side.LEFT), (0, 3, 0))
    ui.exportButton.click()
    assert "Press Run first" in ui.messageLabel.text, "results of other boxes are not on screen"
    assert not (tmp_path / "sub-0001").exists()


def test_the_report_of_what_is_shown_opens(scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    opened: list[str] = []
    take = staticmethod(lambda url: opened.append(url.toLocalFile()))
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", take)
    choose(scored.ui.rightVerdictComboBox, "unsure")
    scored.ui.openReportButton.click()
    assert opened[0].endswith("sub-slicer_report.html")
    assert "the reader is unsure" in Path(opened[0]).read_text()
    export(scored)
    scored.ui.openReportButton.click()
    assert opened[1].endswith("sub-0001_report.html"), "what was exported, with a reader's edits"
    scored.ui.runButton.click()
    scored.ui.openReportButton.click()
    assert opened[2].endswith("sub-slicer_report.html"), "the new result was not exported yet"


def test_a_scan_without_results_is_not_exported(openPanel: Any, standIn: Any, scan: Any) -> None:
    panel = openPanel(standIn)
    assert not panel.ui.exportButton.enabled and not panel.ui.openReportButton.enabled


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
    database = SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""), isOpen=True)
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
    slicer: Any, module: Any, dicomScan: FromDicom, alter: Any, words: str
) -> None:
    from ParanasalSSLPanel.dicomSeries import seriesOf

    if alter is not None:
        alter(dicomScan)
    remarks: list[str] = []
    assert (seriesOf(dicomScan.node, remarks) is not None) == (alter is None)
    assert words in " ".join(remarks)


def test_a_dicom_series_gives_dicom_objects_of_its_study(
    openPanel: Any,
    writing: Any,
    dicomScan: FromDicom,
    sample_series: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    import sys

    import pydicom
    from ParanasalSSLPanel import kept

    imported: list[tuple[str, bool]] = []

    def importDicom(folder: str, copyFiles: bool) -> bool:
        imported.append((folder, copyFiles))
        return True

    utils = SimpleNamespace(importDicom=importDicom)
    monkeypatch.setitem(sys.modules, "DICOMLib", SimpleNamespace(DICOMUtils=utils))
    panel = openPanel(writing)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "out")
    panel.ui.exportDatabaseCheckBox.click()
    folder = tmp_path / "out" / "sub-0001"
    assert export(panel) == f"Written to {folder}"
    report = json.loads((folder / "sub-0001_report.json").read_text())
    found = pydicom.dcmread(folder / report["files"]["dicom_sr"])
    source = pydicom.dcmread(next(iter(dicomScan.files.values())), stop_before_pixels=True)
    assert found.StudyInstanceUID == source.StudyInstanceUID
    assert found.PatientID == source.PatientID
    segments = pydicom.dcmread(folder / report["files"]["dicom_seg"])
    assert segments.Modality == "SEG"
    assert segments.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert imported == [(str(folder), True)]

    # Opened from a worklist that has DICOM objects, and scored again.
    home = ScanFiles.in_output(tmp_path / "out", "sub-0001")
    kept.keepOrigin(dicomScan.node, kept.Origin(ScanSource(sample_series), home))
    panel.ui.runButton.click()
    assert panel.ui.messageLabel.text == ""
    assert pydicom.dcmread(home.dicom_report).SOPInstanceUID != found.SOPInstanceUID
