"""DICOM SEG and SR: the same voxels at the same place, valid, of the right patient, nowhere else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid
from scipy.spatial import cKDTree

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.cli import predict as cli
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import MissingPackage, ParanasalError, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.geometry import lps_to_ras
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.results.dicom import write_dicom
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import PastedRegion, write_segmentation
from ParanasalSSLLib.results.record import (
    REPORT_SCHEMA,
    RESEARCH_USE,
    SIMULATED_MODEL,
    ScanRecord,
)
from ParanasalSSLLib.scans.itk import to_sitk
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES, Side

hd = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")

PATIENT = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19700131",
    "PatientSex": "F",
    "StudyID": "study-12",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "AccessionNumber": "acc-99",
    "StudyDescription": "Head of somebody",
}
# Centres of the sinuses in RAS mm, measured by eye (right, left).
REAL = {
    "sample": ((32.0, 55.0, -61.5), (-19.0, 58.5, -60.5)),
    "t2_axial": ((28.8, 75.1, -19.9), (-13.8, 77.7, -20.1)),
    "t1_sagittal": ((21.9, 69.7, -70.8), (-21.6, 68.3, -66.0)),
    "pd_axial": ((18.8, 38.9, -36.3), (-23.5, 34.6, -36.2)),
}


def thick_head(toolbox: Any, axes: str = "LPS", tilt: np.ndarray | None = None) -> Volume:
    """The toolbox's head in planes 4 mm apart: half as many files to write and read."""
    head = toolbox.head(tilt=tilt)
    affine = head.affine.copy()
    affine[:, 2] *= 2
    data = 20 * head.data[:, :, ::2]
    noise = np.random.default_rng(4).normal(0, 20, data.shape)
    return toolbox.reoriented(Volume(data + noise, affine), axes)


def with_full_left_sinus(toolbox: Any, head: Volume) -> Volume:
    index = np.indices(head.shape).reshape(3, -1)
    ras = (head.affine[:3, :3] @ index + head.affine[:3, 3:]).T
    near = np.linalg.norm(ras - toolbox.centers[Side.LEFT], axis=1) < 15
    return Volume(np.where(near.reshape(head.shape), 2500, head.data), head.affine)


def write_series(
    volume: Volume,
    folder: Path,
    skip: tuple[int, ...] = (),
    change: Callable[[FileDataset], None] = lambda _: None,
    **tags: Any,
) -> Path:
    """The volume as a DICOM series with a patient; slices along the last axis."""
    folder.mkdir(parents=True)
    lps, spacing = lps_to_ras(volume.affine), volume.spacing_mm
    shared = {
        **PATIENT,
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "Manufacturer": "Maker",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "ImageOrientationPatient": [f"{c:.10f}" for c in (lps[:3, :2] / spacing[:2]).T.flat],
        "PixelSpacing": [spacing[1], spacing[0]],
        "SliceThickness": 1.5,
        "SpacingBetweenSlices": 0.3,  # the gap: many a scanner writes that
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        **{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
        **tags,
    }
    for place in set(range(volume.shape[2])) - set(skip):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        image.SpecificCharacterSet = tags.get("SpecificCharacterSet", "ISO_IR 100")
        for name, value in shared.items():
            setattr(image, name, value)
        image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        image.ImagePositionPatient = [f"{c:.6f}" for c in lps[:3, 3] + lps[:3, 2] * place]
        image.Columns, image.Rows = volume.shape[:2]
        image.PixelData = volume.data[:, :, place].T.astype("<i2").tobytes()
        change(image)
        image.save_as(folder / f"{(place * 37) % 101:03d}.dcm")  # names say nothing of the order
    return folder


def remove(name: str) -> Callable[[FileDataset], None]:
    return lambda image: delattr(image, name)


class Written:
    """SEG and SR of a result in a folder, and the .seg.nrrd of the same result."""

    def __init__(self, result: ScanResult, card: Any, source: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = ScanFiles(folder, "sub-0001")
        record = ScanRecord.of(result, card, "sub-0001")
        self.paths = write_dicom(result, record, read_source_series(source), self.files)
        write_segmentation(PastedRegion.of(result), self.files.segmentation)
        self.report = pydicom.dcmread(self.files.dicom_report)

    @property
    def segmentation(self) -> pydicom.Dataset:
        return pydicom.dcmread(self.files.dicom_segmentation)

    def nrrd_points(self, side: Side) -> np.ndarray:
        return itk_points(self.files.segmentation, SEGMENT_LABELS[side])


def itk_points(path: Path, label: int | None = None) -> np.ndarray:
    """(n, 3) RAS mm of the voxels with a label (default: with any)."""
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image).T
    index = np.argwhere(voxels > 0 if label is None else voxels == label)
    axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (index @ axes.T + image.GetOrigin()) * (-1, -1, 1)


def dicom_points(data: pydicom.Dataset, side: Side) -> np.ndarray:
    """(n, 3) RAS mm of a segment's voxels, by nothing but the words of the standard."""
    shared = data.SharedFunctionalGroupsSequence[0]
    along_row, along_column = np.reshape(
        np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3)
    )
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
    size = data.Rows * data.Columns
    points = []
    for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        if frame_number(frame) == segment_number(data, side):
            plane = bits[number * size : (number + 1) * size].reshape(data.Rows, data.Columns)
            row, column = np.nonzero(plane)
            start = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            points.append(
                start
                + column[:, None] * along_row * between_columns
                + row[:, None] * along_column * between_rows
            )
    return np.concatenate(points) * (-1, -1, 1)


