"""The DICOM structured report: a measurement report (TID 1500) on the source images and the segments.

A group for the opacity of each sinus: probability, decision and its threshold, ml, fraction of the box
and of the cavity, depth, grade, and whether the box is to be trusted; one for its cavity, and one for
each finding, at its middle: ml, greatest diameter, depth, wall and shape. Made with highdicom, an
optional package that is imported only by the functions that use it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset

from ParanasalSSLLib.geometry import ras_to_lps
from ParanasalSSLLib.results.dicom_codes import (
    BOX_QUALITY,
    COMMENT,
    DECISION,
    DECISIONS,
    DEPTH,
    DIAMETER,
    EVALUATIONS,
    FILLED,
    FINDING,
    FRAME_OF_REFERENCE,
    GRADE,
    GRADES,
    LIBRARY,
    LIBRARY_GROUP,
    MAGNETIC_RESONANCE,
    MAXIMUM,
    MILLILITRE,
    MILLIMETRE,
    MODALITY,
    MRI,
    NO_UNIT,
    OPACITY,
    OPACITY_FRACTION,
    OUR_CODES,
    PERCENT,
    PROBABILITY,
    QUALITIES,
    SHAPE,
    SHAPES,
    SINUS,
    SOURCE,
    THRESHOLD,
    VOLUME,
    WALLS,
    laterality,
)
from ParanasalSSLLib.results.dicom_source import DicomScan, model_name, new_uid, series_facts
from ParanasalSSLLib.results.record import SOFTWARE, ModelRecord, software_version
from ParanasalSSLLib.results.sinus_record import FindingRecord, SinusRecord
from ParanasalSSLLib.scans.source_series import UTF_8
from ParanasalSSLLib.sinuses import SINUSES, Grade, Part, Side, segment_facts

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import (
        Comprehensive3DSR,
        ContainerContentItem,
        Measurement,
        ObservationContext,
        QualitativeEvaluation,
        TrackingIdentifier,
    )
    from pydicom.sr.coding import Code


def make_report(scan: DicomScan, segmentation: Segmentation | None) -> Comprehensive3DSR:
    """The SR with a group of measurements for each side; preliminary and unverified."""
    import highdicom as hd

    content = hd.sr.MeasurementReport(
        observation_context=_observer(scan.record.model),
        procedure_reported=MRI,
        imaging_measurements=[
            group for side in scan.record.sinuses for group in _groups(scan, side, segmentation)
        ],
    )
    root = content[0].ContentSequence
    root.insert(len(root) - 1, _image_library(scan))  # the template's order
    root.append(_remarks(scan))
    made = hd.sr.Comprehensive3DSR(
        evidence=[
            *(header for header, _ in scan.images),
            *([] if segmentation is None else [segmentation]),
        ],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[_our_scheme()],
        **series_facts(scan, "SR", "ParanasalSSL scores, research use"),
    )
    made.SpecificCharacterSet = UTF_8
    return made


def _image_library(scan: DicomScan) -> ContainerContentItem:
    """The source images and their frames (TID 1600), with what they share said once.

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
            UIDRefContentItem(FRAME_OF_REFERENCE, scan.headers[0].FrameOfReferenceUID, shared),
            *(
                ImageContentItem(
                    SOURCE,
                    header.SOPClassUID,
                    header.SOPInstanceUID,
                    referenced_frame_numbers=frames or None,
                    relationship_type=contains,
                )
                for header, frames in scan.images
            ),
        ]
    )
    library = ContainerContentItem(LIBRARY, relationship_type=contains)
    library.ContentSequence = ContentSequence([group])
    return library


def _groups(scan: DicomScan, side: Side, segmentation: Segmentation | None) -> list[Any]:
    """The groups of a side: its opacity, its cavity where there is one, and each finding."""
    sinus = scan.record.sinuses[side]
    groups = [_opacity_group(scan, side, segmentation)]
    if sinus.cavity_ml is not None:
        groups.append(_cavity_group(scan, side, sinus.cavity_ml, segmentation))
    findings = enumerate(sinus.findings or (), start=1)
    return groups + [_finding_group(scan, side, number, one) for number, one in findings]


def _opacity_group(scan: DicomScan, side: Side, segmentation: Segmentation | None) -> Any:
    import highdicom as hd

    sinus = scan.record.sinuses[side]
    evaluations = {DECISION: DECISIONS[sinus.decision]}
    if sinus.grade is not None:
        evaluations[GRADE] = GRADES[Grade(sinus.grade)]
    evaluations[BOX_QUALITY] = QUALITIES[scan.record.quality.verdict]
    facts = _facts(scan, side) | {
        "finding_type": OPACITY,
        "measurements": _measurements(sinus),
        "qualitative_evaluations": _evaluations(evaluations),
    }
    identifier = hd.sr.TrackingIdentifier(scan.tracking[side, Part.OPACITY], SINUSES[side].name)
    return _of_segment(scan, side, Part.OPACITY, segmentation, identifier, facts)


