"""What a PACS gets of one scan: a DICOM segmentation (SEG) and a structured report (SR).

Both belong to the patient and study of the source series. They are the only outputs that carry an
identity, because DICOM demands it.

SEG: binary, one segment for each sinus with a marked voxel, in the planes of the source images.
SR: a measurement report (TID 1500) that refers to the source images and the segments, with one
group for each sinus: probability, decision and its threshold, volume and share of the cube, and
whether the box is to be trusted.

Both are made with highdicom, an optional package that is imported only by the functions that use
it.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DA, TM

from ParanasalSSLLib.errors import MissingPackage, UnsupportedScan
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import SAME_PLACE_MM, apply_affine, is_same_place, lps_to_ras
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.results.write import (
    RESEARCH_USE,
    SIMULATED_MODEL,
    PastedRegion,
    ScanFiles,
    decision_word,
    software_version,
)
from ParanasalSSLLib.scans.source_series import SourceSeries, suppressed_warnings
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import (
    MAXILLARY_SINUS_SNOMED,
    RESIDUAL_CATEGORY,
    RESIDUAL_TYPE,
    SEGMENT_LABELS,
    SINUSES,
    Side,
)

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import (
        Comprehensive3DSR,
        ContainerContentItem,
        Measurement,
        ObservationContext,
    )

    from ParanasalSSLLib.model.bundle import BundleCard

SOFTWARE = "ParanasalSSL"
SERIES_NUMBERS = {"SEG": 9901, "SR": 9902}  # behind a scanner's; what tells series apart is the UID
UTF_8 = "ISO_IR 192"

# What must be in a header, though it may be empty there (DICOM's type 2).
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
)
_SEXES = ("M", "F", "O")
# What is needed of the images behind the first, which tells what they share.
_OF_EACH = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"),
)

OUR_CODES = "99PARANASAL"  # for what neither DICOM nor SNOMED CT has a code
PROBABILITY = Code("probability", OUR_CODES, "Calibrated probability of an anomaly")
THRESHOLD = Code("threshold", OUR_CODES, "Probability from which a sinus is called anomalous")
SHARE_OF_CUBE = Code("share_of_cube", OUR_CODES, "Marked share of the cube around the sinus")
MARKED = Code("marked", OUR_CODES, "Residual above what healthy sinuses show")
DECISION = Code("decision", OUR_CODES, "Decision")
DECISIONS = {
    "anomaly": Code("anomaly", OUR_CODES, "Anomaly"),
    "clear": Code("clear", OUR_CODES, "Clear"),
}
BOX_QUALITY = Code("box_quality", OUR_CODES, "Quality of the position of the boxes")
QUALITIES = {
    "ok": Code("ok", OUR_CODES, "OK"),
    "review": Code("review", OUR_CODES, "Review: look at the boxes first"),
}
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("mL", "UCUM", "milliliter")
NO_UNIT = Code("1", "UCUM", "no units")
MRI = Code("113091000", "SCT", "MRI unspecified body region")
SINUS = Code(MAXILLARY_SINUS_SNOMED.value, "SCT", MAXILLARY_SINUS_SNOMED.meaning)
COMMENT = Code("121106", "DCM", "Comment")
EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
LIBRARY = Code("111028", "DCM", "Image Library")
LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
MODALITY = Code("121139", "DCM", "Modality")
MAGNETIC_RESONANCE = Code("MR", "DCM", "Magnetic Resonance")
FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")
SOURCE = Code("260753009", "SCT", "Source")
SEGMENTATION = Code("113076", "DCM", "Segmentation")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")


# ------------------------------------------------------------------------------------- writing


def write_dicom(
    result: ScanResult, card: BundleCard, series: SourceSeries, files: ScanFiles
) -> list[Path]:
    """Write SEG and SR of a scored scan into `files.folder`, each whole or not at all.

    The result's volume must lie where the series lies; its axes may run in another order.

    Returns what was written: the paths of SEG and SR, or of the SR alone where no voxel is marked
    (a SEG without a segment would be invalid).

    Raises:
        MissingPackage: highdicom is not installed.
        UnsupportedScan: the volume lies elsewhere, or has another grid than the series.
    """
    require_highdicom()
    with suppressed_warnings():
        scan = _Scan.of(result, card, series)
        segmentation = make_segmentation(scan)
        report = make_report(scan, segmentation)
        written = []
        if segmentation is not None:
            written.append(_save(segmentation, files.dicom_segmentation))
        written.append(_save(report, files.dicom_report))
        return written


def require_highdicom() -> None:
    """Raise `MissingPackage` where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            "DICOM output needs the package highdicom, which is not installed. Install it with "
            "`pip install 'highdicom>=0.27'`, or do without DICOM output."
        ) from error


