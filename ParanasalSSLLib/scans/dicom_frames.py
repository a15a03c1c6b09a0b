"""The frames of multi-frame DICOM files (Enhanced MR), each as a slice of its own.

What a file of one slice says at its top stands here in functional groups, those that all frames
share and those of each frame (DICOM PS3.3, C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ParanasalSSLLib.scans.dicom_stack import Concatenation, Frame, SlicePlane

if TYPE_CHECKING:
    from pydicom import Dataset

# What to read of a header for them.
FRAME_TAGS = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("SOPInstanceUIDOfConcatenationSource", "InConcatenationNumber", "InConcatenationTotalNumber"),
)


@dataclass(frozen=True)
class _Groups:
    """The functional groups that hold for one frame: its own, then the shared ones."""

    own: Dataset
    shared: Dataset

    def get(self, sequence: str, name: str) -> Any:
        """What a functional group says; None where it is silent or missing."""
        for groups in (self.own, self.shared):
            for item in groups.get(sequence) or ():
                if item.get(name) is not None:
                    return item[name].value
        return None


@dataclass(frozen=True)
class FoundFrame:
    """One frame as its functional groups describe it.

    Attributes:
        frame: its number and rescaling.
        plane: where it lies, None where the file does not say it.
        part: words on what tells its volume from others of the file ("" for nothing).
        localizer: an overview picture for planning.
    """

    frame: Frame
    plane: SlicePlane | None
    part: str
    localizer: bool


def frames_of(data: Dataset) -> Iterator[FoundFrame]:
    """All frames of a multi-frame file, in their order; none where it has no functional groups.

    Raises ValueError where the file describes more or fewer frames than it says to hold, and
    whatever pydicom raises for a damaged one.
    """
    from pydicom import Dataset
    from pydicom.uid import UID

    described = data.get("PerFrameFunctionalGroupsSequence") or ()
    if not described and "Enhanced" not in UID(str(data.get("SOPClassUID") or "")).name:
        return
    if len(described) != int(data.get("NumberOfFrames") or 1):
        raise ValueError(f"{data.get('NumberOfFrames')} frames, {len(described)} described")
    shared = (data.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for number, own in enumerate(described, start=1):
        groups = _Groups(own, shared)
        yield FoundFrame(
            Frame(number, *_rescaling(groups), _concatenation(data)),
            _plane(groups),
            _part(groups),
            "LOCALIZER" in _kind(groups),
        )


def _rescaling(groups: _Groups) -> tuple[float, float]:
    """Slope and intercept."""
    slope = groups.get("PixelValueTransformationSequence", "RescaleSlope")
    intercept = groups.get("PixelValueTransformationSequence", "RescaleIntercept")
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def _plane(groups: _Groups) -> SlicePlane | None:
    orientation = groups.get("PlaneOrientationSequence", "ImageOrientationPatient")
    position = groups.get("PlanePositionSequence", "ImagePositionPatient")
    spacing = groups.get("PixelMeasuresSequence", "PixelSpacing")
    return SlicePlane.of(orientation, position, spacing)


def _kind(groups: _Groups) -> tuple[str, ...]:
    return tuple(groups.get("MRImageFrameTypeSequence", "FrameType") or ())


def _part(groups: _Groups) -> str:
    """The stack, time point, echo, contrast that a frame belongs to."""
    flavour = " ".join(word for word in _kind(groups)[2:] if word and word != "NONE")
    component = groups.get("MRImageFrameTypeSequence", "ComplexImageComponent")
    words = {
        "stack {}": groups.get("FrameContentSequence", "StackID"),
        "time point {}": groups.get("FrameContentSequence", "TemporalPositionIndex"),
        "echo time {:g} ms": groups.get("MREchoSequence", "EffectiveEchoTime"),
        "b {:g}": groups.get("MRDiffusionSequence", "DiffusionBValue"),
        "{}": " ".join(filter(None, (flavour, component))).lower() or None,
    }
    return ", ".join(form.format(value) for form, value in words.items() if value is not None)


def _concatenation(data: Dataset) -> Concatenation | None:
    image = data.get("SOPInstanceUIDOfConcatenationSource")
    if not image:
        return None
    numbers = (data.get(f"InConcatenation{name}") or 0 for name in ("Number", "TotalNumber"))
    return Concatenation(str(image), *map(int, numbers))
