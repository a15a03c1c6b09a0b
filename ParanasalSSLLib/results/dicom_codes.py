"""The coded concepts of the DICOM outputs: SNOMED CT, DICOM, UCUM, UMLS, and a few of our own."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sr.coding import Code

from ParanasalSSLLib.sinuses import MAXILLARY_SINUS_SNOMED, SINUSES, Side

OUR_CODES = "99PARANASAL"  # for what neither DICOM nor SNOMED CT has a code
PROBABILITY = Code("probability", OUR_CODES, "Calibrated probability of an anomaly")
THRESHOLD = Code("threshold", OUR_CODES, "Probability from which a sinus is called anomalous")
OPACITY_FRACTION = Code("opacity_fraction", OUR_CODES, "Fraction of the box that is opaque")
OPACITY = Code("opacity", OUR_CODES, "Opacity: residual above what healthy sinuses show")
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


def laterality(side: Side) -> Code:
    """The modifier that says which of the two sinuses."""
    return Code(SINUSES[side].snomed_code, "SCT", SINUSES[side].snomed_side)


def coded(code: Code) -> Dataset:
    """The code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