def _save(data: Dataset, path: Path) -> Path:
    with write_whole(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
    return path


@dataclass(frozen=True, eq=False)
class _Scan:
    """What both objects are made from.

    headers: of the source images, completed; in the order of `places`
    places: (len(headers),) place of each along the last axis of the grid
    affine: (4, 4) column, row, place -> RAS mm
    region: the marked voxels, in the grid of the series
    tracking: for each side, the UID that segment and measurements share
    """

    result: ScanResult
    card: BundleCard
    headers: list[Dataset]
    places: np.ndarray
    affine: np.ndarray
    region: PastedRegion
    tracking: dict[Side, str]

    @classmethod
    def of(cls, result: ScanResult, card: BundleCard, series: SourceSeries) -> _Scan:
        return cls(
            result,
            card,
            completed_headers(series),
            series.places,
            series.affine,
            PastedRegion.of(in_grid_of_series(result, series)),
            {side: new_uid() for side in result.sinuses},
        )

    @property
    def marked_sides(self) -> list[Side]:
        """The sides that get a segment, in the order of their segments' numbers (from 1)."""
        return [s for s in self.region.sides if (self.region.labels == SEGMENT_LABELS[s]).any()]

    def sources_of(self, place: int) -> list[Dataset]:
        """The header of the image at a place, or of both its neighbours where the series has none."""
        at = {int(p): header for p, header in zip(self.places, self.headers, strict=True)}
        return [at[place]] if place in at else [at[place - 1], at[place + 1]]


def new_uid() -> str:
    """A UID that needs no registered root."""
    return f"2.25.{uuid.uuid4().int}"


# ------------------------------------------------------------------------------- source series


def completed_headers(series: SourceSeries) -> list[Dataset]:
    """Copies of the source headers that highdicom can take, whatever the scanner left out.

    Texts are in UTF-8; attributes that DICOM wants are there (empty where unknown); what is no
    date, time or sex is emptied; orientation and distance of the planes are those of the stack:
    scanners write the gap between slices, or nothing, in place of their distance. The first has
    all attributes, the others those that tell images apart (which is faster).
    """
    first = deepcopy(series.headers[0])
    others = []
    for header in series.headers[1:]:
        other = Dataset()
        for name in _OF_EACH:
            setattr(other, name, header[name].value)
        others.append(other)
    _complete_patient_and_study(first)
    spacing = f"{np.linalg.norm(series.affine[:3, 2]):.6f}"
    thickness = first.get("SliceThickness") or spacing
    for header in (first, *others):
        header.Modality = first.get("Modality") or "MR"
        header.ImageOrientationPatient = first.ImageOrientationPatient
        header.SpacingBetweenSlices, header.SliceThickness = spacing, thickness
    return [first, *others]


def _complete_patient_and_study(header: Dataset) -> None:
    header.SpecificCharacterSet = UTF_8
    for name in _TYPE_2:
        if name not in header:
            setattr(header, name, "")
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        if not _is_valid(header[name].value, kind):
            setattr(header, name, "")
    if header.PatientSex not in _SEXES:
        header.PatientSex = ""


def _is_valid(value: Any, kind: type) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


def in_grid_of_series(result: ScanResult, series: SourceSeries) -> ScanResult:
    """The result with a volume in the grid of the series (without voxels where it had another).

    Raises `UnsupportedScan` where the two grids do not cover the same place with the same voxels.
    """
    volume = result.volume
    same_axes = volume.shape == series.shape
    if same_axes and np.abs(volume.affine - series.affine).max() < SAME_PLACE_MM / 1000:
        return result
    if not is_same_place(volume, series):
        raise UnsupportedScan(
            "The scan does not lie where its DICOM series lies, or has other voxels: it was moved, "
            "cropped or resampled. Give the series as it is, or do without DICOM output."
        )
    empty = np.broadcast_to(np.float32(0), series.shape)
    return replace(result, volume=Volume(empty, series.affine, volume.provenance))


# ----------------------------------------------------------------------------------------- SEG


def make_segmentation(scan: _Scan) -> Segmentation | None:
    """The SEG with a segment for each side that has a marked voxel; None where none has."""
    import highdicom as hd

    if not scan.marked_sides:
        return None
    planes, masks = _marked_planes(scan)
    made = hd.seg.Segmentation(
        source_images=scan.headers,
        pixel_array=masks,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(scan, side, number) for number, side in enumerate(scan.marked_sides, start=1)
        ],
        plane_positions=[
            hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, _position(scan, plane))
            for plane in planes
        ],
        content_label="PARANASAL",
        content_description="Marked by ParanasalSSL. Research use only.",
        **_series_facts(scan, "SEG", "ParanasalSSL segmentation, research use"),
    )
    made.SpecificCharacterSet = UTF_8
    made.ContentCreatorName = None  # no person, but the attribute must be there
    _refer_to_sources(made, scan)
    return made


