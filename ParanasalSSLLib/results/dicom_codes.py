"""The coded concepts of the DICOM outputs: SNOMED CT, DICOM, UCUM, UMLS, and a few of our own."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sr.coding import Code

from ParanasalSSLLib.sinuses import (
    MAXILLARY_SINUS_SNOMED,
    OPACITY_TYPE,
    SINUSES,
    Decision,
    Form,
    Grade,
    Side,
    SnomedCode,
    Wall,
)


def sct(concept: SnomedCode) -> Code:
    """A concept of SNOMED CT as pydicom has it."""
    return Code(concept.value, "SCT", concept.meaning)


OUR_CODES = "99PARANASAL"  # for what neither DICOM nor SNOMED CT has a code
PROBABILITY = Code("probability", OUR_CODES, "Calibrated probability of an anomaly")
THRESHOLD = Code("threshold", OUR_CODES, "Probability from which a sinus is called anomalous")
OPACITY_FRACTION = Code("opacity_fraction", OUR_CODES, "Fraction of the box that is opaque")
OPACITY = Code("opacity", OUR_CODES, "Opacity: what fills the sinus")
DECISION = Code("decision", OUR_CODES, "Decision")
DECISIONS = {
    Decision.ANOMALY: Code("anomaly", OUR_CODES, "Anomaly"),
    Decision.CLEAR: Code("clear", OUR_CODES, "Clear"),
    Decision.NOT_JUDGED: Code("not_judged", OUR_CODES, "Not judged: no sinus is recognised"),
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
SINUS = sct(MAXILLARY_SINUS_SNOMED)
FINDING = sct(OPACITY_TYPE)
FILLED = Code("filled", OUR_CODES, "Part of the cavity that is opaque")
DIAMETER = Code("81827009", "SCT", "Diameter")
DEPTH = Code("131197000", "SCT", "Depth")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MILLIMETRE = Code("mm", "UCUM", "millimeter")
PERCENT = Code("%", "UCUM", "percent")
GRADE = Code("grade", OUR_CODES, "Grade as in the maxillary item of Lund-Mackay")
GRADES = {
    Grade.CLEAR: Code("260413007", "SCT", "None"),
    Grade.PARTIAL: Code("255609007", "SCT", "Partial"),
    Grade.COMPLETE: Code("255594003", "SCT", "Complete"),
}
WALLS: dict[str, Code] = {
    Wall.LATERAL: Code("49370004", "SCT", "Lateral"),
    Wall.MEDIAL: Code("255561001", "SCT", "Medial"),
    Wall.BACK: Code("264159006", "SCT", "Posterior Wall"),
    Wall.FRONT: Code("263943000", "SCT", "Anterior Wall"),
    Wall.FLOOR: Code("709280007", "SCT", "Floor"),
    Wall.ROOF: Code("264217000", "SCT", "Superior"),
}
SHAPE = Code("300842002", "SCT", "Shape")
SHAPES: dict[str, Code] = {
    Form.BAND: Code("88446008", "SCT", "Laminar"),
    Form.DOME: Code("dome", OUR_CODES, "Dome"),
    Form.LOBULATED: Code("112135", "DCM", "Lobulated"),
    Form.COMPLETE: Code("255594003", "SCT", "Complete"),
}
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


def laterality(side: Side) -> Code:
    """The modifier that says which of the two sinuses."""
    return Code(SINUSES[side].snomed_code, "SCT", SINUSES[side].snomed_side)


def coded(code: Code) -> Dataset:
    """The code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
