from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.boxes.placement import read_placement
from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.results.write import (
    REPORT_SCHEMA,
    PastedRegion,
    ScanFiles,
    read_maps,
    read_report,
    scan_report,
    write_residual_map,
    write_scan,
    write_segmentation,
    write_whole_folder,
)
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES, Side

ORIENTATIONS = ("RAS", "LPS", "PIR", "SAL")
OFFSET_MM = (5.0, 4.0, -6.0)


def value_at(path: Path, ras: np.ndarray) -> float:
    """Voxel of a NIfTI file at a place in the head, read by SimpleITK."""
    image = sitk.ReadImage(str(path))
    index = image.TransformPhysicalPointToIndex((-ras[0], -ras[1], ras[2]))
    return float(image.GetPixel(index))


def center_of_label(path: Path, label: int) -> np.ndarray:
    """RAS mm, read by SimpleITK."""
    image = sitk.ReadImage(str(path))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    x, y, z = shape.GetCentroid(label)
    return np.array([-x, -y, z])


# ------------------------------------------------------------------------------ residual map


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_residual_map_has_the_scans_grid_and_the_residual_in_its_place(
    toolbox: Any, tmp_path: Path, axes: str
) -> None:
    volume = toolbox.head(axes, tilt=toolbox.turned(12, 0))
    result = toolbox.result(volume, rotation=toolbox.turned(8, 2))
    path = tmp_path / "map.nii.gz"
    write_residual_map(PastedRegion.of(result), volume, path)

    image = nib.load(path)
    assert image.shape == volume.shape
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-4)
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)
    for side in Side:
        inside = toolbox.centers[side] + OFFSET_MM
        assert value_at(path, inside) == pytest.approx(0.4, abs=1e-3)
        assert value_at(path, toolbox.centers[side] + (0, 0, 15)) == pytest.approx(0.05, abs=1e-3)


def test_residual_map_is_zero_outside_the_boxes(toolbox: Any, tmp_path: Path) -> None:
    volume = toolbox.head()
    path = tmp_path / "map.nii.gz"
    write_residual_map(PastedRegion.of(toolbox.result(volume)), volume, path)
    assert value_at(path, toolbox.centers[Side.LEFT] + (0, 0, 35)) == 0
    assert value_at(path, toolbox.centers[Side.LEFT] + (-35, 0, 0)) == 0


def test_voxel_in_both_boxes_belongs_to_the_nearer_sinus(toolbox: Any) -> None:
    volume = toolbox.head(tilt=toolbox.turned(10, 1))
    result = toolbox.result(volume, offset_mm=(0.0, 0.0, 0.0))
    for sinus in result.sinuses.values():  # both claim everything
        sinus.opacity[:] = True
        sinus.residual[:] = 0.3 if sinus.side == Side.LEFT else 0.6
    region = PastedRegion.of(result)

    index = np.argwhere(region.labels > 0)
    ras = index @ region.volume.affine[:3, :3].T + region.volume.affine[:3, 3]
    to_left, to_right = (
        np.linalg.norm(ras - toolbox.centers[side], axis=1) for side in (Side.LEFT, Side.RIGHT)
    )
    labels = region.labels[tuple(index.T)]
    clear = np.abs(to_left - to_right) > 1e-6
    assert ((labels == SEGMENT_LABELS[Side.LEFT]) == (to_left < to_right))[clear].all()
    residual = region.residual[tuple(index.T)]
    np.testing.assert_allclose(residual[labels == SEGMENT_LABELS[Side.RIGHT]], 0.6, atol=1e-5)


# ------------------------------------------------------------------------------- both maps back


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_maps_come_back_in_the_scans_grid(toolbox: Any, tmp_path: Path, axes: str) -> None:
    result = toolbox.result(toolbox.head(axes, tilt=toolbox.turned(-15, 2)))
    region = PastedRegion.of(result)
    files = ScanFiles(tmp_path, "x")
    write_residual_map(region, result.volume, files.residual_map)
    write_segmentation(region, files.segmentation)
    residual, labels = read_maps(files)
    assert residual.shape == labels.shape == result.volume.shape
    np.testing.assert_allclose(residual[region.window], region.residual, atol=1e-4)
    np.testing.assert_array_equal(labels[region.window], region.labels)
    assert labels.sum() == region.labels.sum()


