"""Whether DICOM files name two patients. What they say is compared, and never shown or written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from ParanasalSSLLib.scans.dicom_files import starts_as_dicom

FIELDS = {
    "PatientID": "patient ID",
    "PatientBirthDate": "date of birth",
    "PatientSex": "sex",
}
_TRIED = 20  # files: others may lie before the first DICOM image of a folder


def patient_in(files: Iterable[Path]) -> dict[str, str]:
    """The `FIELDS` of the first DICOM file among the first few; those that are empty are left out."""
    return next(filter(None, map(_patient_in, islice(files, _TRIED))), {})


def _patient_in(path: Path) -> dict[str, str]:
    import pydicom

    try:
        if not starts_as_dicom(path):
            return {}
        data = pydicom.dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=list(FIELDS)
        )
        texts = {name: str(data.get(name) or "").strip() for name in FIELDS}
    except Exception:  # damaged files make pydicom raise almost anything; then it is not known
        return {}
    return {name: text for name, text in texts.items() if text}


def two_patients_words(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """A sentence if two `patient_in` are known to differ, else empty."""
    differ = [FIELDS[name] for name in one if name in other and one[name] != other[name]]
    if not differ:
        return ""
    return f"These may be two patients: their DICOM files differ in {' and '.join(differ)}."
