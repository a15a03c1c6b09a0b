"""The face aligned by itself, where it does not lie below the skull as in the mean head.

A child's face is short below a large skull. An affine that fits the skull puts its sinuses into the
orbits, and no better affine exists. The face alone fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.boxes.alignment import (
    aligned,
    alignment,
    ras_of,
    side_by_side,
    sitk_of,
    value_at,
)
from ParanasalSSLLib.boxes.atlas import Atlas
from ParanasalSSLLib.geometry import apply_affine
from ParanasalSSLLib.scans.itk import to_sitk

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class FaceConfig:
    """How the face is looked for.

    Attributes:
        reach_mm: (3,) of the block of the template around the middle of the sinuses: forehead to
            upper jaw, cheek to cheek, nose to pharynx. One number for both ways but along the body.
        below_mm, above_mm: reach along the body.
        rises_mm: starts, above where the head's alignment has the face.
        stretches: starts, along the body.
        candidates: starts that are aligned.
        found_information: nats; faces that were found share 0.53 to 0.83 with the template's, wrong
            places 0.33 to 0.35.
        widest_stretch_ratio: a face that is found is distorted less.
    """

    reach_mm: tuple[float, float] = (66.0, 54.0)
    below_mm: float = 38.0
    above_mm: float = 66.0
    rises_mm: tuple[float, ...] = (0.0, -12.0, 12.0, -24.0, -36.0)
    stretches: tuple[float, ...] = (1.0, 1.2)
    candidates: int = 2
    iterations: int = 40
    sampling_fraction: float = 0.2
    histogram_bins: int = 32
    found_information: float = 0.45
    widest_stretch_ratio: float = 1.6
    seed: int = 1


@dataclass(frozen=True, eq=False)
class FaceFit:
    """A face that was found.

    template_to_scan: (4, 4) affine, RAS mm, right for the face alone. mutual_information: nats.
    """

    template_to_scan: np.ndarray
    mutual_information: float


@dataclass(frozen=True, eq=False)
class FaceStart:
    """Where the face may lie; template_to_scan: (4, 4) RAS mm. value: lower is better."""

    value: float
    is_head_s: bool
    template_to_scan: np.ndarray


class FaceSearch:
    """Looks for the template's face near where an alignment of the whole head has it."""

    def __init__(self, atlas: Atlas, scan: sitk.Image, config: FaceConfig = FaceConfig()) -> None:
        import SimpleITK as sitk

        self.atlas, self.scan, self.config = atlas, scan, config
        self.middle = np.mean([*atlas.centroids_ras_mm.values()], axis=0)
        low = self.middle - np.array([*config.reach_mm, config.below_mm])
        high = self.middle + np.array([*config.reach_mm, config.above_mm])
        start, stop = np.rint(atlas.template.to_index(np.stack([low, high]))).astype(int)
        limit = np.array(atlas.template.shape)
        block = atlas.template.cut(np.clip(start, 0, limit), np.clip(stop, 0, limit))
        self.fine = to_sitk(block)
        self.coarse = sitk.BinShrink(self.fine, [2, 2, 2])

    def starts(self, template_to_scan: np.ndarray) -> list[FaceStart]:
        """Where the face may lie, the most promising first."""
        method = alignment(self.config.histogram_bins, 2.0, 1)
        starts = []
        for stretch in self.config.stretches:
            for rise_mm in self.config.rises_mm:
                affine = self._raised(template_to_scan, rise_mm, stretch)
                transform = sitk_of(affine, self.middle)
                value = value_at(method, transform, self.coarse, self.scan)
                starts.append(FaceStart(value, rise_mm == 0 and stretch == 1, affine))
        return sorted(starts, key=lambda start: start.value)

    def _raised(self, affine: np.ndarray, rise_mm: float, stretch: float) -> np.ndarray:
        moved = affine.copy()
        moved[:3, 2] *= stretch
        up = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
        at = apply_affine(affine, self.middle) + rise_mm * up
        moved[:3, 3] = at - moved[:3, :3] @ self.middle
        return moved

    def best(self, starts: list[FaceStart]) -> FaceFit | None:
        """The face as the best of the starts find it; None where it is none."""
        found = side_by_side(self._aligned, starts[: self.config.candidates])
        best = max(found, key=lambda fit: fit.mutual_information)
        stretch_ratio = np.linalg.cond(best.template_to_scan[:3, :3])
        if best.mutual_information < self.config.found_information:
            return None
        return best if stretch_ratio <= self.config.widest_stretch_ratio else None

    def _aligned(self, start: FaceStart) -> FaceFit:
        config = self.config
        sampling = config.sampling_fraction, config.seed
        method = alignment(config.histogram_bins, 2.0, config.iterations, sampling)
        transform = sitk_of(start.template_to_scan, self.middle)
        value, result = aligned(method, transform, self.fine, self.scan)
        return FaceFit(ras_of(result), -value)