def _marked_planes(scan: _Scan) -> tuple[list[int], np.ndarray]:
    """Places of the planes with a marked voxel, and the masks there.

    masks: (planes, rows, columns, segments) uint8, whole planes of the source images.
    """
    columns, rows, slices = scan.region.window
    first = scan.headers[0]
    marked = np.flatnonzero(scan.region.labels.any(axis=(0, 1)))
    masks = np.zeros((len(marked), first.Rows, first.Columns, len(scan.marked_sides)), np.uint8)
    labels = scan.region.labels[:, :, marked].transpose(2, 1, 0)
    for segment, side in enumerate(scan.marked_sides):
        masks[:, rows, columns, segment] = labels == SEGMENT_LABELS[side]
    return [int(place) for place in marked + slices.start], masks


def _position(scan: _Scan, place: int) -> list[float]:
    """(3,) centre of a plane's first voxel, LPS mm: as the image says, if there is one."""
    sources = scan.sources_of(place)
    return list(np.mean([np.array(s.ImagePositionPatient, float) for s in sources], axis=0))


def _segment(scan: _Scan, side: Side, number: int) -> SegmentDescription:
    import highdicom as hd

    facts = SINUSES[side]
    by_hand = scan.result.sinuses[side].box.origin == "hand"
    kinds = hd.seg.SegmentAlgorithmTypeValues
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=facts.residual_name,
        segmented_property_category=Code(RESIDUAL_CATEGORY.value, "SCT", RESIDUAL_CATEGORY.meaning),
        segmented_property_type=Code(RESIDUAL_TYPE.value, "SCT", RESIDUAL_TYPE.meaning),
        algorithm_type=kinds.SEMIAUTOMATIC if by_hand else kinds.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=SOFTWARE,
            family=ARTIFICIAL_INTELLIGENCE,
            version=software_version(),
            parameters={"model": _model(scan.card), "weights SHA-256": scan.card.weights_sha256},
        ),
        tracking_uid=scan.tracking[side],
        tracking_id=facts.name,
        anatomic_regions=[SINUS],
        display_color=hd.color.CIELabColor.from_rgb(*(255 * c for c in facts.residual_color)),
    )
    region = segment.AnatomicRegionSequence[0]
    region.AnatomicRegionModifierSequence = [_coded(_laterality(side))]
    return segment


def _refer_to_sources(segmentation: Segmentation, scan: _Scan) -> None:
    """Say for each frame from which images it comes.

    highdicom does this only where every frame lies on a source image; not so with a plane that
    the series lacks, which the reader has filled from both neighbours.
    """
    to_index = np.linalg.inv(scan.affine)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = lps_to_ras(np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float))
        sources = scan.sources_of(round(apply_affine(to_index, position)[2]))
        derivation = Dataset()
        derivation.DerivationCodeSequence = [_coded(SEGMENTATION)]
        derivation.SourceImageSequence = [_reference(s, alone=len(sources) == 1) for s in sources]
        frame.DerivationImageSequence = [derivation]


def _reference(source: Dataset, alone: bool) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [_coded(SOURCE_IMAGE)]
    item.SpatialLocationsPreserved = "YES" if alone else "NO"
    return item


# ------------------------------------------------------------------------------------------ SR


def make_report(scan: _Scan, segmentation: Segmentation | None) -> Comprehensive3DSR:
    """The SR with a group of measurements for each side; preliminary and unverified."""
    import highdicom as hd

    content = hd.sr.MeasurementReport(
        observation_context=_observer(scan.card),
        procedure_reported=MRI,
        imaging_measurements=[
            _measurement_group(scan, sinus, segmentation) for sinus in scan.result.sinuses.values()
        ],
    )
    root = content[0].ContentSequence
    root.insert(len(root) - 1, _image_library(scan.headers))  # the template's order
    root.append(_remarks(scan))
    made = hd.sr.Comprehensive3DSR(
        evidence=[*scan.headers, *([] if segmentation is None else [segmentation])],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[_our_scheme()],
        **_series_facts(scan, "SR", "ParanasalSSL scores, research use"),
    )
    made.SpecificCharacterSet = UTF_8
    return made


