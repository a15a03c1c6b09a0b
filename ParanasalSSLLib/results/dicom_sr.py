"""The DICOM structured report: a measurement report (TID 1500) on the source images and the segments.

One group for each sinus: probability, decision and its threshold, opacity in ml and as a fraction of
the box, and whether the box is to be trusted. Made with highdicom, an optional package that is
imported only by the functions that use it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from ParanasalSSLLib.results.dicom_codes import (
    BOX_QUALITY,
    COMMENT,
    DECISION,
    DECISIONS,
    EVALUATIONS,
    FRAME_OF_REFERENCE,
    LIBRARY,
    LIBRARY_GROUP,
    MAGNETIC_RESONANCE,
    MILLILITRE,
    MODALITY,
    MRI,
    NO_UNIT,
    OPACITY,
    OPACITY_FRACTION,
    OUR_CODES,
    PROBABILITY,
    QUALITIES,
    SINUS,
    SOURCE,
    THRESHOLD,
    VOLUME,
    laterality,
)
from ParanasalSSLLib.results.dicom_source import DicomScan, model_name, series_facts
from ParanasalSSLLib.results.record import SOFTWARE, ModelRecord, SinusRecord, software_version
from ParanasalSSLLib.scans.source_series import UTF_8
from ParanasalSSLLib.sinuses import SINUSES, Side

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import (
        Comprehensive3DSR,
        ContainerContentItem,
        Measurement,
        ObservationContext,
    )


def make_report(scan: DicomScan, segmentation: Segmentation | None) -> Comprehensive3DSR:
    """The SR with a group of measurements for each side; preliminary and unverified."""
    import highdicom as hd

    content = hd.sr.MeasurementReport(
        observation_context=_observer(scan.record.model),
        procedure_reported=MRI,
        imaging_measurements=[
            _measurement_group(scan, side, segmentation) for side in scan.record.sinuses
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


def _measurement_group(scan: DicomScan, side: Side, segmentation: Segmentation | None) -> Any:
    """Measurements of a segment (TID 1411), or of the images where the side has none (TID 1501)."""
    import highdicom as hd

    sinus = scan.record.sinuses[side]
    facts: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(scan.tracking[side], SINUSES[side].name),
        "finding_type": OPACITY,
        "finding_sites": [hd.sr.FindingSite(SINUS, laterality=laterality(side))],
        "algorithm_id": hd.sr.AlgorithmIdentification(
            SOFTWARE, software_version(), [_model_words(scan.record.model)]
        ),
        "measurements": _measurements(sinus),
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(DECISION, DECISIONS[sinus.decision]),
            hd.sr.QualitativeEvaluation(BOX_QUALITY, QUALITIES[scan.record.quality.verdict]),
        ],
    }
    if segmentation is None or side not in scan.opaque_sides:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**facts)
    segment = hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        segment_number=scan.opaque_sides.index(side) + 1,
        source_series=hd.sr.SourceSeriesForSegmentation(scan.headers[0].SeriesInstanceUID),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **facts
    )


def _measurements(sinus: SinusRecord) -> list[Measurement]:
    """The numbers of report.json."""
    import highdicom as hd

    return [
        hd.sr.Measurement(PROBABILITY, sinus.probability, NO_UNIT),
        hd.sr.Measurement(THRESHOLD, sinus.threshold, NO_UNIT),
        hd.sr.Measurement(VOLUME, sinus.opacity_ml, MILLILITRE),
        hd.sr.Measurement(OPACITY_FRACTION, sinus.opacity_fraction, NO_UNIT),
    ]


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
