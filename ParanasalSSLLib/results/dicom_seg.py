"""The DICOM segmentation: binary segments of opacity and cavity of each sinus, in source planes.

Made with highdicom, an optional package that is imported only by the functions that use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.uid import MRImageStorage

from ParanasalSSLLib.geometry import lps_to_ras
from ParanasalSSLLib.results.dicom_codes import (
    ARTIFICIAL_INTELLIGENCE,
    SEGMENTATION,
    SINUS,
    SOURCE_IMAGE,
    coded,
    laterality,
    sct,
)
from ParanasalSSLLib.results.dicom_source import DicomScan, model_name, series_facts
from ParanasalSSLLib.results.record import SOFTWARE, software_version
from ParanasalSSLLib.scans.source_series import UTF_8
from ParanasalSSLLib.sinuses import (
    ANATOMY_CATEGORY,
    OPACITY_CATEGORY,
    OPACITY_TYPE,
    SEGMENT_LABELS,
    Part,
    Side,
    segment_facts,
)

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

_CODES: dict[Part, dict[str, Any]] = {
    Part.OPACITY: {
        "segmented_property_category": sct(OPACITY_CATEGORY),
        "segmented_property_type": sct(OPACITY_TYPE),
        "anatomic_regions": [SINUS],
    },
    Part.CAVITY: {
        "segmented_property_category": sct(ANATOMY_CATEGORY),
        "segmented_property_type": SINUS,
    },
}


def make_segmentation(scan: DicomScan) -> Segmentation | None:
    """The SEG with a segment for each opacity and cavity that has a voxel; None where none has."""
    import highdicom as hd

    if not scan.segments:
        return None
    planes, masks = _planes(scan)
    made = hd.seg.Segmentation(
        source_images=[_as_slice(header) for header, _ in scan.images],
        pixel_array=masks,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(scan, side, part, number)
            for number, (side, part) in enumerate(scan.segments, start=1)
        ],
        plane_positions=[
            hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, _position(scan, plane))
            for plane in planes
        ],
        content_label="PARANASAL",
        content_description="Opacity and cavity by ParanasalSSL. Research use only.",
        **series_facts(scan, "SEG", "ParanasalSSL segmentation, research use"),
    )
    made.SpecificCharacterSet = UTF_8
    made.ContentCreatorName = None  # no person, but the attribute must be there
    _refer_to_sources(made, scan)
    return made


def _as_slice(header: Dataset) -> Dataset:
    """The header of a frame as that of a file of one slice: highdicom wants one enhanced file alone."""
    kind = DataElement("SOPClassUID", "UI", MRImageStorage)  # a new one: elements are shared
    return Dataset({**dict(header.items()), kind.tag: kind})


def _planes(scan: DicomScan) -> tuple[list[int], np.ndarray]:
    """Places of the planes with a voxel of a segment, and the masks there.

    masks: (planes, rows, columns, segments) uint8, whole planes of the source images.
    """
    columns, rows, slices = scan.region.window
    first, layers = scan.headers[0], scan.region.layers
    used = np.flatnonzero(np.any([layer.any(axis=(0, 1)) for layer in layers.values()], axis=0))
    masks = np.zeros((len(used), first.Rows, first.Columns, len(scan.segments)), np.uint8)
    for number, (side, part) in enumerate(scan.segments):
        labels = layers[part][:, :, used].transpose(2, 1, 0)
        masks[:, rows, columns, number] = labels == SEGMENT_LABELS[side]
    return [int(place) for place in used + slices.start], masks


def _position(scan: DicomScan, place: int) -> list[float]:
    """(3,) centre of a plane's first voxel, LPS mm: as the image says, if there is one."""
    sources = scan.sources_of(place)
    return list(np.mean([np.array(s.ImagePositionPatient, float) for s, _ in sources], axis=0))


def _segment(scan: DicomScan, side: Side, part: Part, number: int) -> SegmentDescription:
    import highdicom as hd

    facts, model = segment_facts(side, part), scan.record.model
    by_hand = scan.record.sinuses[side].box.origin == "hand"
    kinds = hd.seg.SegmentAlgorithmTypeValues
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=facts.name,
        **_CODES[part],
        algorithm_type=kinds.SEMIAUTOMATIC if by_hand else kinds.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=SOFTWARE,
            family=ARTIFICIAL_INTELLIGENCE,
            version=software_version(),
            parameters={"model": model_name(model), "weights SHA-256": model.weights_sha256},
        ),
        tracking_uid=scan.tracking[side, part],
        tracking_id=facts.name,
        display_color=hd.color.CIELabColor.from_rgb(*(255 * c for c in facts.color)),
    )
    modifier = [coded(laterality(side))]
    if part == Part.CAVITY:  # the sinus itself
        segment.SegmentedPropertyTypeCodeSequence[
            0
        ].SegmentedPropertyTypeModifierCodeSequence = modifier
    else:
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = modifier
    return segment


def _refer_to_sources(segmentation: Segmentation, scan: DicomScan) -> None:
    """Say for each frame from which images it comes, and for each image what it is.

    highdicom does this only where every frame lies on a source image; not so with a plane that
    the series lacks, which the reader has filled from both neighbours.
    """
    kinds = {header.SOPInstanceUID: header.SOPClassUID for header, _ in scan.images}
    for series in segmentation.ReferencedSeriesSequence:
        for image in series.ReferencedInstanceSequence:
            image.ReferencedSOPClassUID = kinds[image.ReferencedSOPInstanceUID]
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = lps_to_ras(np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float))
        sources = scan.sources_of(round(scan.grid.to_index(position)[2]))
        derivation = Dataset()
        derivation.DerivationCodeSequence = [coded(SEGMENTATION)]
        derivation.SourceImageSequence = [
            _reference(*source, alone=len(sources) == 1) for source in sources
        ]
        frame.DerivationImageSequence = [derivation]


def _reference(source: Dataset, frame: int | None, alone: bool) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [coded(SOURCE_IMAGE)]
    item.SpatialLocationsPreserved = "YES" if alone else "NO"
    return item