def _image_library(sources: list[Dataset]) -> ContainerContentItem:
    """The source images (TID 1600), with what they share said once.

    highdicom's own repeats the geometry for each image: seconds and megabytes for a 3D scan.
    """
    from highdicom.sr import (
        CodeContentItem,
        ContainerContentItem,
        ContentSequence,
        ImageContentItem,
        RelationshipTypeValues,
        UIDRefContentItem,
    )

    contains, shared = RelationshipTypeValues.CONTAINS, RelationshipTypeValues.HAS_ACQ_CONTEXT
    group = ContainerContentItem(LIBRARY_GROUP, relationship_type=contains)
    group.ContentSequence = ContentSequence(
        [
            CodeContentItem(MODALITY, MAGNETIC_RESONANCE, shared),
            UIDRefContentItem(FRAME_OF_REFERENCE, sources[0].FrameOfReferenceUID, shared),
            *(
                ImageContentItem(
                    SOURCE, s.SOPClassUID, s.SOPInstanceUID, relationship_type=contains
                )
                for s in sources
            ),
        ]
    )
    library = ContainerContentItem(LIBRARY, relationship_type=contains)
    library.ContentSequence = ContentSequence([group])
    return library


def _measurement_group(scan: _Scan, sinus: SinusResult, segmentation: Segmentation | None) -> Any:
    """Measurements of a segment (TID 1411), or of the images where the side has none (TID 1501)."""
    import highdicom as hd

    side = sinus.side
    facts: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(scan.tracking[side], SINUSES[side].name),
        "finding_type": MARKED,
        "finding_sites": [hd.sr.FindingSite(SINUS, laterality=_laterality(side))],
        "algorithm_id": hd.sr.AlgorithmIdentification(
            SOFTWARE, software_version(), [_model_words(scan.card)]
        ),
        "measurements": _measurements(sinus, scan.card),
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(DECISION, DECISIONS[decision_word(sinus)]),
            hd.sr.QualitativeEvaluation(
                BOX_QUALITY, QUALITIES[scan.result.placement.quality.verdict]
            ),
        ],
    }
    if segmentation is None or side not in scan.marked_sides:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**facts)
    segment = hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        segment_number=scan.marked_sides.index(side) + 1,
        source_series=hd.sr.SourceSeriesForSegmentation(scan.headers[0].SeriesInstanceUID),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **facts
    )


def _measurements(sinus: SinusResult, card: BundleCard) -> list[Measurement]:
    """The numbers of report.json, rounded as there."""
    import highdicom as hd

    return [
        hd.sr.Measurement(PROBABILITY, round(sinus.probability, 4), NO_UNIT),
        hd.sr.Measurement(THRESHOLD, round(card.decision_threshold, 4), NO_UNIT),
        hd.sr.Measurement(VOLUME, round(sinus.opacity_ml, 3), MILLILITRE),
        hd.sr.Measurement(SHARE_OF_CUBE, round(sinus.opacity_fraction, 5), NO_UNIT),
    ]


def _observer(card: BundleCard) -> ObservationContext:
    """The program with its model as the device that observed; the same weights, the same UID."""
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, card.weights_sha256).int}",
        name=f"{SOFTWARE} {software_version()}",
        manufacturer_name=SOFTWARE,
        model_name=_model(card),
        serial_number=card.weights_sha256,
    )
    kind = hd.sr.CodedConcept("121007", "DCM", "Device")
    return hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(kind, device))


def _remarks(scan: _Scan) -> Dataset:
    """What every reader of the report has to know, as sentences."""
    import highdicom as hd

    relation = hd.sr.RelationshipTypeValues.CONTAINS
    sentences = [
        RESEARCH_USE,
        *([SIMULATED_MODEL] if scan.card.simulated else []),
        _model_words(scan.card),
        *scan.result.placement.quality.reasons,
        *scan.result.notices,
    ]
    remarks = hd.sr.ContainerContentItem(EVALUATIONS, relationship_type=relation)
    remarks.ContentSequence = hd.sr.ContentSequence(
        [hd.sr.TextContentItem(COMMENT, sentence, relation) for sentence in sentences]
    )
    return remarks


# -------------------------------------------------------------------------------- what both say


def _series_facts(scan: _Scan, modality: str, description: str) -> dict[str, Any]:
    """A series of its own, made by this program."""
    return {
        "series_instance_uid": new_uid(),
        "series_number": SERIES_NUMBERS[modality],
        "series_description": description,
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": SOFTWARE,
        "software_versions": software_version(),
        "device_serial_number": scan.card.weights_sha256,
    }


def _our_scheme() -> Dataset:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        OUR_CODES, name="Codes of ParanasalSSL", responsible_organization=SOFTWARE
    )


def _laterality(side: Side) -> Code:
    return Code(SINUSES[side].snomed_code, "SCT", SINUSES[side].snomed_side)


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _model(card: BundleCard) -> str:
    return f"{card.name} {card.version}"


def _model_words(card: BundleCard) -> str:
    return f"Model {_model(card)}, SHA-256 of the weights {card.weights_sha256}."
