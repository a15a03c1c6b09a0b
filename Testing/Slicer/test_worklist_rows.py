"""The worklist itself: its order, its file, its numbers as CSV."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.quality import Quality, Verdict
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import ImageRecord, ModelRecord, ScanRecord, write_report
from ParanasalSSLLib.results.sinus_record import BoxRecord, SinusRecord
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Decision, Side


def record_of(identifier: str, left: float, right: float, verdict: Verdict = "ok") -> ScanRecord:
    box = BoxRecord((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0),) * 3, 64.0, "registration")

    def sinus(probability: float) -> SinusRecord:
        decision = "anomaly" if probability > 0.5 else "clear"
        return SinusRecord("sinus", probability, decision, 0.5, 1.5, 0.01, box)

    return ScanRecord(
        scan=identifier,
        note=None,
        software="0",
        model=ModelRecord("tiny", "1", "0", True, 0.5, ()),
        image=ImageRecord("NIfTI", None, (2, 2, 2), (1.0, 1.0, 1.0)),
        quality=Quality(verdict),
        sinuses={Side.LEFT: sinus(left), Side.RIGHT: sinus(right)},
    )


@pytest.fixture
def filled(module: Any, tmp_path: Path) -> Any:
    """A list of four scans: two scored, one to review, one failed."""
    from ParanasalSSLPanel.worklist import Worklist

    worklist = Worklist(tmp_path / "results")
    worklist.add({ScanSource(tmp_path / f"Mustermann_{n}.nii.gz"): "" for n in range(4)})
    records = [
        record_of("sub-0001", 0.2, 0.1),
        record_of("sub-0002", 0.3, 0.9),
        record_of("sub-0003", 0.004, 0.1, "review"),
    ]
    for record in records:
        files = ScanFiles.in_output(worklist.folder, record.scan)
        files.report_json.parent.mkdir()
        write_report(record, files.report_json)
        worklist.change(record.scan, "done")
    worklist.change("sub-0004", "failed", "Mustermann_3.nii.gz is damaged.")
    return worklist


def test_what_needs_a_person_comes_first(filled: Any) -> None:
    rows = filled.rows()
    assert [row.entry.identifier for row in rows] == [f"sub-000{n}" for n in (3, 2, 1, 4)]
    assert [rows[1].probability(side) for side in (Side.LEFT, Side.RIGHT)] == [0.3, 0.9]
    assert rows[1].quality == "ok" and rows[3].probability(Side.LEFT) is None


def test_probabilities_are_shown_in_words_and_sorted_as_numbers(
    filled: Any, openPanel: Any, standIn: Any
) -> None:
    panel = openPanel(standIn)
    table = panel.ui.worklistTable
    panel.ui.worklistFolderEdit.currentPath = str(filled.folder)

    def left() -> list[str]:
        return [table.item(row, 1).text() for row in range(table.rowCount)]

    assert left() == ["< 0.01", "0.30", "0.20", ""], "the urgent first"
    table.horizontalHeader().sectionClicked.emit(1)
    assert left() == ["", "< 0.01", "0.20", "0.30"]
    table.horizontalHeader().sectionClicked.emit(1)
    assert left() == ["0.30", "0.20", "< 0.01", ""]


def test_the_list_survives_and_what_was_running_waits_again(filled: Any) -> None:
    from ParanasalSSLPanel.worklist import Worklist

    filled.change("sub-0001", "running")
    again = Worklist(filled.folder)
    states = {name: entry.state for name, entry in again.entries.items()}
    assert states["sub-0001"] == "waiting"
    assert states["sub-0002"] == "done" and states["sub-0004"] == "failed"
    assert again.add({ScanSource(Path(filled.entries["sub-0002"].path)): ""}) == 0
    assert again.add({ScanSource(filled.folder / "new.nii"): ""}) == 1
    assert again.entries["sub-0005"].state == "waiting"


def test_a_damaged_list_or_result_is_told_in_words(filled: Any) -> None:
    from ParanasalSSLPanel.worklist import LIST, Worklist

    (filled.folder / "sub-0002" / "sub-0002_report.json").write_text("{")
    row = next(row for row in filled.rows() if row.entry.identifier == "sub-0002")
    assert row.entry.state == "failed" and "Score the scan again" in row.entry.message
    (filled.folder / LIST).write_text("[]")
    with pytest.raises(BadConfig, match="damaged"):
        Worklist(filled.folder)


def test_numbers_are_exported_without_names_unless_asked(filled: Any, tmp_path: Path) -> None:
    from ParanasalSSLPanel.worklistCsv import exportCsv

    exportCsv(filled.rows(), tmp_path / "plain.csv")
    text = (tmp_path / "plain.csv").read_text()
    assert "Mustermann" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["id"] for row in rows] == ["sub-0003", "sub-0002", "sub-0001", "sub-0004"]
    assert float(rows[1]["right_probability"]) == 0.9 and rows[1]["right_decision"] == "anomaly"
    assert rows[3]["left_probability"] == "" and rows[3]["state"] == "failed"
    assert (tmp_path / "plain_findings.csv").read_text().startswith("id,side,finding,ml")
    exportCsv(filled.rows(), tmp_path / "named.csv", withNames=True)
    assert "Mustermann_3.nii.gz" in (tmp_path / "named.csv").read_text()


def test_a_side_that_is_not_judged_has_no_numbers(scan: Any, module: Any) -> None:
    from ParanasalSSLPanel import places, results, tables
    from ParanasalSSLPanel.compute import Findings

    scored = record_of("sub-0001", 0.2, 0.1)
    left = scored.sinuses[Side.LEFT]
    none = dict.fromkeys(("probability", "opacity_ml", "opacity_fraction"))
    measured = {"cavity_ml": 20.0, "filled_fraction": 0.1, "depth_mm": 2.0, "grade": 0}
    sinuses = {
        Side.LEFT: replace(left, decision=Decision.NOT_JUDGED, **none),
        Side.RIGHT: replace(left, findings=(), **measured),
    }
    voxels = np.zeros(scan.GetImageData().GetDimensions())
    masks = dict.fromkeys(Side, voxels > 0)
    findings = Findings(voxels, masks, sinuses, Quality("review"), (), "tiny 1")
    boxes = {side: SinusBox(side, (0.0, 0.0, 0.0)) for side in Side}
    results.showFindings(scan, boxes, findings)
    assert places.placesOf(scan) == [] and list(results.probabilitiesOf(scan)) == [Side.RIGHT]
    page = tables.scoresHtml(scan)
    assert page.count("Not judged") == 1 and page.count("–") == 5 and "nan" not in page


def test_two_slicers_may_have_one_folder(slicer: Any, tmp_path: Path) -> None:
    """Neither loses the other's scans, and no id means two of them."""
    from ParanasalSSLPanel.worklist import Worklist

    folder = tmp_path / "list"
    here, there = Worklist(folder), Worklist(folder)
    for worklist, name in ((here, "A"), (there, "B")):
        files = (tmp_path / name / "1.dcm",)
        worklist.add({ScanSource(tmp_path / name, files, "1: T1"): name})
    here.change("sub-0001", "running")
    there.change("sub-0002", "done")
    here.change("sub-0001", "failed", "Damaged.")
    found = Worklist(folder)
    assert {entry.title: entry.state for entry in found.entries.values()} == {
        "A": "failed",
        "B": "done",
    }
    for entry in found.entries.values():
        assert found.sourceOf(entry).files == (tmp_path / entry.title / "1.dcm",)
