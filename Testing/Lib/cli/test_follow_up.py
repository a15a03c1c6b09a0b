"""`paranasal follow-up`: changes in ml and mm, with what the head's position alone would do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dicom_header import write_dicom_header

from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import ImageRecord, ModelRecord, ScanRecord, write_report
from ParanasalSSLLib.results.sinus_record import BoxRecord, FindingRecord, SinusRecord
from ParanasalSSLLib.sinuses import Side

SPREAD = {"cavity_percent": 1.0, "opacity_percent": 3.0, "probability": 0.01}


def record(opacity_ml: float, cavity_ml: float, weights: str = "0") -> ScanRecord:
    box = BoxRecord((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0),) * 3, 64.0, "registration")
    finding = FindingRecord(opacity_ml, 10.0, 5.0, "floor", "dome", (0.0, 0.0, 0.0))
    measured = {"cavity_ml": cavity_ml, "depth_mm": 5.0, "findings": (finding,)}
    left = SinusRecord("left", 0.9, "anomaly", 0.5, opacity_ml, 0.01, box, **measured)
    model = ModelRecord("tiny", "1", weights, True, 0.5, (), SPREAD)
    image = ImageRecord("NIfTI", None, (2, 2, 2), (1.0, 1.0, 1.0))
    return ScanRecord("sub-0001", None, "0", model, image, Quality("ok"), {Side.LEFT: left})


def written(folder: Path, what: ScanRecord) -> Path:
    files = ScanFiles(folder, what.scan)
    folder.mkdir()
    write_report(what, files.report_json)
    return folder


def test_changes_have_the_error_of_both_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = written(tmp_path / "a", record(3.0, 20.0))
    later = written(tmp_path / "b", record(4.0, 20.1))
    assert main(["follow-up", str(earlier), str(later), "--json"]) == 0
    found = {one["quantity"]: one for one in json.loads(capsys.readouterr().out)["changes"]}
    assert list(found) == ["opacity", "cavity", "depth", "diameter"]
    assert found["opacity"]["sd"] == pytest.approx(0.15)  # 3 % of 3 ml and of 4 ml together
    assert found["opacity"]["is_beyond_chance"] and not found["cavity"]["is_beyond_chance"]
    assert found["depth"]["is_beyond_chance"] is None
    assert main(["follow-up", str(earlier), str(later)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "left   opacity   3.00 -> 4.00 ml: +1.00 ± 0.15 ml, beyond chance"


def test_what_cannot_be_compared_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path / "a", record(3.0, 20.0))
    other = written(tmp_path / "b", record(3.0, 20.0, weights="1"))
    right = written(tmp_path / "c", replace(record(3.0, 20.0), sinuses={}))
    for path, words in (
        (other, "two models"),
        (right, "No sinus was judged in both"),
        (tmp_path, "no folder of one scan's results"),
        (tmp_path / "missing.json", "cannot be read"),
    ):
        assert main(["follow-up", str(one), str(path)]) == 1
        assert words in capsys.readouterr().err


def test_a_sinus_that_is_cut_off_is_not_said_to_have_shrunk_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = Quality("review", ("The image ends within the left sinus.",))
    earlier = written(tmp_path / "a", record(4.0, 20.0))
    later = written(tmp_path / "b", replace(record(2.0, 12.0), quality=cut))
    words = (
        "The boxes of the later result are to be reviewed. The image ends within the left sinus."
    )
    assert main(["follow-up", str(earlier), str(later)]) == 0
    assert capsys.readouterr().err.splitlines() == [words]
    assert main(["follow-up", str(earlier), str(later), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notices"] == [words]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"PatientID": "4711", "PatientSex": "F"}, ""),
        ({"PatientID": "4712", "PatientSex": "M"}, "differ in patient ID and sex"),
        ({"PatientID": "", "PatientBirthDate": "19700101"}, ""),
        (None, ""),
    ],
)
def test_results_of_two_patients_are_told_where_it_can_be_known(
    other: dict[str, str] | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [written(tmp_path / name, record(3.0, 20.0)) for name in "ab"]
    reports = [ScanFiles(folder, "sub-0001").dicom_report for folder in folders]
    write_dicom_header(reports[0], PatientID="4711", PatientName="Meier^Anna", PatientSex="F")
    if other is not None:
        write_dicom_header(reports[1], **other)
    assert main(["follow-up", *map(str, folders)]) == 0
    said = capsys.readouterr()
    assert (words in said.err) if words else not said.err
    assert main(["follow-up", *map(str, folders), "--json"]) == 0
    assert bool(json.loads(capsys.readouterr().out)["notices"]) == bool(words)
    assert not any(private in said.err + said.out for private in ("4711", "4712", "Meier"))
