"""Find the maxillary sinuses: affine registration with the head template by mutual information.

The search starts from many poses (heads lie on their side, look up or down), aligns the best on a
coarse grid, refines the best different answers on a fine one, and keeps the best. A rival that does
nearly as well somewhere else is evidence against the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.boxes.alignment import (
    Matrix,
    aligned,
    alignment,
    ras_of,
    shrunk,
    side_by_side,
    value_at,
    windowed,
)
from ParanasalSSLLib.boxes.atlas import Atlas, load_atlas
from ParanasalSSLLib.boxes.box import EDGE_MM, SinusBox
from ParanasalSSLLib.boxes.face import FaceFit, FaceSearch
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.quality import Evidence, judge_evidence, judge_place, worst_of
from ParanasalSSLLib.boxes.visible import shown_grid
from ParanasalSSLLib.geometry import angle_deg, apply_affine
from ParanasalSSLLib.scans.itk import to_sitk
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class RegistrationConfig:
    """How the search is done. Angles in degrees, lengths in mm."""

    coarse_mm: float = 8.0
    fine_mm: float = 3.0
    histogram_bins: int = 32
    start_angles_deg: tuple[float, ...] = (-24.0, 24.0)  # about each axis, one at a time
    start_scales: tuple[float, ...] = (1.0, 1.2)  # of the scan's head relative to the template's
    coarse_candidates: int = 4
    coarse_iterations: int = 60
    fine_candidates: int = 2
    fine_iterations: int = 60
    sampling_fraction: float = 0.15
    distinct_mm: float = 12.0  # coarse results further apart than this are different answers
    rival_fraction: float = 0.95  # a fine result with this part of the best metric is a rival
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Registration:
    """The best alignment that the search has found.

    Attributes:
        template_to_scan: (4, 4) affine, RAS mm.
        mutual_information, start_distance_mm: see `Evidence`.
        face: the face's own alignment, where it was looked for and found.
        face_sought: whether it was looked for.
    """

    template_to_scan: np.ndarray
    mutual_information: float
    start_distance_mm: float
    face: FaceFit | None = None
    face_sought: bool = False

    @property
    def face_to_scan(self) -> np.ndarray:
        """(4, 4) affine that puts the sinuses in place, RAS mm."""
        return self.template_to_scan if self.face is None else self.face.template_to_scan


def find_boxes(volume: Volume, config: RegistrationConfig = RegistrationConfig()) -> Placement:
    """Place a box around each maxillary sinus.

    Args:
        volume: a head scan in any orientation.
        config: the search.

    Returns:
        Both boxes and their quality. A registration that is not to be trusted raises nothing: its
        quality says "failed" and why.
    """
    atlas, volume = load_atlas(), _steady(volume)
    found = register(volume, config)
    boxes = boxes_from_affine(found.face_to_scan, atlas)
    evidence = judge_evidence(_evidence(volume, atlas, found))
    return Placement(boxes, worst_of([evidence, judge_place(shown_grid(volume), boxes)]))


def _steady(volume: Volume) -> Volume:
    """The scan in one order of its voxels, its place rounded: another kind of file changes nothing.

    The search may magnify 1e-6 mm, by which two files of a scan differ, to 0.1 mm.
    """
    upright = volume.upright()
    affine = upright.affine.round(4)
    affine[:3, 3] = affine[:3, 3].round(3)
    return Volume(upright.data, affine)


def register(volume: Volume, config: RegistrationConfig = RegistrationConfig()) -> Registration:
    """Align the head template with a scan; see `find_boxes`.

    The face is aligned by itself where it does not seem to lie where the head's alignment has it, and
    where that is in doubt.
    """
    atlas = load_atlas()
    search = _Search(atlas, volume, config)
    results = sorted(side_by_side(search.refine, search.best_starts()), key=lambda r: r[0])
    metric, affine = results[0]
    rivals = [other for value, other in results[1:] if value <= config.rival_fraction * metric]
    apart = max((_distance_mm(affine, rival, atlas) for rival in rivals), default=0.0)
    found = Registration(affine, -metric, apart)
    face = FaceSearch(atlas, search.moving_fine)
    starts = face.starts(affine)
    evidence = _evidence(volume, atlas, found)
    if starts[0].is_head_s and judge_evidence(evidence).verdict == "ok" and not evidence.is_small:
        return found
    return replace(found, face=face.best(starts), face_sought=True)


def _distance_mm(one: np.ndarray, other: np.ndarray, atlas: Atlas) -> float:
    """Largest distance between where two affines (4, 4; template to scan) put a sinus."""
    centroids = np.array([*atlas.centroids_ras_mm.values()])
    apart = apply_affine(one, centroids) - apply_affine(other, centroids)
    return float(np.linalg.norm(apart, axis=1).max())


def boxes_from_affine(template_to_scan: np.ndarray, atlas: Atlas) -> dict[Side, SinusBox]:
    """Boxes at the mapped centroids, turned by the affine's rigid part (polar decomposition)."""
    rotation = rigid_part(template_to_scan)
    return {
        side: SinusBox(side, apply_affine(template_to_scan, c), rotation)
        for side, c in atlas.centroids_ras_mm.items()
    }


