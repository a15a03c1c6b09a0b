"""DICOM SEG and SR: the same voxels at the same place, of the right patient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_objects import (
    REAL,
    Written,
    assert_identity_of,
    assert_same_places,
    assert_valid,
    by_dcmqi,
    dicom_points,
    highdicom_points,
    itk_points,
    thick_head,
    write_series,
)

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Part, Side


@pytest.mark.parametrize("name", REAL)
def test_real_series_keep_voxels_sides_and_identity(
    toolbox: Any, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    if name == "sample":
        archive = request.getfixturevalue("sample_series")
    else:
        archive = request.getfixturevalue("shared_data") / "heads" / f"{name}_dicom.zip"
    volume = read_volume(archive)
    result = result_around(toolbox, volume, dict(zip(("right", "left"), REAL[name], strict=True)))
    written = Written(result, toolbox.card, archive, tmp_path / "out")

    source = read_source_series(archive).headers[0]
    instances = {h.SOPInstanceUID for h in read_source_series(archive).headers}
    segmentation = written.segmentation
    assert_identity_of(source, segmentation, written.report)
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    [referenced] = segmentation.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        [image] = frame.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPInstanceUID in instances
    itk = by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi")
    for side, center in zip((Side.RIGHT, Side.LEFT), REAL[name], strict=True):
        expected = written.nrrd_points(side)
        assert np.linalg.norm(expected.mean(axis=0) - center) < 4
        assert_same_places(dicom_points(segmentation, side), expected, 0.1)
        assert_same_places(highdicom_points(written.files.dicom_segmentation, side), expected, 0.2)
        assert_same_places(itk_points(itk[side, Part.OPACITY]), expected, 0.2)
    for path in written.paths:
        assert_valid(path)


def result_around(
    toolbox: Any, volume: Volume, centers: dict[str, tuple[float, float, float]]
) -> ScanResult:
    """A result whose marked parts are balls of 9 mm at these places."""
    moved = {Side(side): np.array(center) for side, center in centers.items()}
    result = toolbox.result(volume)
    sinuses = {}
    for side, sinus in result.sinuses.items():
        box = SinusBox(side, moved[side])
        crop = predict.cut_crop(volume, box)
        mask = np.zeros(crop.data.shape, bool)
        index = np.indices(mask.shape).reshape(3, -1)
        ras = (crop.affine[:3, :3] @ index + crop.affine[:3, 3:]).T
        mask.flat = np.linalg.norm(ras - moved[side], axis=1) < 9
        sinuses[side] = SinusResult(box, crop, replace(sinus.score, opacity=mask))
    boxes = {side: sinus.box for side, sinus in sinuses.items()}
    return replace(result, sinuses=sinuses, placement=replace(result.placement, boxes=boxes))


@pytest.mark.parametrize("skip", [(), (10,)], ids=["whole", "a marked plane is missing"])
def test_oblique_series_keeps_voxels_and_refers_to_its_images(
    toolbox: Any, tmp_path: Path, skip: tuple[int, ...]
) -> None:
    head = thick_head(toolbox, tilt=toolbox.turned(15, 0) @ toolbox.turned(-9, 2))
    folder = write_series(head, tmp_path / "series", skip)
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    segmentation = written.segmentation
    itk = by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi")
    for side in Side:
        expected = written.nrrd_points(side)
        np.testing.assert_allclose(
            expected.mean(axis=0), toolbox.centers[side] + (5.0, 4.0, -6.0), atol=1.0
        )
        assert_same_places(dicom_points(segmentation, side), expected, 0.01)
        assert_same_places(highdicom_points(written.files.dicom_segmentation, side), expected, 0.01)
        assert_same_places(itk_points(itk[side, Part.OPACITY]), expected, 0.01)
    for path in written.paths:
        assert_valid(path)

    series = read_source_series(folder)
    at = {h.SOPInstanceUID: h.ImagePositionPatient for h in series.headers}
    filled = 0
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        sources = frame.DerivationImageSequence[0].SourceImageSequence
        preserved = {source.SpatialLocationsPreserved for source in sources}
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        found = [np.array(at[source.ReferencedSOPInstanceUID], float) for source in sources]
        np.testing.assert_allclose(np.mean(found, axis=0), position, atol=1e-3)
        assert preserved == ({"YES"} if len(sources) == 1 else {"NO"})
        filled += len(sources) == 2
    assert filled == len(skip) * len(Side)


def test_cavities_are_segments_of_their_own_and_hold_the_opacity(
    toolbox: Any, tmp_path: Path
) -> None:
    head = thick_head(toolbox, tilt=toolbox.turned(15, 0))
    folder = write_series(head, tmp_path / "series")
    result = toolbox.result(read_volume(folder), measured=True)
    written = Written(result, toolbox.card, folder, tmp_path / "out")
    segmentation = written.segmentation
    itk = by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi")
    for side in Side:
        cavity = written.nrrd_points(side, Part.CAVITY)
        np.testing.assert_allclose(cavity.mean(axis=0), toolbox.centers[side], atol=1.0)
        assert_same_places(dicom_points(segmentation, side, Part.CAVITY), cavity, 0.01)
        assert_same_places(itk_points(itk[side, Part.CAVITY]), cavity, 0.01)
        opacity = {tuple(point) for point in written.nrrd_points(side).round(3)}
        assert opacity and opacity < {tuple(point) for point in cavity.round(3)}
    for path in written.paths:
        assert_valid(path)


def test_volume_with_other_axes_gives_the_same_voxels(toolbox: Any, tmp_path: Path) -> None:
    folder = write_series(thick_head(toolbox), tmp_path / "series")
    volume = thick_head(toolbox, "PIR")  # as another reader may have it
    written = Written(toolbox.result(volume), toolbox.card, folder, tmp_path / "out")
    for side in Side:
        expected = written.nrrd_points(side)
        assert_same_places(dicom_points(written.segmentation, side), expected, 0.01)


def test_scan_that_was_moved_or_resampled_is_refused(toolbox: Any, tmp_path: Path) -> None:
    folder = write_series(thick_head(toolbox), tmp_path / "series")
    volume = read_volume(folder)
    moved = volume.affine.copy()
    moved[0, 3] += 1.0
    for other in (Volume(volume.data, moved), Volume(volume.data[:, :, 1:], volume.affine)):
        with pytest.raises(UnsupportedScan, match="moved, cropped or resampled"):
            Written(toolbox.result(other), toolbox.card, folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.dcm"))


def test_slicer_loads_what_dcmqi_reads(toolbox: Any, tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (extra: test)")
    folder = write_series(thick_head(toolbox, "PIR"), tmp_path / "series")
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    scene, application = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    logic.SetMRMLApplicationLogic(application)
    application.SetModuleLogic("Segmentations", logic)
    made = by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi")
    for (side, _part), path in made.items():
        node = logic.LoadSegmentationFromFile(str(path), True, side.value)
        content = node.GetSegmentation()
        assert content.GetNumberOfSegments() == 1
        center = node.GetSegmentCenterRAS(content.GetNthSegmentID(0))
        np.testing.assert_allclose(
            center, toolbox.centers[side] + (5.0, 4.0, -6.0), atol=3.0
        )  # Slicer's centre is that of a box of whole voxels
