from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import (
    PastedRegion,
    read_maps,
    write_residual_map,
    write_segmentation,
)
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES, Part, Side, segment_facts

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


def test_a_box_of_another_size_cuts_nothing_off(toolbox: Any) -> None:
    result = toolbox.result(toolbox.head(), measured=True)
    small = {
        side: replace(sinus, box=replace(sinus.box, edge_mm=16.0))
        for side, sinus in result.sinuses.items()
    }
    whole, region = PastedRegion.of(result), PastedRegion.of(replace(result, sinuses=small))
    np.testing.assert_array_equal(region.labels, whole.labels)
    np.testing.assert_array_equal(region.residual, whole.residual)


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
    maps = read_maps(files)
    residual, labels = maps.residual, maps.labels
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
        segment = segmentation["segments"][SINUSES[side].opacity_name]
        np.testing.assert_allclose(segment["color"], SINUSES[side].opacity_color, atol=1e-4)
        np.testing.assert_allclose(segment["center"], toolbox.centers[side] + OFFSET_MM, atol=1.5)
        assert f"SCT^{SINUSES[side].snomed_code}^{SINUSES[side].snomed_side}" in segment["entry"]
        assert "SCT^15924003^Maxillary sinus" in segment["entry"]
        assert "SCT^49755003^Morphologically Altered Structure" in segment["entry"]


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_cavities_lie_in_a_layer_of_their_own_around_the_opacity(
    toolbox: Any, tmp_path: Path, axes: str
) -> None:
    result = toolbox.result(toolbox.head(axes, tilt=toolbox.turned(-15, 2)), measured=True)
    segmentation = load_in_slicer(result, tmp_path)
    assert segmentation["layers"] == 2
    for side in Side:
        segment = segmentation["segments"][segment_facts(side, Part.CAVITY).name]
        np.testing.assert_allclose(segment["center"], toolbox.centers[side], atol=3.0)
        np.testing.assert_allclose(segment["color"], SINUSES[side].cavity_color, atol=1e-4)
        assert f"SCT^{SINUSES[side].snomed_code}^{SINUSES[side].snomed_side}" in segment["entry"]
    files = ScanFiles(tmp_path, "x")
    write_residual_map(PastedRegion.of(result), result.volume, files.residual_map)
    write_segmentation(PastedRegion.of(result), files.segmentation)
    maps = read_maps(files)
    assert maps.cavities is not None
    for side, sinus in result.sinuses.items():
        inside = maps.cavities == SEGMENT_LABELS[side]
        assert not ((maps.labels == SEGMENT_LABELS[side]) & ~inside).any()
        written_ml = inside.sum() * result.volume.voxel_ml
        assert written_ml == pytest.approx(sinus.score.measures.cavity_ml, rel=0.02)


def test_slicer_loads_segments_without_a_voxel(toolbox: Any, tmp_path: Path) -> None:
    result = toolbox.result(toolbox.head())
    for sinus in result.sinuses.values():
        sinus.opacity[:] = False
    segmentation = load_in_slicer(result, tmp_path)
    assert set(segmentation["segments"]) == {SINUSES[side].opacity_name for side in Side}


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
