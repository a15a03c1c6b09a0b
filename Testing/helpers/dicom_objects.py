"""DICOM series as scanners write them, and what other programs read in the objects made of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial import cKDTree

from ParanasalSSLLib.geometry import lps_to_ras
from ParanasalSSLLib.predict import ScanResult
from ParanasalSSLLib.results.dicom import write_dicom
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import PastedRegion, write_segmentation
from ParanasalSSLLib.results.record import (
    ScanRecord,
)
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES, Part, Side, segment_facts

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

    def nrrd_points(self, side: Side, part: Part = Part.OPACITY) -> np.ndarray:
        return itk_points(self.files.segmentation, SEGMENT_LABELS[side], part)


def itk_points(path: Path, label: int | None = None, part: Part = Part.OPACITY) -> np.ndarray:
    """(n, 3) RAS mm of the voxels with a label (default: with any) in the layer of a part."""
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    if voxels.ndim == 4:
        voxels = voxels[..., list(Part).index(part)]
    voxels = voxels.T
    index = np.argwhere(voxels > 0 if label is None else voxels == label)
    axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (index @ axes.T + image.GetOrigin()) * (-1, -1, 1)


def dicom_points(data: pydicom.Dataset, side: Side, part: Part = Part.OPACITY) -> np.ndarray:
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
        if frame_number(frame) == segment_number(data, side, part):
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


def segment_number(data: pydicom.Dataset, side: Side, part: Part = Part.OPACITY) -> int:
    """By what the segment says of its anatomy, not by its order."""
    for segment in data.SegmentSequence:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        region = segment.get("AnatomicRegionSequence")
        if part == Part.OPACITY and region:
            modifiers = region[0].AnatomicRegionModifierSequence
        elif part == Part.CAVITY and "SegmentedPropertyTypeModifierCodeSequence" in kind:
            modifiers = kind.SegmentedPropertyTypeModifierCodeSequence
        else:
            continue
        if modifiers[0].CodeValue == SINUSES[side].snomed_code:
            return int(segment.SegmentNumber)
    raise AssertionError(f"no {part} of the {side} side")


def highdicom_points(path: Path, side: Side, part: Part = Part.OPACITY) -> np.ndarray:
    segmentation = hd.seg.segread(path)
    volume = segmentation.get_volume(
        segment_numbers=[segment_number(segmentation, side, part)], combine_segments=True
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


def by_dcmqi(path: Path, folder: Path) -> dict[tuple[Side, Part], Path]:
    """The NRRD that dcmqi, and so Slicer's DICOM module, makes of each segment."""
    folder.mkdir()
    run_program(
        "segimage2itkimage", *("--inputDICOM", path, "--outputDirectory", folder),
        *("-t", "nrrd", "-p", "seg"),
    )  # fmt: skip
    content = json.loads((folder / "seg-meta.json").read_text())
    made = {}
    for number, [segment] in enumerate(content["segmentAttributes"], start=1):
        names = {segment_facts(s, p).name: (s, p) for s in Side for p in Part}
        side, part = names[segment["SegmentLabel"]]
        modifiers = {
            Part.OPACITY: "AnatomicRegionModifierSequence",
            Part.CAVITY: "SegmentedPropertyTypeModifierCodeSequence",
        }
        assert segment[modifiers[part]]["CodeMeaning"].lower() == side
        color = np.array(segment["recommendedDisplayRGBValue"]) / 255
        np.testing.assert_allclose(color, segment_facts(side, part).color, atol=0.01)
        made[side, part] = folder / f"seg-{number}.nrrd"
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


def all_groups(document: pydicom.Dataset) -> list[Any]:
    """The measurement groups of the segments or images, and of points, as highdicom reads them."""
    content = hd.sr.Comprehensive3DSR.from_dataset(document).content
    return [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
        *content.get_planar_roi_measurement_groups(),
    ]


def side_of(group: Any) -> Side:
    return Side(group.finding_sites[0].laterality.meaning.lower())


def groups(document: pydicom.Dataset, kind: str = "opacity") -> dict[Side, Any]:
    """The groups with a finding type of that code, by their finding site."""
    return {side_of(g): g for g in all_groups(document) if g.finding_type.value == kind}


def values(group: Any) -> dict[str, tuple[float, str]]:
    return {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}


def assert_identity_of(source: pydicom.Dataset, *made: pydicom.Dataset) -> None:
    names = [*PATIENT, "StudyInstanceUID", "PatientAge", "PatientWeight", "ReferringPhysicianName"]
    for data in made:
        for name in names:
            assert (data.get(name) or "") == (source.get(name) or ""), name
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert "research use" in data.SeriesDescription and "ParanasalSSL" in data.SeriesDescription
