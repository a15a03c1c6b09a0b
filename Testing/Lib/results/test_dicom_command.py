"""DICOM SEG and SR by `paranasal predict --dicom-out`."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import Written, remove, thick_head, with_full_left_sinus, write_series

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import MissingPackage
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import (
    REPORT_SCHEMA,
)
from ParanasalSSLLib.scans.itk import to_sitk
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def series(toolbox: Any, tmp_path: Path) -> Path:
    return write_series(thick_head(toolbox), tmp_path / "Mustermann_Erika")


@pytest.fixture
def run(stand_ins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`paranasal predict --dicom-out ...` with stand-ins for networks and registration."""
    monkeypatch.setattr(pictures, "PIXELS", 40)  # small pictures are drawn faster

    def predicting(*arguments: str | Path) -> int:
        given = ["predict", *map(str, arguments), "--dicom-out", "-o", str(tmp_path / "out")]
        return main(given)

    return predicting


def test_mixed_list_gets_dicom_files_where_it_can_and_says_so(
    toolbox: Any,
    run: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A name that makes highdicom and pydicom warn must not be printed either.
    head = with_full_left_sinus(toolbox, thick_head(toolbox))
    folder = write_series(head, tmp_path / "series", PatientName="Mustermann")
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    nifti = tmp_path / "scan.nrrd"
    sitk.WriteImage(to_sitk(thick_head(toolbox)), str(nifti))

    assert run(tmp_path / "series.zip", nifti) == 0
    printed = capfd.readouterr()
    assert "sub-0002: no DICOM files, because this scan is no DICOM series" in printed.out
    assert "Mustermann" not in printed.out + printed.err
    schema = pytest.importorskip("jsonschema")
    for number, has_dicom in ((1, True), (2, False)):
        made = ScanFiles(tmp_path / "out" / f"sub-000{number}", f"sub-000{number}")
        content = json.loads(made.report_json.read_text())
        schema.validate(content, json.loads(REPORT_SCHEMA.read_text()))
        named = {content["files"][key] for key in ("dicom_seg", "dicom_sr") if has_dicom}
        assert named == {path.name for path in made.folder.glob("*.dcm")}
    assert_identity_stays(tmp_path / "out", folder)


def assert_identity_stays(out: Path, series: Path) -> None:
    """Nothing of the patient or the study is in any file but the DICOM ones, or in a name."""
    source = read_source_series(series).headers[0]
    names = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDescription")
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    words = [str(source[name].value).encode() for name in (*names, *uids)]
    for path in (path for path in out.rglob("*") if path.is_file()):
        assert not any(word.decode() in str(path.relative_to(out)) for word in words)
        content = path.read_bytes()
        if path.suffix == ".dcm":
            assert words[0] in content and words[5] in content
        else:
            assert not any(word in content for word in words), path.name


def test_series_without_a_frame_of_reference_fails_alone_and_before_scoring(
    toolbox: Any,
    run: Callable[..., int],
    series: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lacking = write_series(
        thick_head(toolbox), tmp_path / "lacking", change=remove("FrameOfReferenceUID")
    )
    assert run(lacking, series) == 1
    captured = capsys.readouterr()
    assert "FrameOfReferenceUID" in captured.err and "1 of 2 scans scored" in captured.out
    assert "sub-0002: no DICOM segmentation, because nothing is outlined" in captured.out
    assert not (tmp_path / "out" / "sub-0001").exists()


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_made_up_slice_is_told_everywhere(
    toolbox: Any,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    as_zip: bool,
) -> None:
    head = thick_head(toolbox)
    near = round(float(head.to_index(toolbox.centers[Side.LEFT])[2] + 27 / 4))
    source = folder = write_series(head, tmp_path / "series", skip=(near,))
    if as_zip:
        source = Path(shutil.make_archive(str(tmp_path / "scan"), "zip", folder))
    assert run(source) == 0
    made = ScanFiles(tmp_path / "out" / "sub-0001", "sub-0001")
    content = json.loads(made.report_json.read_text())
    pytest.importorskip("jsonschema").validate(content, json.loads(REPORT_SCHEMA.read_text()))
    assert content["quality"]["verdict"] == "review"
    assert content["image"]["interpolated_slices"] == [near]
    texts = pydicom.dcmread(made.dicom_report).iterall()
    report = " ".join(str(text.value) for text in texts if text.keyword == "TextValue")
    for told in (
        capsys.readouterr().out,
        json.dumps(content),
        made.report_html.read_text(),
        report,
    ):
        assert "slices is missing and made up from the neighbours" in told
        assert "at the left box was missing" in told


def test_a_slice_that_nothing_can_stand_for_is_refused(
    toolbox: Any, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = thick_head(toolbox)
    middle = round(float(head.to_index(toolbox.centers[Side.LEFT])[2]))
    assert run(write_series(head, tmp_path / "series", skip=(middle,))) == 1
    assert "lacks a slice within the left maxillary sinus" in capsys.readouterr().err
    assert not (tmp_path / "out" / "sub-0001").exists()


def test_missing_highdicom_ends_the_call_with_the_way_to_install_it(
    run: Callable[..., int],
    series: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert run(series) == 1
    assert re.search("pip install 'highdicom>=0.27'", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_library_says_what_is_missing(
    toolbox: Any, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPackage, match="highdicom"):
        Written(toolbox.result(read_volume(series)), toolbox.card, series, tmp_path / "out")