def test_missing_or_cut_off_maps_are_said_in_words(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head())
    region = PastedRegion.of(result)
    files = ScanFiles(tmp_path, "x")
    write_residual_map(region, result.volume, files.residual_map)
    with pytest.raises(UnreadableScan, match="Score the scan again"):
        read_maps(files)
    write_segmentation(region, files.segmentation)
    files.residual_map.write_bytes(files.residual_map.read_bytes()[:500])
    with pytest.raises(UnreadableScan, match="Score the scan again"):
        read_maps(files)


# ------------------------------------------------------------------------------ segmentation


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_segments_lie_on_their_own_sides(toolbox: Any, tmp_path: Path, axes: str) -> None:
    result = toolbox.result(toolbox.head(axes, tilt=toolbox.turned(-15, 2)))
    path = tmp_path / "x_dseg.seg.nrrd"
    write_segmentation(PastedRegion.of(result), path)
    for side, label in SEGMENT_LABELS.items():
        found = center_of_label(path, label)
        np.testing.assert_allclose(found, toolbox.centers[side] + OFFSET_MM, atol=0.6)


def test_slicer_loads_names_colours_terminology_and_places(toolbox: Any, tmp_path: Path) -> None:
    segmentation = load_in_slicer(toolbox.result(toolbox.head("PIR")), tmp_path)
    assert segmentation["layers"] == 1
    for side in Side:
        segment = segmentation["segments"][SINUSES[side].residual_name]
        np.testing.assert_allclose(segment["color"], SINUSES[side].residual_color, atol=1e-4)
        np.testing.assert_allclose(segment["center"], toolbox.centers[side] + OFFSET_MM, atol=1.5)
        assert f"SCT^{SINUSES[side].snomed_code}^{SINUSES[side].snomed_side}" in segment["entry"]
        assert "SCT^15924003^Maxillary sinus" in segment["entry"]
        assert "SCT^49755003^Morphologically Altered Structure" in segment["entry"]


def test_slicer_loads_segments_without_a_voxel(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head())
    for sinus in result.sinuses.values():
        sinus.opacity[:] = False
    segmentation = load_in_slicer(result, tmp_path)
    assert set(segmentation["segments"]) == {SINUSES[side].residual_name for side in Side}