def rigid_part(affine: np.ndarray) -> np.ndarray:
    """(3, 3) proper rotation nearest to the linear part of `affine`, (3, 3) or (4, 4)."""
    u, _, vt = np.linalg.svd(affine[:3, :3])
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return u @ vt


class _Search:
    """The registration of one scan. Transforms map template points to scan points, LPS mm."""

    def __init__(self, atlas: Atlas, volume: Volume, config: RegistrationConfig) -> None:
        self.config, self.atlas = config, atlas
        template, scan = to_sitk(atlas.template), to_sitk(windowed(volume))
        self.fixed_coarse = shrunk(template, config.coarse_mm)
        self.fixed_fine = shrunk(template, config.fine_mm)
        self.moving_coarse = shrunk(scan, config.coarse_mm)
        self.moving_fine = shrunk(scan, config.fine_mm)

    def best_starts(self) -> list[sitk.Similarity3DTransform]:
        """Similarity transforms, coarsely aligned from the most promising poses.

        The best comes first, then the best of those that differ from it.
        """
        starts = [
            self._start(angles, scale, by_mass)
            for scale in self.config.start_scales
            for angles in self._start_angles()
            for by_mass in (True, False)
        ]
        values = side_by_side(self._value, starts)
        order = sorted(range(len(starts)), key=lambda i: values[i])
        upright = min((0, 1), key=lambda i: values[i])  # heads are upright far more often than not
        chosen = [upright, *(i for i in order if i != upright)][: self.config.coarse_candidates]
        runs = side_by_side(lambda i: self._run(starts[i], coarse=True), chosen)
        aligned = sorted(runs, key=lambda r: r[0])
        return self._different([transform for _, transform in aligned])

    def _different(
        self, transforms: list[sitk.Similarity3DTransform]
    ) -> list[sitk.Similarity3DTransform]:
        """The first transforms that put the sinuses in different places, then the rest."""
        affines = [ras_of(t) for t in transforms]
        kept: list[int] = []
        for i in range(len(transforms)):
            apart = [_distance_mm(affines[i], affines[j], self.atlas) for j in kept]
            if min(apart, default=np.inf) > self.config.distinct_mm:
                kept.append(i)
        kept += [i for i in range(len(transforms)) if i not in kept]
        return [transforms[i] for i in kept[: self.config.fine_candidates]]

    def refine(self, start: sitk.Similarity3DTransform) -> tuple[float, np.ndarray]:
        """Affine on the fine grid: (metric, lower is better; (4, 4) RAS affine)."""
        import SimpleITK as sitk

        affine = sitk.AffineTransform(3)
        affine.SetCenter(start.GetCenter())
        affine.SetMatrix(start.GetMatrix())
        affine.SetTranslation(start.GetTranslation())
        metric, result = self._run(affine, coarse=False)
        return metric, ras_of(result)

    def _start_angles(self) -> list[tuple[float, float, float]]:
        angles = [(0.0, 0.0, 0.0)]
        for axis in range(3):
            for angle in self.config.start_angles_deg:
                turned = [0.0, 0.0, 0.0]
                turned[axis] = angle
                angles.append((turned[0], turned[1], turned[2]))
        return angles

    def _start(
        self, angles_deg: tuple[float, float, float], scale: float, by_mass: bool
    ) -> sitk.Similarity3DTransform:
        """A start with the images' centres (of mass, or geometric) on one another."""
        import SimpleITK as sitk

        kind = sitk.CenteredTransformInitializerFilter
        mode = kind.MOMENTS if by_mass else kind.GEOMETRY
        euler = sitk.CenteredTransformInitializer(
            self.fixed_coarse, self.moving_coarse, sitk.Euler3DTransform(), mode
        )
        turned = sitk.Euler3DTransform(euler)
        turned.SetRotation(*np.deg2rad(angles_deg).tolist())
        start = sitk.Similarity3DTransform()
        start.SetCenter(turned.GetCenter())
        start.SetMatrix([scale * entry for entry in turned.GetMatrix()])
        start.SetTranslation(turned.GetTranslation())
        return start

    def _registration(self, coarse: bool) -> sitk.ImageRegistrationMethod:
        config = self.config
        if coarse:
            return alignment(config.histogram_bins, 4.0, config.coarse_iterations)
        sampling = config.sampling_fraction, config.seed
        return alignment(config.histogram_bins, 2.0, config.fine_iterations, sampling)

    def _value(self, start: sitk.Transform) -> float:
        return value_at(self._registration(True), start, self.fixed_coarse, self.moving_coarse)

    def _run(self, start: Matrix, coarse: bool) -> tuple[float, Matrix]:
        method = self._registration(coarse)
        fixed = self.fixed_coarse if coarse else self.fixed_fine
        moving = self.moving_coarse if coarse else self.moving_fine
        return aligned(method, start, fixed, moving)


