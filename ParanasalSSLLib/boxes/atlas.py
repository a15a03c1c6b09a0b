"""The head template that scans are aligned with, and where its maxillary sinuses are.

`data/atlas/` holds the template (2 mm, from the mean image of the package pydeface, see NOTICE.txt)
and the centroids; `build_atlas.py` beside this file makes both again from that package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ParanasalSSLLib.scans.itk import from_sitk
from ParanasalSSLLib.scans.volume import Provenance, Volume
from ParanasalSSLLib.sinuses import Side

ATLAS_FOLDER = Path(__file__).parents[1] / "data" / "atlas"
TEMPLATE = ATLAS_FOLDER / "head_2mm.nii.gz"
CENTROIDS = ATLAS_FOLDER / "centroids.json"


@dataclass(frozen=True, eq=False)
class Atlas:
    """The template and its sinuses.

    Attributes:
        template: T1-like mean head with complete face, 2 mm, RAS.
        centroids_ras_mm: mean centre of each sinus's air, (3,) RAS mm of the template.
    """

    template: Volume
    centroids_ras_mm: dict[Side, np.ndarray]


@cache
def load_atlas() -> Atlas:
    """The atlas that ships with the library."""
    import SimpleITK as sitk

    image = from_sitk(sitk.ReadImage(str(TEMPLATE)))
    content = json.loads(CENTROIDS.read_text(encoding="utf-8"))
    return Atlas(
        Volume(image.data, image.affine, Provenance("NIfTI", "MR")),
        {side: np.array(content[side.value]["center_ras_mm"]) for side in Side},
    )
