"""Enhanced MR files as scanners write them: many frames, described in functional groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from ParanasalSSLLib.geometry import lps_to_ras
from ParanasalSSLLib.scans.volume import Volume


@dataclass(frozen=True)
class EnhancedFrame:
    """A slice of a volume (along its last axis), and what its functional groups say besides."""

    volume: Volume
    place: int
    stack: str = "1"
    time: int = 1
    echo_ms: float = 20.0
    slope: float = 1.0
    intercept: float = 0.0


def frames_of(volume: Volume, skip: Sequence[int] = (), **facts: Any) -> list[EnhancedFrame]:
    places = [place for place in range(volume.shape[2]) if place not in skip]
    return [EnhancedFrame(volume, place, **facts) for place in places]


def shuffled(frames: list[EnhancedFrame], seed: int = 0) -> list[EnhancedFrame]:
    return [frames[n] for n in np.random.default_rng(seed).permutation(len(frames))]


def write_enhanced(
    frames: Sequence[EnhancedFrame],
    path: Path,
    change: Callable[[FileDataset], None] = lambda _: None,
    **tags: Any,
) -> Path:
    """One file of these frames in this order; `tags` replace what it says at its top."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SpecificCharacterSet = tags.get("SpecificCharacterSet", "ISO_IR 100")
    facts = {
        "SOPClassUID": EnhancedMRImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.840.99.1",
        "SeriesInstanceUID": "1.2.840.99.2",
        "FrameOfReferenceUID": "1.2.840.99.3",
        "Modality": "MR",
        "Manufacturer": "Maker",
        "SeriesNumber": 5,
        "SeriesDescription": "T1 enhanced",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "PatientName": "Mustermann^Erika",
        "PatientID": "MRN-4711",
        "PatientBirthDate": "19700131",
        "PatientSex": "F",
        "StudyDate": "20240229",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        **{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
        "NumberOfFrames": len(frames),
        **tags,
    }
    for name, value in facts.items():
        setattr(image, name, value)
    image.Columns, image.Rows = frames[0].volume.shape[:2]
    image.SharedFunctionalGroupsSequence = [_shared()]
    image.PerFrameFunctionalGroupsSequence = [_groups(frame) for frame in frames]
    image.PixelData = b"".join(_pixels(frame) for frame in frames)
    change(image)
    image.save_as(path)
    return path


def _shared() -> Dataset:
    shared = Dataset()
    kind = Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    kind.ComplexImageComponent = "MAGNITUDE"
    shared.MRImageFrameTypeSequence = [kind]
    return shared


def _groups(frame: EnhancedFrame) -> Dataset:
    lps, spacing = lps_to_ras(frame.volume.affine), frame.volume.spacing_mm
    content, position, orientation = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = frame.stack, frame.place + 1
    content.TemporalPositionIndex = frame.time
    corner = lps[:3, 3] + lps[:3, 2] * frame.place
    position.ImagePositionPatient = [f"{c:.6f}" for c in corner]
    cosines = (lps[:3, :2] / spacing[:2]).T.flat
    orientation.ImageOrientationPatient = [f"{c:.10f}" for c in cosines]
    measures, values, echo = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [f"{spacing[1]:.8f}", f"{spacing[0]:.8f}"]
    measures.SliceThickness = f"{spacing[2]:.6f}"
    values.RescaleSlope, values.RescaleIntercept = frame.slope, frame.intercept
    values.RescaleType = "US"
    echo.EffectiveEchoTime = frame.echo_ms
    groups = Dataset()
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [position]
    groups.PlaneOrientationSequence, groups.PixelMeasuresSequence = [orientation], [measures]
    groups.PixelValueTransformationSequence, groups.MREchoSequence = [values], [echo]
    return groups


def _pixels(frame: EnhancedFrame) -> bytes:
    plane = frame.volume.data[:, :, frame.place].T
    return np.rint((plane - frame.intercept) / frame.slope).astype("<i2").tobytes()