def load_in_slicer(result: Any, folder: Path) -> dict[str, Any]:
    """Write the segmentation and read it with 3D Slicer's own library."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (extra: test)")
    vtk = pytest.importorskip("vtk")
    path = folder / "x_dseg.seg.nrrd"
    write_segmentation(PastedRegion.of(result), path)

    scene, application = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    logic.SetMRMLApplicationLogic(application)
    application.SetModuleLogic("Segmentations", logic)
    node = logic.LoadSegmentationFromFile(str(path), True, "x")
    content = node.GetSegmentation()
    segments = {}
    for index in range(content.GetNumberOfSegments()):
        segment, segment_id = content.GetNthSegment(index), content.GetNthSegmentID(index)
        entry = vtk.reference("")
        segment.GetTag("TerminologyEntry", entry)
        segments[segment.GetName()] = {
            "color": segment.GetColor(),
            "center": node.GetSegmentCenterRAS(segment_id),
            "entry": str(entry),
        }
    return {"segments": segments, "layers": content.GetNumberOfLayers()}


# --------------------------------------------------------------------------- the whole folder


def test_scan_folder_holds_the_named_files_and_nothing_else(toolbox: Any, tmp_path: Path) -> None:
    files = write_scan(toolbox.result(toolbox.head()), toolbox.card, tmp_path, "sub-0001")
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "sub-0001_desc-boxes.mrk.json",
        "sub-0001_desc-residual_dseg.seg.nrrd",
        "sub-0001_desc-residual_map.nii.gz",
        "sub-0001_report.html",
        "sub-0001_report.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset_description.json",
        "sub-0001",
    ]
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "ParanasalSSL"


def test_boxes_can_be_read_back_as_boxes(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head(), rotation=toolbox.turned(9, 1))
    files = write_scan(result, toolbox.card, tmp_path, "sub-0001")
    boxes = read_placement(files.boxes).boxes
    for side in Side:
        np.testing.assert_allclose(boxes[side].center_ras_mm, toolbox.centers[side], atol=1e-6)
        np.testing.assert_allclose(boxes[side].rotation, toolbox.turned(9, 1), atol=1e-6)


def test_one_sided_result_is_written(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head(), sides=(Side.RIGHT,))
    files = write_scan(result, toolbox.card, tmp_path, "sub-0001")
    assert list(read_report(files.report_json)["sinuses"]) == ["right"]
    found = center_of_label(files.segmentation, SEGMENT_LABELS[Side.RIGHT])
    np.testing.assert_allclose(found, toolbox.centers[Side.RIGHT] + OFFSET_MM, atol=0.6)


def test_failed_writing_keeps_the_older_result(tmp_path: Path) -> None:
    target = tmp_path / "sub-0001"
    with write_whole_folder(target) as folder:
        (folder / "old.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), write_whole_folder(target) as folder:
        (folder / "new.txt").write_text("half of it")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["sub-0001"]
    assert [path.name for path in target.iterdir()] == ["old.txt"]


def test_finished_writing_replaces_the_older_result_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "sub-0001"
    for name in ("old.txt", "new.txt"):
        with write_whole_folder(target) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in tmp_path.iterdir()] == ["sub-0001"]
    assert [path.name for path in target.iterdir()] == ["new.txt"]


# ------------------------------------------------------------------------------- report.json


def test_report_obeys_its_schema(toolbox: Any) -> None:
    for sides in (tuple(Side), (Side.LEFT,)):
        result = toolbox.result(toolbox.head(), sides=sides)
        report = json.loads(json.dumps(scan_report(result, toolbox.card, "sub-0001")))
        check_schema(report, json.loads(REPORT_SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scan",), "head of somebody.nii"),
        (("sinuses", "left", "probability"), 1.2),
        (("sinuses", "left", "decision"), "sick"),
        (("quality", "verdict"), None),
        (("path",), "/home/x"),
    ],
)
def test_schema_refuses_what_it_should(toolbox: Any, place: tuple[str, ...], value: Any) -> None:
    report = scan_report(toolbox.result(toolbox.head()), toolbox.card, "sub-0001")
    inner = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(AssertionError):
        check_schema(report, json.loads(REPORT_SCHEMA.read_text()))


def test_report_names_model_volumes_and_what_it_may_be_used_for(toolbox: Any) -> None:
    report = scan_report(toolbox.result(toolbox.head()), toolbox.card, "sub-0001")
    assert "no diagnosis" in report["notice"]
    assert report["model"]["simulated"] and "simulated" in report["model"]["notices"][0]
    left = report["sinuses"]["left"]
    assert left["decision"] == "anomaly" and report["sinuses"]["right"]["decision"] == "clear"
    assert left["anomaly_ml"] == pytest.approx(4 / 3 * np.pi * 6**3 / 1000, rel=0.05)
    assert left["share_of_cube"] == pytest.approx(left["anomaly_ml"] / 64**3 * 1000, abs=1e-5)


def test_file_names_carry_the_scans_id() -> None:
    files = ScanFiles(Path("out/sub-7"), "sub-7")
    assert files.report_json == Path("out/sub-7/sub-7_report.json")


def check_schema(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> None:
    """The part of JSON Schema that report.schema.json uses."""
    root = root or schema
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    check_value(value, schema)
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        for item in value:
            check_schema(item, schema.get("items", {}), root)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value)
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(known), set(value) - set(known)
        for key, item in value.items():
            check_schema(item, known.get(key, {}), root)


def check_value(value: Any, schema: dict[str, Any]) -> None:
    if "const" in schema:
        assert value == schema["const"]
    if "enum" in schema:
        assert value in schema["enum"]
    if "type" in schema:
        allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(_is_of_type(value, name) for name in allowed), (value, allowed)
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value)


def _is_of_type(value: Any, name: str) -> bool:
    if name in ("number", "integer"):
        number = int if name == "integer" else (int, float)
        return isinstance(value, number) and not isinstance(value, bool)
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, types[name])