def _evidence(volume: Volume, atlas: Atlas, found: Registration) -> Evidence:
    affine = found.template_to_scan
    rotation = rigid_part(affine)
    stretch = rotation.T @ affine[:3, :3]  # symmetric: scale on the diagonal, shear beside it
    x, y, z = np.diag(stretch).tolist()
    information = 0.0 if found.face is None else found.face.mutual_information
    return Evidence(
        mutual_information=found.mutual_information,
        start_distance_mm=found.start_distance_mm,
        scale=(x, y, z),
        shear=float(abs(stretch - np.diag(np.diag(stretch))).max()),
        rotation_deg=angle_deg(rotation),
        tissue_fraction=tissue_fraction(volume, atlas, found.face_to_scan),
        stretch_ratio=float(np.linalg.cond(affine[:3, :3])),  # largest by smallest singular value
        face_information=information if found.face_sought else None,
        face_shift_mm=_distance_mm(affine, found.face_to_scan, atlas),
    )


def tissue_fraction(volume: Volume, atlas: Atlas, template_to_scan: np.ndarray) -> float:
    """Part (0..1) of the template's tissue around the sinuses that has signal in the scan.

    Removed faces and extracted brains leave background there instead. What lies outside the image
    does not count; 0 where all of it does.
    """
    points = _face_points(atlas)
    index = np.rint(volume.to_index(apply_affine(template_to_scan, points))).astype(int)
    inside = ((index >= 0) & (index < volume.shape)).all(axis=1)
    values = volume.data[tuple(index[inside].T)]
    step = tuple(slice(None, None, max(1, n // 64)) for n in volume.shape)
    background, bright = np.percentile(volume.data[step], [1, 97])
    signal = values > background + 0.12 * (bright - background)
    return float(signal.mean()) if signal.size else 0.0


@cache
def _face_points(atlas: Atlas) -> np.ndarray:
    """(n, 3) RAS mm of template voxels with tissue inside either sinus box."""
    template = atlas.template
    points = template.to_world(np.argwhere(template.data > 90))
    near = [(abs(points - c) < EDGE_MM / 2).all(axis=1) for c in atlas.centroids_ras_mm.values()]
    return points[near[0] | near[1]][::7]