def _cavity_group(
    scan: DicomScan, side: Side, cavity_ml: float, segmentation: Segmentation | None
) -> Any:
    import highdicom as hd

    facts = _facts(scan, side) | {
        "finding_type": SINUS,
        "measurements": [hd.sr.Measurement(VOLUME, cavity_ml, MILLILITRE)],
    }
    name = segment_facts(side, Part.CAVITY).name
    identifier = hd.sr.TrackingIdentifier(scan.tracking[side, Part.CAVITY], name)
    return _of_segment(scan, side, Part.CAVITY, segmentation, identifier, facts)


def _finding_group(scan: DicomScan, side: Side, number: int, finding: FindingRecord) -> Any:
    """Measurements at a point (TID 1410), the middle of the finding."""
    import highdicom as hd

    wall = None if finding.wall is None else WALLS[finding.wall]
    place = hd.sr.FindingSite(SINUS, laterality(side), topographical_modifier=wall)
    point = ras_to_lps(np.array([finding.center_ras_mm]))
    frame = scan.headers[0].FrameOfReferenceUID
    name = f"{SINUSES[side].name}, finding {number}"
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        **_facts(scan, side)
        | {
            "tracking_identifier": hd.sr.TrackingIdentifier(new_uid(), name),
            "referenced_region": hd.sr.ImageRegion3D("POINT", point, frame),
            "finding_type": FINDING,
            "finding_sites": [place],
            "measurements": [
                hd.sr.Measurement(VOLUME, finding.ml, MILLILITRE),
                hd.sr.Measurement(DIAMETER, finding.diameter_mm, MILLIMETRE, derivation=MAXIMUM),
                hd.sr.Measurement(DEPTH, finding.depth_mm, MILLIMETRE, derivation=MAXIMUM),
            ],
            "qualitative_evaluations": _evaluations({SHAPE: SHAPES[finding.form]}),
        }
    )


def _facts(scan: DicomScan, side: Side) -> dict[str, Any]:
    """What every group of a side says."""
    import highdicom as hd

    return {
        "finding_sites": [hd.sr.FindingSite(SINUS, laterality=laterality(side))],
        "algorithm_id": hd.sr.AlgorithmIdentification(
            SOFTWARE, software_version(), [_model_words(scan.record.model)]
        ),
    }


def _of_segment(
    scan: DicomScan,
    side: Side,
    part: Part,
    segmentation: Segmentation | None,
    identifier: TrackingIdentifier,
    facts: dict[str, Any],
) -> Any:
    """Measurements of a segment (TID 1411), or of the images where there is none (TID 1501)."""
    import highdicom as hd

    facts = facts | {"tracking_identifier": identifier}
    if segmentation is None or (side, part) not in scan.segments:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**facts)
    segment = hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        segment_number=scan.segments.index((side, part)) + 1,
        source_series=hd.sr.SourceSeriesForSegmentation(scan.headers[0].SeriesInstanceUID),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **facts
    )


def _measurements(sinus: SinusRecord) -> list[Measurement]:
    """The numbers of report.json that are known."""
    import highdicom as hd

    filled = None if sinus.filled_fraction is None else round(100 * sinus.filled_fraction, 2)
    numbers = (
        (PROBABILITY, sinus.probability, NO_UNIT, None),
        (THRESHOLD, sinus.threshold, NO_UNIT, None),
        (VOLUME, sinus.opacity_ml, MILLILITRE, None),
        (OPACITY_FRACTION, sinus.opacity_fraction, NO_UNIT, None),
        (FILLED, filled, PERCENT, None),
        (DEPTH, sinus.depth_mm, MILLIMETRE, MAXIMUM),
    )
    return [
        hd.sr.Measurement(name, value, unit, derivation=derivation)
        for name, value, unit, derivation in numbers
        if value is not None
    ]


def _evaluations(answers: dict[Code, Code]) -> list[QualitativeEvaluation]:
    import highdicom as hd

    return [hd.sr.QualitativeEvaluation(name, value) for name, value in answers.items()]


def _observer(model: ModelRecord) -> ObservationContext:
    """The program with its model as the device that observed; the same weights, the same UID."""
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, model.weights_sha256).int}",
        name=f"{SOFTWARE} {software_version()}",
        manufacturer_name=SOFTWARE,
        model_name=model_name(model),
        serial_number=model.weights_sha256,
    )
    kind = hd.sr.CodedConcept("121007", "DCM", "Device")
    return hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(kind, device))


def _remarks(scan: DicomScan) -> Dataset:
    """What every reader of the report has to know, as sentences."""
    import highdicom as hd

    relation = hd.sr.RelationshipTypeValues.CONTAINS
    sentences = [
        scan.record.notice,
        *scan.record.model.notices,
        _model_words(scan.record.model),
        *scan.record.model.repeatability_words,
        *scan.record.quality.reasons,
    ]
    remarks = hd.sr.ContainerContentItem(EVALUATIONS, relationship_type=relation)
    remarks.ContentSequence = hd.sr.ContentSequence(
        [hd.sr.TextContentItem(COMMENT, sentence, relation) for sentence in sentences]
    )
    return remarks


def _our_scheme() -> Dataset:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        OUR_CODES, name="Codes of ParanasalSSL", responsible_organization=SOFTWARE
    )


def _model_words(model: ModelRecord) -> str:
    return f"Model {model_name(model)}, SHA-256 of the weights {model.weights_sha256}."