def frame_number(frame: pydicom.Dataset) -> int:
    return int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def segment_number(data: pydicom.Dataset, side: Side) -> int:
    """By what the segment says of its anatomy, not by its order."""
    for segment in data.SegmentSequence:
        region = segment.AnatomicRegionSequence[0]
        if region.AnatomicRegionModifierSequence[0].CodeValue == SINUSES[side].snomed_code:
            return int(segment.SegmentNumber)
    raise AssertionError(f"no segment of the {side} side")


def highdicom_points(path: Path, side: Side) -> np.ndarray:
    segmentation = hd.seg.segread(path)
    volume = segmentation.get_volume(
        segment_numbers=[segment_number(segmentation, side)], combine_segments=True
    )
    index = np.argwhere(volume.array > 0)
    return (index @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * (-1, -1, 1)


def program(name: str) -> str:
    """A checker that is installed here, beside Python or on the PATH; skips without it."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run_program(name: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def by_dcmqi(path: Path, folder: Path) -> dict[Side, Path]:
    """The NRRD that dcmqi, and so Slicer's DICOM module, makes of each segment."""
    folder.mkdir()
    run_program(
        "segimage2itkimage", *("--inputDICOM", path, "--outputDirectory", folder),
        *("-t", "nrrd", "-p", "seg"),
    )  # fmt: skip
    content = json.loads((folder / "seg-meta.json").read_text())
    made = {}
    for number, [segment] in enumerate(content["segmentAttributes"], start=1):
        side = Side(segment["AnatomicRegionModifierSequence"]["CodeMeaning"].lower())
        assert segment["SegmentLabel"] == SINUSES[side].residual_name
        color = np.array(segment["recommendedDisplayRGBValue"]) / 255
        np.testing.assert_allclose(color, SINUSES[side].residual_color, atol=0.01)
        made[side] = folder / f"seg-{number}.nrrd"
    return made


def assert_same_places(found: np.ndarray, expected: np.ndarray, within_mm: float) -> None:
    assert len(found) == len(expected) > 0
    distance, nearest = cKDTree(expected).query(found)
    assert distance.max() < within_mm
    assert len(set(nearest)) == len(expected)


def assert_valid(path: Path) -> None:
    """dciodvfy, where it is installed, finds no error but in UIDs that a scanner has made up."""
    validator = shutil.which("dciodvfy")
    if validator is None:  # `test_dciodvfy_finds_no_error` says so
        return
    done = subprocess.run([validator, "-new", path], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]
    assert not [line for line in errors if "Illegal root for UID" not in line]


def comments(document: pydicom.Dataset) -> list[str]:
    container = document.ContentSequence[-1]
    return [item.TextValue for item in container.ContentSequence]


def groups(document: pydicom.Dataset) -> dict[Side, Any]:
    """The measurement groups by their finding site, as highdicom reads them."""
    content = hd.sr.Comprehensive3DSR.from_dataset(document).content
    found = [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    return {Side(g.finding_sites[0].laterality.meaning.lower()): g for g in found}


def values(group: Any) -> dict[str, tuple[float, str]]:
    return {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}


# ---------------------------------------------------------------------------------- geometry


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
        assert_same_places(itk_points(itk[side]), expected, 0.2)
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


def assert_identity_of(source: pydicom.Dataset, *made: pydicom.Dataset) -> None:
    names = [*PATIENT, "StudyInstanceUID", "PatientAge", "PatientWeight", "ReferringPhysicianName"]
    for data in made:
        for name in names:
            assert (data.get(name) or "") == (source.get(name) or ""), name
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert "research use" in data.SeriesDescription and "ParanasalSSL" in data.SeriesDescription


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
        assert_same_places(itk_points(itk[side]), expected, 0.01)
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
    for side, path in by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi").items():
        node = logic.LoadSegmentationFromFile(str(path), True, side.value)
        content = node.GetSegmentation()
        assert content.GetNumberOfSegments() == 1
        center = node.GetSegmentCenterRAS(content.GetNthSegmentID(0))
        np.testing.assert_allclose(
            center, toolbox.centers[side] + (5.0, 4.0, -6.0), atol=3.0
        )  # Slicer's centre is that of a box of whole voxels


# ---------------------------------------------------------------------------- what they say


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


# ------------------------------------------------------------------------ what scanners write


def test_patients_name_survives_in_any_script(toolbox: Any, tmp_path: Path) -> None:
    scripts = {
        "ISO_IR 100": "Müller^Jürgen",
        ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    }
    for number, (charset, name) in enumerate(scripts.items()):
        tags = {"SpecificCharacterSet": charset if isinstance(charset, str) else list(charset)}
        folder = write_series(
            thick_head(toolbox), tmp_path / f"in{number}", PatientName=name, **tags
        )
        result = toolbox.result(read_volume(folder))
        written = Written(result, toolbox.card, folder, tmp_path / f"out{number}")
        for data in (written.segmentation, written.report):
            assert str(data.PatientName) == name


@pytest.mark.filterwarnings("ignore:Invalid value")  # while the test writes them
def test_what_a_scanner_left_out_or_wrote_badly_is_empty(toolbox: Any, tmp_path: Path) -> None:
    def change(image: FileDataset) -> None:
        for name in ("StudyID", "AccessionNumber", "SliceThickness", "StudyTime", "PatientName"):
            delattr(image, name)
        image.PatientSex = "FEMALE"
        image.add_new("PatientBirthDate", "DA", "31.01.1970")
        image.ImageOrientationPatient = [c + 1e-6 * (image.Rows % 2) for c in (1, 0, 0, 0, 1, 0)]

    folder = write_series(thick_head(toolbox), tmp_path / "series", change=change)
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    for data in (written.segmentation, written.report):
        for name in ("StudyID", "AccessionNumber", "StudyTime", "PatientSex", "PatientBirthDate"):
            assert name in data and not data[name].value
        assert data.PatientID == PATIENT["PatientID"] and data.StudyDate == PATIENT["StudyDate"]
    measures = written.segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(4.0)
    for path in written.paths:
        assert_valid(path)


def test_compressed_series_from_a_list_of_files(toolbox: Any, tmp_path: Path) -> None:
    folder = write_series(
        thick_head(toolbox), tmp_path / "series", change=lambda image: image.compress(RLELossless)
    )
    files = sorted(folder.iterdir())
    found, expected = read_source_series(files), read_volume(folder)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)
    assert found.shape == expected.shape and len(found.headers) == len(files)


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_series_that_nothing_can_refer_to_is_refused(
    toolbox: Any, tmp_path: Path, name: str
) -> None:
    folder = write_series(thick_head(toolbox), tmp_path / "lacking", change=remove(name))
    assert name in refusal(folder, UnsupportedScan)

    def differ(image: FileDataset) -> None:
        setattr(image, name, generate_uid())

    folder = write_series(thick_head(toolbox), tmp_path / "differing", change=differ)
    assert name in refusal(folder, UnsupportedScan)


def test_what_is_no_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    refusal(tmp_path / "empty", UnreadableScan)
    refusal(tmp_path / "scan.nii.gz", UnreadableScan)


def refusal(path: Path, kind: type[ParanasalError]) -> str:
    with pytest.raises(kind) as caught:
        read_source_series(path)
    message = str(caught.value)
    assert str(path) in message
    assert not any(word in message for word in PATIENT.values() if len(word) > 1)
    return message


# ------------------------------------------------------------------------------ command line


@pytest.fixture
def run(toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`paranasal predict --dicom-out ...` with stand-ins for networks and registration."""
    boxes = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    found = Placement(boxes, toolbox.quality())
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    monkeypatch.setattr(cli, "load_model", lambda model, device: toolbox.bundle)
    monkeypatch.setattr(pictures, "DPI", 30)  # small pictures are drawn faster

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
    for number, count in ((1, 7), (2, 5)):
        made = ScanFiles(tmp_path / "out" / f"sub-000{number}", f"sub-000{number}")
        content = json.loads(made.report_json.read_text())
        schema.validate(content, json.loads(REPORT_SCHEMA.read_text()))
        assert len(list(made.folder.iterdir())) == count
        named = {content["files"][key] for key in ("dicom_seg", "dicom_sr") if count == 7}
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
    assert "sub-0002: no DICOM segmentation, because no voxel is opaque" in captured.out
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
