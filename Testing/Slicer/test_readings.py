"""A reader's verdict, and the worklist's loop: open, correct, score, written back, read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.overview import Overview
from ParanasalSSLLib.results.reading import read_reading
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def opened(openPanel: Any, writing: Any, scan: Any, tmp_path: Path) -> Any:
    """A panel with the only scan of a worklist, opened by a click; the boxes were to be reviewed."""
    from ParanasalSSLPanel import cases, kept, scans
    from ParanasalSSLPanel.worklist import Worklist

    from ParanasalSSLLib.results.export import export_result
    from ParanasalSSLLib.scans.volume import write_volume

    writing.verdict = "review"
    panel = openPanel(writing)
    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    path, folder = tmp_path / "scan.nii", tmp_path / "list"
    write_volume(scans.volumeFromNode(scan), path)
    folder.mkdir()
    worklist = Worklist(folder)
    worklist.add({ScanSource(path): ""})
    export_result(kept.resultOf(scan), ScanFiles.in_output(folder, "sub-0001"))
    worklist.change("sub-0001", "done")
    cases.closeCase(scan)
    panel.ui.worklistFolderEdit.currentPath = str(folder)
    panel.ui.worklistTable.cellClicked.emit(0, 0)
    panel.files = ScanFiles.in_output(folder, "sub-0001")
    return panel


def choose(combo: Any, data: str) -> None:
    """As a user does with the mouse."""
    combo.setCurrentIndex(combo.findData(data))
    combo.activated.emit(combo.currentIndex)


def quality(panel: Any) -> str:
    return str(panel.ui.worklistTable.item(0, 3).text())


def test_a_case_is_to_be_reviewed_until_the_reader_has_read_it(opened: Any, tmp_path: Path) -> None:
    from ParanasalSSLPanel.worklistCsv import exportCsv

    ui = opened.ui
    Overview(opened.files.folder.parent).write()
    assert quality(opened) == "review" and ui.leftVerdictComboBox.currentText == ""
    choose(ui.leftVerdictComboBox, "unsure")
    ui.commentEdit.text = "=Motion?"
    ui.commentEdit.editingFinished.emit()
    assert quality(opened) == "read"
    reading = read_reading(opened.files, read_report(opened.files.report_json))
    assert reading is not None and reading.verdicts == {Side.LEFT: "unsure"}
    assert "the reader is unsure" in opened.files.report_html.read_text()
    table = (opened.files.folder.parent / "results.csv").read_text()
    assert "unsure" in table, "the folder's overview says it, too"
    opened.worklistSection.worklist.forget()
    exportCsv(opened.worklistSection.worklist.rows(), tmp_path / "list.csv")
    [row] = csv.DictReader((tmp_path / "list.csv").read_text().splitlines())
    assert (row["left_reader"], row["right_reader"]) == ("unsure", "")
    assert row["reader_comment"] == "'=Motion?", "nothing that a spreadsheet would run"


def test_a_corrected_case_is_written_back_and_its_old_verdict_goes(
    opened: Any, writing: Any, geometry: Any
) -> None:
    from ParanasalSSLPanel import selfcheck
    from ParanasalSSLPanel.boxes import boxNode

    from ParanasalSSLLib.boxes.placement import read_placement

    choose(opened.ui.rightVerdictComboBox, "disagree")
    geometry.move(boxNode(opened.scan, Side.LEFT), (0, 4, 0))
    known = dict(selfcheck.PROBABILITIES)
    selfcheck.PROBABILITIES[Side.LEFT] = 0.6
    try:
        opened.ui.runButton.click()
    finally:
        selfcheck.PROBABILITIES.update(known)
    assert opened.ui.messageLabel.text == ""
    assert read_report(opened.files.report_json).sinuses[Side.LEFT].probability == 0.6
    assert read_placement(opened.files.boxes).boxes[Side.LEFT].origin == "hand"
    assert opened.ui.worklistTable.item(0, 1).text() == "0.60"
    assert quality(opened) == "review" and opened.ui.rightVerdictComboBox.currentText == ""


def test_a_verdict_comes_back_with_the_case(opened: Any) -> None:
    choose(opened.ui.leftVerdictComboBox, "agree")
    opened.ui.closeCaseButton.click()
    opened.ui.worklistTable.cellClicked.emit(0, 0)
    assert opened.ui.leftVerdictComboBox.currentText == "agree"


def test_a_comment_that_is_being_typed_stays_until_it_is_kept(slicer: Any, opened: Any) -> None:
    """Whatever happens in the scene or to a computation meanwhile."""
    from ParanasalSSLPanel.selfcheck import addMadeUpScan
    from PySide6.QtTest import QTest

    edit = opened.ui.commentEdit
    QTest.keyClicks(edit, "Motion?")
    slicer.mrmlScene.RemoveNode(addMadeUpScan("Another"))
    assert edit.text == "Motion?"
    edit.editingFinished.emit()
    opened.refresh()
    assert edit.text == "Motion?"
    reading = read_reading(opened.files, read_report(opened.files.report_json))
    assert reading is not None and reading.comment == "Motion?"
    QTest.keyClicks(edit, " No")
    opened.ui.scanSelector.setCurrentNode(addMadeUpScan("Another"))
    assert edit.text == ""
