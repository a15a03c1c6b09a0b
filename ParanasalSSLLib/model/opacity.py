"""From the sinus network's maps to what a reader wants to know: millilitres, millimetres, findings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import pdist

SMOOTHING_MM = 2.0  # of the evidence: what is smaller than this is noise
CAVITY_LEVEL = OPACITY_LEVEL = 0.5
LEAST_FINDING_ML = 0.1
SMALLEST_EVIDENCE = 1e-4  # its logit is finite
MOST_POINTS = 400  # of a finding's surface, to measure its diameter


@dataclass(frozen=True)
class Finding:
    """One connected part of the opacity.

    ml: volume. diameter_mm: greatest distance between two of its voxels. depth_mm: of its deepest
    voxel from the cavity's wall. centre: (3,) mean index in the crop.
    """

    ml: float
    diameter_mm: float
    depth_mm: float
    centre: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class SinusMeasures:
    """What fills one sinus.

    Attributes:
        cavity: bool (64, 64, 64), all inside the bony walls, air or not.
        opacity: bool (64, 64, 64), what of the cavity is not air; never outside it.
        cavity_ml, opacity_ml: their volumes.
        evidence: 0..1, the largest smoothed probability of opacification inside the cavity.
        soft_ml: sum of the probability of opacification inside the cavity.
        depth_mm: greatest depth of the opacity from the cavity's wall.
        findings: the opacity's connected parts, the largest first.
    """

    cavity: np.ndarray
    opacity: np.ndarray
    cavity_ml: float
    opacity_ml: float
    evidence: float
    soft_ml: float
    depth_mm: float
    findings: tuple[Finding, ...]

    @property
    def margin(self) -> float:
        """Logit of the evidence: above 0 where it is above a half."""
        return evidence_margin(self.evidence)

    @property
    def filled_fraction(self) -> float:
        """Part of the cavity that is filled, 0..1; 0 where no cavity was found."""
        return self.opacity_ml / self.cavity_ml if self.cavity_ml else 0.0


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
    depth = ndimage.distance_transform_edt(outline) * spacing_mm
    smooth = ndimage.gaussian_filter(opacity * inside, SMOOTHING_MM / spacing_mm)
    findings = _findings(filled, depth, spacing_mm)
    kept = np.zeros_like(filled)
    for part, _ in findings:
        kept |= part
    return SinusMeasures(
        cavity=outline,
        opacity=kept,
        cavity_ml=float(outline.sum()) * voxel_ml,
        opacity_ml=float(kept.sum()) * voxel_ml,
        evidence=float(smooth[outline].max(initial=0.0)),
        soft_ml=float(opacity[outline].sum()) * voxel_ml,
        depth_mm=float(depth[kept].max(initial=0.0)),
        findings=tuple(finding for _, finding in findings),
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


def _findings(
    filled: np.ndarray, depth: np.ndarray, spacing_mm: float
) -> list[tuple[np.ndarray, Finding]]:
    labels, _ = ndimage.label(filled, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    least = LEAST_FINDING_ML * 1000.0 / spacing_mm**3
    kept = [number for number in np.argsort(-sizes, kind="stable") if sizes[number] >= least]
    parts = [labels == number + 1 for number in kept]
    return [(part, _describe(part, depth, spacing_mm)) for part in parts]


def _describe(part: np.ndarray, depth: np.ndarray, spacing_mm: float) -> Finding:
    centre = tuple(float(c) for c in ndimage.center_of_mass(part))
    return Finding(
        ml=float(part.sum()) * spacing_mm**3 / 1000.0,
        diameter_mm=_diameter_mm(part, spacing_mm),
        depth_mm=float(depth[part].max()),
        centre=(centre[0], centre[1], centre[2]),
    )


def _diameter_mm(part: np.ndarray, spacing_mm: float) -> float:
    """Greatest distance between two voxels' outer faces, about: centres, and one voxel more."""
    surface = np.argwhere(part & ~ndimage.binary_erosion(part))
    points = surface[:: max(1, len(surface) // MOST_POINTS)]
    apart = float(pdist(points).max()) if len(points) > 1 else 0.0
    return (apart + 1.0) * spacing_mm
