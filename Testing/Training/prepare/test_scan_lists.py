"""Tables that `prepare` refuses, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from paranasal_training.prepare.config import JitterSd, PrepareConfig
from paranasal_training.prepare.scans import read_scans
from paranasal_training.prepare.site import prepare
from site_scans import SAMPLE, by_hand, save_boxes, save_table

from ParanasalSSLLib.errors import BadBoxes, BadConfig, BadStore, UnsafeOutput
from ParanasalSSLLib.sinuses import Side

HEAD = "path,patient,left_class,right_class"


A, B = "scans/Ann.nii.gz", "scans/Bob.nii.gz"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path;patient", f"{A};Ann"], "lacks the column.*found.*path;patient.*with commas"),
        ([HEAD], "is empty"),
        ([HEAD, f"{A},Ann,0,0", f"scans/../{A},Bob,0,0"], "line 3.*line 2 .*already"),
        ([HEAD, f"{A},Ann,0,0", f"{B},Ann,0,4"], "line 3.*right label of patient Ann.*line 2"),
        ([HEAD, f"{A},Ann,0,0", "no.nii.gz,Bob,0,0"], "line 3.*no.nii.gz does not exist"),
        ([HEAD, f"{A},Ann,0,cyst"], "line 2.*right_class is 'cyst'.*3 cyst"),
        ([HEAD, f"{A},Ann,0,5"], "line 2.*right_class is '5'"),
        ([HEAD, f"{A},Ann,0"], "line 2.*4 cells"),
        ([HEAD, f"{A},,0,0"], "line 2.*patient is empty"),
        (["path,patient,L,R", f"{A},Ann,0,0"], "column L is not known.*left_class"),
        (["path,patient,right,left", f"{A},Ann,0,0"], "column right is not known"),
        (["path,patient,left_class", f"{A},Ann,0"], "left_class do not go together"),
        ([f"{HEAD},left_label", f"{A},Ann,0,0,0"], "do not go together"),
        ([f"{HEAD},split", f"{A},Ann,0,0,dev"], "split is 'dev'"),
        ([f"{HEAD},Split", f"{A},Ann,0,0,test"], "column Split is not known; its name is split"),
        ([HEAD, f"{A},Ann,0,0", f"{B},ANN,0,0"], "line 3.*ANN is written Ann on line 2"),
        ([f"{HEAD},split", f"{A},Ann,,,test"], "split test, but has no label"),
        (
            [f"{HEAD},split", f"{A},Ann,0,0,train", f"{B},Ann,0,0,test"],
            "line 3.*patient Ann is in the split test, but in train",
        ),
    ],
)
def test_bad_tables_are_refused_by_line(site: Path, lines: list[str], said: str) -> None:
    save_table(site, *lines)
    with pytest.raises(BadConfig, match=said):
        prepare(PrepareConfig(site), site.parent / "crops")


def test_numbers_as_spreadsheets_write_them_are_labels(site: Path) -> None:
    save_table(site, "path,patient,left_label,right_label", f"{A},Ann,1.0,0.0", f"{B},Bob,,N/A")
    first, second = read_scans(site)
    assert (first.labels[Side.LEFT].label, first.labels[Side.LEFT].kind) == (1, None)
    assert (first.labels[Side.RIGHT].label, first.labels[Side.RIGHT].kind) == (0, 0)
    assert second.labels == {}


def test_what_was_read_of_the_labels_is_said_before_the_work(
    site: Path, serial: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    save_table(
        site, f"{HEAD},split", f"{A},Ann,3,0,train", f"{B},Bob,4,n/a,test", "scans/Cy.nii.gz,Cy,,,"
    )
    prepare(by_hand(site), site.parent / "crops")
    said = capsys.readouterr().err
    assert "3 patients: 1 sinuses normal, 2 anomalous, 3 without a label" in said
    assert "train 1, test 1." in said


def test_a_table_whose_columns_of_labels_are_not_known_is_told(site: Path) -> None:
    told: list[str] = []
    save_table(site, "path,patient,Kieferhöhle_links,Befund", f"{A},Ann,0,1")
    assert read_scans(site, tell=told.append)[0].labels == {}
    assert "no columns of labels" in told[0] and "Kieferhöhle_links, Befund" in told[0]
    assert "left_class" in told[0]


def test_other_contradictions_are_refused(site: Path) -> None:
    folder = site.parent
    with pytest.raises(BadStore, match="is there already"):
        prepare(PrepareConfig(site), folder / "scans")
    (folder / "x.quality").touch()
    with pytest.raises(UnsafeOutput, match="no folder"):
        prepare(PrepareConfig(site), folder / "x")
    with pytest.raises(BadConfig, match="would lie in the store"):
        prepare(PrepareConfig(site, key=folder / "crops/key.csv"), folder / "crops")
    with pytest.raises(BadConfig, match="is there already, for other scans"):
        prepare(PrepareConfig(site, key=site), folder / "crops")
    with pytest.raises(BadConfig, match="no BIDS folder and no table"):
        prepare(PrepareConfig(SAMPLE), folder / "crops")
    with pytest.raises(BadConfig, match="chooses files of a BIDS folder"):
        prepare(PrepareConfig(site, suffix="T1w"), folder / "crops")
    save_boxes(folder / "boxes/Dan.mrk.json")
    with pytest.raises(BadConfig, match=r"Dan.mrk.json fits no patient"):
        prepare(by_hand(site), folder / "crops")
    (folder / "boxes/Dan.mrk.json").unlink()
    (folder / "boxes/Cy.mrk.json").write_text("{}")
    with pytest.raises(BadBoxes, match=r"Cy.mrk.json"):
        prepare(by_hand(site), folder / "crops")


@pytest.mark.parametrize(
    "options",
    [
        {"jitter": -1},
        {"processes": 0},
        {"jitter_sd": JitterSd(left_mm=(-1.0, 0.0, 0.0))},
    ],
)
def test_values_that_make_no_sense_are_refused(site: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadConfig):
        by_hand(site, **options)
