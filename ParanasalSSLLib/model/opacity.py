"""From the sinus network's maps to what a reader wants to know: millilitres, millimetres, findings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.model.findings import Finding, fills, find_findings, wall_depth_mm
from ParanasalSSLLib.model.resolution import CROP_VOXELS
from ParanasalSSLLib.sinuses import Grade

SMOOTHING_MM = 2.0  # of the evidence: what is smaller than this is noise
CAVITY_LEVEL = OPACITY_LEVEL = 0.5
SMALLEST_EVIDENCE = 1e-4  # its logit is finite


@dataclass(frozen=True, eq=False)
class SinusMeasures:
    """What fills one sinus; of a box in which no sinus is recognised, all of it is empty (`none`).

    Attributes:
        cavity: bool (64, 64, 64), all inside the bony walls, air or not.
        opacity: bool (64, 64, 64), what of the cavity is not air; never outside it.
        cavity_ml, opacity_ml: their volumes.
        evidence: 0..1, the largest smoothed probability of opacification inside the cavity.
        soft_ml: sum of the probability of opacification inside the cavity.
        depth_mm: greatest depth of the opacity from the cavity's wall.
        complete: no air worth the name is left, see `findings.fills`.
        findings: the opacity's connected parts, the largest first.
    """

    cavity: np.ndarray
    opacity: np.ndarray
    cavity_ml: float
    opacity_ml: float
    evidence: float
    soft_ml: float
    depth_mm: float
    complete: bool
    findings: tuple[Finding, ...]

    @classmethod
    def none(cls) -> SinusMeasures:
        """Of a box in which no sinus is recognised."""
        nothing = np.zeros((CROP_VOXELS,) * 3, bool)
        return cls(nothing, nothing, 0.0, 0.0, 0.0, 0.0, 0.0, False, ())

    @property
    def margin(self) -> float:
        """Logit of the evidence: above 0 where it is above a half."""
        return evidence_margin(self.evidence)

    @property
    def filled_fraction(self) -> float:
        """Part of the cavity that is filled, 0..1; 0 where no cavity was found."""
        return self.opacity_ml / self.cavity_ml if self.cavity_ml else 0.0

    def grade(self, anomalous: bool) -> Grade:
        """Clear, partial or complete, as in the maxillary item of Lund-Mackay.

        Clear is what the decision calls clear, so that the two never contradict each other: of a
        faint opacity that is outlined and does not reach the decision's threshold the grade is 0.
        Complete needs the decision too, and a cavity without air (`complete`).
        """
        if not anomalous:
            return Grade.CLEAR
        return Grade.COMPLETE if self.complete else Grade.PARTIAL


def measure_sinus(
    cavity: np.ndarray, opacity: np.ndarray, inside: np.ndarray, spacing_mm: float = 1.0
) -> SinusMeasures:
    """Volumes, depth and findings of one sinus.

    Args:
        cavity, opacity: float (n, n, n) probabilities of the sinus network, 0..1.
        inside: bool (n, n, n), the voxel lies in the scan's image; others count for nothing.
        spacing_mm: edge of a voxel.
    """
    voxel_ml = spacing_mm**3 / 1000.0
    outline = _largest_part((cavity >= CAVITY_LEVEL) & inside)
    filled = (opacity >= OPACITY_LEVEL) & outline
    depth = wall_depth_mm(outline, spacing_mm)
    smooth = ndimage.gaussian_filter(opacity * inside, SMOOTHING_MM / spacing_mm)
    kept, findings = find_findings(filled, outline, inside, spacing_mm)
    return SinusMeasures(
        cavity=outline,
        opacity=kept,
        cavity_ml=float(outline.sum()) * voxel_ml,
        opacity_ml=float(kept.sum()) * voxel_ml,
        evidence=float(smooth[outline].max(initial=0.0)),
        soft_ml=float(opacity[outline].sum()) * voxel_ml,
        depth_mm=float(depth[kept].max(initial=0.0)),
        complete=fills(kept, depth),
        findings=findings,
    )


def evidence_margin(evidence: float) -> float:
    """Logit of `SinusMeasures.evidence`, which is kept away from 0 and 1."""
    kept = min(max(evidence, SMALLEST_EVIDENCE), 1 - SMALLEST_EVIDENCE)
    return math.log(kept / (1 - kept))


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part, its holes filled."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    filled: np.ndarray = ndimage.binary_fill_holes(labels == sizes.argmax())
    return filled
