from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import Repeatability, SinusReading
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import (
    REPORT_SCHEMA,
    ScanRecord,
    fingerprint,
    read_report,
    write_report,
)
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


def validate(report: Any) -> None:
    Draft202012Validator(json.loads(REPORT_SCHEMA.read_text())).validate(report)


def written(result: Any, card: Any) -> ScanRecord:
    """As `write_scan` completes it."""
    files = ScanFiles(Path(), "sub-0001").beside_report
    names = {name: path.name for name, path in files.items() if "dicom" not in name}
    checksums = dict.fromkeys(names.values(), 64 * "0")
    record = ScanRecord.of(result, card, "sub-0001", note="a note")
    return replace(record, files=names, checksums=checksums)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("sides", [tuple(Side), (Side.LEFT,)])
def test_record_obeys_the_schema_and_comes_back(
    toolbox: Any, tmp_path: Path, sides: tuple[Side, ...], measured: bool
) -> None:
    result = toolbox.result(toolbox.head(), sides=sides, measured=measured)
    record = written(result, toolbox.card)
    write_report(record, tmp_path / "report.json")
    validate(json.loads((tmp_path / "report.json").read_text()))
    assert read_report(tmp_path / "report.json").to_json() == record.to_json()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scan",), "head of somebody.nii"),
        (("sinuses", "left", "probability"), 1.2),
        (("sinuses", "left", "decision"), "sick"),
        (("quality", "verdict"), None),
        (("path",), "/home/x"),
        (("image", "sha256"), "of a scan"),
        (("quality", "evidence", "metric"), 0.0),
        (("sinuses", "left", "grade"), 3),
        (("sinuses", "left", "findings"), 2),
    ],
)
def test_schema_refuses_what_it_should(toolbox: Any, place: tuple[str, ...], value: Any) -> None:
    report = written(toolbox.result(toolbox.head()), toolbox.card).to_json()
    inner = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValidationError):
        validate(report)


def test_report_of_the_first_format_version_is_read(toolbox: Any, tmp_path: Path) -> None:
    record = written(toolbox.result(toolbox.head()), toolbox.card)
    old = record.to_json() | {"format_version": 1}
    del old["checksums"], old["image"]["sha256"]
    for sinus in old["sinuses"].values():
        sinus["anomaly_ml"] = sinus.pop("opacity_ml")
        sinus["share_of_cube"] = sinus.pop("opacity_fraction")
    evidence = old["quality"].pop("evidence")
    evidence["metric"] = evidence.pop("mutual_information")
    evidence["start_agreement_mm"] = evidence.pop("start_distance_mm")
    evidence["tissue_share"] = evidence.pop("tissue_fraction")
    old["quality"] |= evidence
    (tmp_path / "report.json").write_text(json.dumps(old))
    read = read_report(tmp_path / "report.json")
    assert read.sinuses == record.sinuses
    assert read.quality == record.quality
    assert read.image.sha256 is None


def test_report_of_the_second_format_version_is_read(toolbox: Any, tmp_path: Path) -> None:
    record = written(toolbox.result(toolbox.head(), measured=True), toolbox.card)
    old = record.to_json() | {"format_version": 2}
    for sinus in old["sinuses"].values():
        sinus["findings"] = len(sinus.pop("findings"))
        del sinus["grade"]
    (tmp_path / "report.json").write_text(json.dumps(old))
    read = read_report(tmp_path / "report.json")
    for side, sinus in record.sinuses.items():
        assert read.sinuses[side] == replace(sinus, findings=None, grade=None)


WALLS = {  # a step towards the wall, RAS mm on the left; on the right the first is mirrored
    "lateral": (-9, 0, 0),
    "medial": (9, 0, 0),
    "back": (0, -9, 0),
    "front": (0, 9, 0),
    "floor": (0, 0, -9),
    "roof": (0, 0, 9),
}


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PIR"])
@pytest.mark.parametrize(("wall", "step"), WALLS.items())
def test_a_finding_lies_on_the_same_wall_on_both_sides(
    toolbox: Any, axes: str, wall: str, step: tuple[float, float, float]
) -> None:
    """A ball of 6 mm, 9 mm off the middle of a cavity of 14 mm, in the head's own directions."""
    head, rotation = toolbox.head(axes), toolbox.turned(8, 2)
    for side in Side:
        towards = rotation @ (np.array(step) * ((-1 if side == Side.RIGHT else 1), 1, 1))
        result = toolbox.result(head, (side,), rotation, tuple(towards), measured=True)
        [finding] = ScanRecord.of(result, toolbox.card, "sub-0001").sinuses[side].findings
        assert finding.wall == wall
        np.testing.assert_allclose(finding.center_ras_mm, toolbox.centers[side] + towards, atol=0.7)


@pytest.mark.parametrize(
    ("probability", "told"), [(0.61158, 0.6115), (0.6116, 0.6116), (0.61162, 0.6116)]
)
def test_a_probability_below_the_threshold_never_reaches_it_by_rounding(
    toolbox: Any, probability: float, told: float
) -> None:
    card = replace(toolbox.card, decision_threshold=0.6116)
    result = toolbox.result(toolbox.head(), (Side.LEFT,))
    sinus = result.sinuses[Side.LEFT]
    score = replace(sinus.score, probability=probability, anomalous=probability >= 0.6116)
    result = replace(result, sinuses={Side.LEFT: replace(sinus, score=score)})
    record = ScanRecord.of(result, card, "sub-0001").sinuses[Side.LEFT]
    assert record.probability == told
    assert (record.decision == "anomaly") == (record.probability >= record.threshold)


def test_repeatability_of_the_model_goes_with_the_numbers(toolbox: Any, tmp_path: Path) -> None:
    measured = Repeatability(cavity_percent=4.0, opacity_percent=9.5, probability=0.03)
    reading = SinusReading(SinusNetworkConfig(), Calibration(), repeatability=measured)
    card = replace(toolbox.card, sinus=reading)
    record = written(toolbox.result(toolbox.head(), measured=True), card)
    validate(record.to_json())
    write_report(record, tmp_path / "report.json")
    model = read_report(tmp_path / "report.json").model
    assert model.repeatability == asdict(measured)
    assert f"opacity {measured.opacity_percent:.1f} %" in model.repeatability_words[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scan": "sub-0001", "sinuses": 3}'])
def test_what_is_no_report_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError):
        read_report(tmp_path / "report.json")


def test_fingerprint_tells_scans_apart(toolbox: Any) -> None:
    head = toolbox.head()
    changed = head.data.copy()
    changed[3, 4, 5] += 1
    moved = head.affine.copy()
    moved[0, 3] += 1
    same = Volume(np.asfortranarray(head.data), head.affine)
    others = [Volume(changed, head.affine), Volume(head.data, moved)]
    assert fingerprint(same) == fingerprint(head)
    assert fingerprint(head) not in [fingerprint(other) for other in others]


def test_report_names_model_volumes_and_what_it_may_be_used_for(toolbox: Any) -> None:
    report = written(toolbox.result(toolbox.head()), toolbox.card).to_json()
    assert "no diagnosis" in report["notice"]
    assert report["model"]["simulated"] and "simulated" in report["model"]["notices"][0]
    left = report["sinuses"]["left"]
    assert left["decision"] == "anomaly" and report["sinuses"]["right"]["decision"] == "clear"
    assert left["opacity_ml"] == pytest.approx(4 / 3 * np.pi * 6**3 / 1000, rel=0.05)
    assert left["opacity_fraction"] == pytest.approx(left["opacity_ml"] / 64**3 * 1000, abs=1e-5)
