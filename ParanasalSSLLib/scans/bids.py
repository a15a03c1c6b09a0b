"""What the name of an image says of it, by the rules of BIDS and by common use."""

from __future__ import annotations

import re

BIDS_FILE = re.compile(
    r"sub-[A-Za-z0-9]+(?:_[A-Za-z0-9]+-[A-Za-z0-9]+)*_([A-Za-z0-9]+)\.nii(\.gz)?"
)
NOT_RAW = re.compile(  # entities of BIDS derivatives, and of images that show no anatomy
    r"_(desc|space|res|den|label|seg|scale|atlas|hemi|tpl|cohort|from|to|mode)-"
    r"|_part-(phase|real|imag)_"
)
ANATOMY = (  # suffixes of images in anat/ that show a head in grey
    *("T1w", "T2w", "PDw", "FLAIR", "T2starw", "inplaneT1", "inplaneT2", "PDT2"),
    *("UNIT1", "MP2RAGE", "MPRAGE", "MTw"),
)
_LABELS = re.compile(
    r"(^|[._-])(seg|segmentation|mask|labels?|labelmap|dseg|probseg)\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)",
    re.IGNORECASE,
)


def bids_suffix(name: str) -> str:
    """`FLAIR` of `sub-1_ses-2_FLAIR.nii.gz`; empty for a file that is not named as BIDS does."""
    match = BIDS_FILE.fullmatch(name)
    return match[1] if match else ""


def why_no_scan(name: str) -> str:
    """Why an image of this name is no scan of a head, in words; empty where it may be one."""
    suffix = bids_suffix(name)
    if NOT_RAW.search(name) and name.startswith("sub-"):
        return "derived from others, by their names (desc-, space- and the like)"
    if _LABELS.search(name):
        return "segmentations or masks, by their names"
    if suffix and suffix not in ANATOMY:
        return f"no anatomy, by their names ({suffix})"
    return ""
