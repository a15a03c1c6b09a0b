"""What DICOM SEG and SR say: valid, complete, and nothing where there is nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dicom_objects import (
    Written,
    assert_valid,
    comments,
    groups,
    hd,
    run_program,
    segment_number,
    thick_head,
    values,
    write_series,
)

from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import Repeatability, SinusReading
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.results.dicom_codes import SHAPES, WALLS
from ParanasalSSLLib.results.record import (
    RESEARCH_USE,
    SIMULATED_MODEL,
    ScanRecord,
)
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.sinuses import Part, Side


@pytest.fixture
def series(toolbox: Any, tmp_path: Path) -> Path:
    return write_series(thick_head(toolbox), tmp_path / "Mustermann_Erika")


def test_dciodvfy_finds_no_error(toolbox: Any, series: Path, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    written = Written(toolbox.result(read_volume(series)), toolbox.card, series, tmp_path / "out")
    assert len(written.paths) == 2
    for path in written.paths:
        assert_valid(path)


def test_report_holds_the_numbers_of_each_side(toolbox: Any, series: Path, tmp_path: Path) -> None:
    result = toolbox.result(read_volume(series), verdict="review", reasons=("Für später.",))
    written = Written(result, toolbox.card, series, tmp_path / "out")
    found = groups(written.report)
    for side, sinus in result.sinuses.items():
        assert values(found[side]) == {
            "Calibrated probability of an anomaly": (sinus.probability, "1"),
            "Probability from which a sinus is called anomalous": (0.5, "1"),
            "Volume": (round(sinus.opacity_ml, 3), "mL"),
            "Fraction of the box that is opaque": (round(sinus.opacity_fraction, 5), "1"),
        }
        said = {e.name.value: e.value.value for e in found[side].get_qualitative_evaluations()}
        decision = "anomaly" if side == Side.LEFT else "clear"
        assert said["decision"] == decision and said["box_quality"] == "review"
        reference = found[side].referenced_segment
        [segment] = reference[0].ReferencedSOPSequence
        assert segment.ReferencedSOPInstanceUID == written.segmentation.SOPInstanceUID
        assert segment.ReferencedSegmentNumber == segment_number(written.segmentation, side)
        source = read_source_series(series).headers[0]
        assert reference.source_series_for_segmentation.value == source.SeriesInstanceUID
    assert written.report.VerificationFlag == "UNVERIFIED"
    assert written.report.PreliminaryFlag == "PRELIMINARY"
    sentences = comments(written.report)
    assert RESEARCH_USE in sentences and SIMULATED_MODEL in sentences and "Für später." in sentences
    assert any("stand-in 1" in s and toolbox.card.weights_sha256 in s for s in sentences)


def test_report_holds_cavity_grade_and_findings(toolbox: Any, series: Path, tmp_path: Path) -> None:
    result = toolbox.result(read_volume(series), measured=True)
    spread = Repeatability(cavity_percent=1.0, opacity_percent=1.4, probability=0.01)
    reading = SinusReading(SinusNetworkConfig(), Calibration(), repeatability=spread)
    card = replace(toolbox.card, sinus=reading)
    written = Written(result, card, series, tmp_path / "out")
    assert any("cavity 1.0 %, opacity 1.4 %" in sentence for sentence in comments(written.report))
    record = ScanRecord.of(result, toolbox.card, "sub-0001")
    opacities, cavities = groups(written.report), groups(written.report, "15924003")
    findings = groups(written.report, "52988006")
    for side, sinus in record.sinuses.items():
        numbers = values(opacities[side])
        assert numbers["Part of the cavity that is opaque"] == (
            pytest.approx(100 * sinus.filled_fraction),
            "%",
        )
        assert numbers["Depth"] == (sinus.depth_mm, "mm")
        said = {
            e.name.value: e.value.meaning for e in opacities[side].get_qualitative_evaluations()
        }
        assert said["grade"] == {Side.LEFT: "Partial", Side.RIGHT: "None"}[side]
        assert values(cavities[side]) == {"Volume": (sinus.cavity_ml, "mL")}
        [segment] = cavities[side].referenced_segment[0].ReferencedSOPSequence
        number = segment_number(written.segmentation, side, Part.CAVITY)
        assert segment.ReferencedSegmentNumber == number
        [finding] = sinus.findings
        assert values(findings[side]) == {
            "Volume": (finding.ml, "mL"),
            "Diameter": (finding.diameter_mm, "mm"),
            "Depth": (finding.depth_mm, "mm"),
        }
        [place] = findings[side].finding_sites
        assert place.topographical_modifier == WALLS[finding.wall]
        [shape] = findings[side].get_qualitative_evaluations()
        assert shape.value == SHAPES[finding.form]
        point = findings[side].roi.value[0] * (-1, -1, 1)
        assert point.tolist() == pytest.approx(finding.center_ras_mm)
    for path in written.paths:
        assert_valid(path)


def test_dcmqi_reads_the_report(toolbox: Any, series: Path, tmp_path: Path) -> None:
    result = toolbox.result(read_volume(series))
    written = Written(result, toolbox.card, series, tmp_path / "out")
    target = tmp_path / "sr.json"
    run_program(
        "tid1500reader", "--inputDICOM", written.files.dicom_report, "--outputMetadata", target
    )
    content = json.loads(target.read_text())
    assert content["VerificationFlag"] == "UNVERIFIED"
    assert len(content["imageLibrary"]) == len(list(series.iterdir()))
    for number, (side, group) in enumerate(zip(Side, content["Measurements"], strict=True), 1):
        assert group["FindingSite"]["CodeMeaning"] == "Maxillary sinus"
        assert group["Laterality"]["CodeMeaning"].lower() == side
        assert group["ReferencedSegment"] == number
        assert float(group["measurementItems"][0]["value"]) == result.sinuses[side].probability


def test_side_without_an_opaque_voxel_has_no_segment(
    toolbox: Any, series: Path, tmp_path: Path
) -> None:
    result = toolbox.result(read_volume(series))
    result.sinuses[Side.LEFT].opacity[:] = False
    written = Written(result, toolbox.card, series, tmp_path / "out")
    [segment] = written.segmentation.SegmentSequence
    assert segment.SegmentNumber == 1 and segment_number(written.segmentation, Side.RIGHT) == 1
    found = groups(written.report)
    assert len(found) == 2
    assert isinstance(found[Side.LEFT], hd.sr.MeasurementsAndQualitativeEvaluations)
    assert found[Side.RIGHT].referenced_segment is not None
    for path in written.paths:
        assert_valid(path)


def test_without_any_opaque_voxel_only_the_report_is_written(
    toolbox: Any, series: Path, tmp_path: Path
) -> None:
    result = toolbox.result(read_volume(series), sides=(Side.RIGHT,))
    result.sinuses[Side.RIGHT].opacity[:] = False
    written = Written(result, toolbox.card, series, tmp_path / "out")
    assert written.paths == [written.files.dicom_report]
    assert not written.files.dicom_segmentation.exists()
    assert list(groups(written.report)) == [Side.RIGHT]
    assert_valid(written.files.dicom_report)


def test_segment_of_a_box_placed_by_hand_is_semiautomatic(
    toolbox: Any, series: Path, tmp_path: Path
) -> None:
    result = toolbox.result(read_volume(series))
    left = result.sinuses[Side.LEFT]
    result.sinuses[Side.LEFT] = replace(left, box=replace(left.box, origin="hand"))
    written = Written(result, toolbox.card, series, tmp_path / "out")
    kinds = [s.SegmentAlgorithmType for s in written.segmentation.SegmentSequence]
    assert kinds == ["SEMIAUTOMATIC", "AUTOMATIC"]
    [algorithm] = written.segmentation.SegmentSequence[
        0
    ].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "ParanasalSSL"
    assert toolbox.card.weights_sha256 in algorithm.AlgorithmParameters


def test_every_writing_makes_new_series_of_the_same_device(
    toolbox: Any, series: Path, tmp_path: Path
) -> None:
    result = toolbox.result(read_volume(series))
    first, second = (
        Written(result, toolbox.card, series, tmp_path / name) for name in ("one", "two")
    )
    for name in ("SeriesInstanceUID", "SOPInstanceUID"):
        made = [d[name].value for w in (first, second) for d in (w.segmentation, w.report)]
        assert len(set(made)) == 4
    observers = {
        item.UID
        for w in (first, second)
        for item in w.report.ContentSequence
        if item.ValueType == "UIDREF"
    }
    assert len(observers) == 1
