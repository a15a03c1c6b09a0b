"""Procedural anatomy: a maxillary sinus and its neighbours, painted tissue by tissue.

A healthy sinus is a three-sided pyramid of air, base at the nasal wall, apex towards the zygoma.
Above it orbital fat and globe, behind it fat and pterygoid muscle, medially the nasal cavity with
turbinates and septum, below it palate, alveolar bone and dental roots, in front the cheek.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from paranasal_training.cohort.contrast import Contrast
from paranasal_training.cohort.fields import ellipsoid, smooth_intersection, smooth_noise, soft
from paranasal_training.cohort.geometry import Variant, canonical_points


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A healthy sinus before acquisition.

    `image`: (64, 64, 64) relative signal. `lumen`: (64, 64, 64) share 0..1 of each voxel that is air
    of the sinus. `lesion_signal`: what a lesion would be painted with.
    """

    image: Tensor
    lumen: Tensor
    lesion_signal: float


@dataclass(frozen=True)
class Walls:
    """Positions (mm) of the sinus walls in the canonical frame; see `lumen_distance` for the slopes."""

    medial: float
    roof: float
    floor: float
    anterior: float
    posterior: float
    rounding: float
    taper: float  # how fast the pyramid narrows towards its lateral apex


def draw_walls(rng: np.random.Generator, size: float) -> Walls:
    """Wall positions of a sinus of relative size `size`; a large one has a deep alveolar recess."""
    jitter = np.exp(rng.normal(0, 0.1, 5)) * size
    recess = rng.uniform(0, 4) if size > 1.1 else 0.0
    return Walls(
        medial=10.5 * jitter[0],
        roof=14.0 * jitter[1],
        floor=15.0 * jitter[2] + recess,
        anterior=14.5 * jitter[3],
        posterior=15.0 * jitter[4],
        rounding=rng.uniform(1.5, 3.5),
        taper=rng.uniform(0.8, 1.25),
    )


def lumen_distance(points: Tensor, walls: Walls) -> Tensor:
    """Signed distance (mm, negative inside) to the wall of the sinus pyramid."""
    x, y, z = points
    taper = walls.taper
    faces = [
        x - walls.medial,
        0.95 * (z - 0.30 * taper * x - walls.roof),
        0.86 * (-z - 0.60 * taper * x - walls.floor),
        0.90 * (y - 0.50 * taper * x - walls.anterior),
        behind_wall(points, walls),
    ]
    return smooth_intersection(faces, walls.rounding)


class Canvas:
    """An image that tissues are painted onto, later ones over earlier ones."""

    def __init__(self, background: Tensor) -> None:
        self.image = background.clone()

    def paint(self, occupancy: Tensor, signal: float | Tensor) -> None:
        """Blend `signal` in where `occupancy` (0..1) says so."""
        self.image = torch.lerp(self.image, torch.as_tensor(signal, dtype=torch.float32), occupancy)


def behind_wall(points: Tensor, walls: Walls) -> Tensor:
    """Signed distance (mm) behind the posterior, outer wall of the sinus; negative in front of it."""
    x, y, _ = points
    return 0.93 * (-y - 0.40 * walls.taper * x - walls.posterior)


def paint_procedural(variant: Variant, contrast: Contrast, rng: np.random.Generator) -> Anatomy:
    """Paint one healthy sinus with its neighbours; every random choice comes from `rng`."""
    points = canonical_points(variant, rng)
    walls = draw_walls(rng, variant.size)
    wall_bumps = rng.uniform(0.3, 1.2) * smooth_noise(rng, 9)[0]
    distance = lumen_distance(points, walls) + wall_bumps
    canvas = Canvas(_soft_tissue(points, contrast, rng))
    if variant.fat_pad_mm:
        canvas.paint(_fat_pad(points, walls, variant.fat_pad_mm), contrast.fat)
    _paint_orbit(canvas, points, walls, contrast, rng)
    _paint_lateral_and_below(canvas, points, walls, contrast, rng)
    _paint_nose(canvas, points, walls, contrast, rng)
    canvas.image = canvas.image * (1 + 0.07 * smooth_noise(rng, 20)[0])
    lumen = _paint_sinus(canvas, points, distance, contrast, rng)
    _paint_face_surface(canvas, points, walls, contrast, rng)
    return Anatomy(canvas.image.clamp_min(0), lumen, contrast.lesion)


def _soft_tissue(points: Tensor, contrast: Contrast, rng: np.random.Generator) -> Tensor:
    """Fat and muscle in patches: mostly fat in front (cheek), mostly muscle behind (pterygoids)."""
    texture = smooth_noise(rng, 7)[0] + 0.6 * smooth_noise(rng, 14)[0]
    fat_share = torch.sigmoid(4 * (texture + points[1] / 25 + rng.normal(0, 0.3)))
    fat_behind_wall = soft((points[1] + 20).abs() - rng.uniform(1, 4), 0.8)
    fat_share = torch.maximum(fat_share, fat_behind_wall)
    return contrast.muscle + (contrast.fat - contrast.muscle) * fat_share


def _fat_pad(points: Tensor, walls: Walls, depth_mm: float) -> Tensor:
    """Share 0..1 of fat in the wedge behind the outer wall, which T2 and T1 show bright and sharp."""
    x, _, z = points
    behind = behind_wall(points, walls)
    faces = [(behind - 1 - depth_mm / 2).abs() - depth_mm / 2, x - 2, (z + 2).abs() - 15]
    return soft(smooth_intersection(faces, 1.5))


def _paint_orbit(
    canvas: Canvas, points: Tensor, walls: Walls, contrast: Contrast, rng: np.random.Generator
) -> None:
    """Orbital fat above the roof, the globe in it, the inferior rectus as a band of muscle."""
    x, _, z = points
    height = z - 0.30 * walls.taper * x - walls.roof
    canvas.paint(soft(1.5 - height), contrast.fat)
    globe_center = (rng.normal(-4, 2), rng.normal(9, 3), walls.roof + rng.uniform(14, 19))
    globe = ellipsoid(points, globe_center, (12.0, 12.0, 12.0))
    muscle_center = (rng.normal(-2, 2), rng.normal(-8, 3), walls.roof + rng.uniform(5, 8))
    canvas.paint(soft(ellipsoid(points, muscle_center, (5.0, 14.0, 2.2))), contrast.muscle)
    canvas.paint(soft(globe), contrast.vitreous)
    canvas.paint(soft(globe.abs() - 0.8), contrast.muscle)


def _paint_lateral_and_below(
    canvas: Canvas, points: Tensor, walls: Walls, contrast: Contrast, rng: np.random.Generator
) -> None:
    """Zygoma beside the apex; alveolar bone with dental roots, palate and mouth below the floor."""
    zygoma = ellipsoid(points, (rng.normal(-25, 2), rng.normal(5, 3), rng.normal(0, 3)), (7, 9, 8))
    canvas.paint(soft(zygoma - 1.0), contrast.cortex)
    canvas.paint(soft(zygoma), contrast.marrow)
    x, y, z = points
    bottom = walls.floor + rng.uniform(9, 15)
    depth = -z - walls.floor
    mouth = soft(bottom + z, 0.8)
    canvas.paint(mouth, contrast.air if rng.random() < 0.3 else contrast.muscle * 1.1)
    alveolus = smooth_intersection(
        [1.0 - depth, depth - (bottom - walls.floor), (x - 3).abs() - 9], 2
    )
    canvas.paint(soft(alveolus - 1.0), contrast.cortex)
    canvas.paint(soft(alveolus + 1.0), contrast.marrow)
    palate = smooth_intersection([4 - x, (z + walls.floor + 1.5).abs() - 2.0], 1.5)
    canvas.paint(soft(palate), contrast.cortex + 0.3 * contrast.marrow)
    if rng.random() < 0.85:
        for y_root in np.arange(rng.uniform(-16, -10), 18, rng.uniform(6, 9)):
            axis = torch.hypot(x - rng.normal(3, 1), y - float(y_root)) - rng.uniform(1.6, 2.8)
            root = torch.maximum(axis, z + walls.floor + rng.uniform(0, 4))
            canvas.paint(soft(root), contrast.cortex)


def _paint_nose(
    canvas: Canvas, points: Tensor, walls: Walls, contrast: Contrast, rng: np.random.Generator
) -> None:
    """Nasal cavity: dark air, bright turbinates, septum and ethmoid cells, both sides of the septum."""
    x, y, z = points
    inside = x - walls.medial
    floor, height = -walls.floor + rng.uniform(-1, 3), walls.roof + rng.uniform(0, 6)
    cavity = smooth_intersection([1.2 - inside, floor - z, z - height, y - 26, -y - 30], 2.0)
    canvas.paint(soft(cavity - 1.2), contrast.mucosa)
    canvas.paint(soft(cavity), contrast.air)
    septum_x = rng.normal(14, 1.5)
    bend = rng.uniform(0, 1.5) * smooth_noise(rng, 5)[0]
    swelling = float(np.exp(rng.normal(0, 0.2)))  # the nasal cycle
    for mirror in (1, -1):
        mirrored = points.clone()
        mirrored[0] = septum_x + mirror * (inside - septum_x)
        lower = (rng.normal(6, 1), rng.normal(0, 2), floor + rng.uniform(7, 10))
        middle = (rng.normal(6, 1), rng.normal(-3, 2), floor + rng.uniform(19, 23))
        for center, radii in ((lower, (4.3, 20.0, 6.0)), (middle, (3.4, 16.0, 5.5))):
            scaled = tuple(r * swelling for r in radii)
            turbinate = ellipsoid(mirrored, center, scaled) + 0.8 * bend
            canvas.paint(soft(torch.maximum(turbinate, cavity)), contrast.mucosa)
    septum = (inside - septum_x + 2 * bend).abs() - rng.uniform(1.0, 2.5)
    canvas.paint(soft(torch.maximum(septum, cavity - 1)), 0.8 * contrast.mucosa)
    cells = smooth_noise(rng, 12)[0].abs() - rng.uniform(0.15, 0.35)
    ethmoid = torch.maximum(height - z - 2, 1.2 - inside)
    canvas.paint(soft(ethmoid), contrast.mucosa * soft(cells, 0.1) + contrast.air)


def _paint_sinus(
    canvas: Canvas, points: Tensor, distance: Tensor, contrast: Contrast, rng: np.random.Generator
) -> Tensor:
    """Bony wall, thin mucosa, air and sometimes a septum; returns the lumen's occupancy."""
    wall_mm = rng.uniform(0.5, 1.8) + 0.4 * smooth_noise(rng, 6)[0]
    canvas.paint(soft(distance - wall_mm), contrast.cortex)
    lining_mm = rng.uniform(0.0, 1.0) ** 2 * 1.3  # a lining this thin is healthy
    canvas.paint(soft(distance), contrast.mucosa if lining_mm > 0.15 else contrast.cortex)
    lumen = soft(distance + lining_mm)
    if rng.random() < 0.15:
        normal = rng.normal(0, [0.3, 1.0, 0.3])
        normal = normal / np.linalg.norm(normal)
        plane = torch.einsum("a,aijk->ijk", torch.from_numpy(normal.astype(np.float32)), points)
        height = distance + rng.uniform(4, 14)  # most septa end inside the lumen
        septum = torch.maximum((plane - rng.uniform(-8, 8)).abs() - 0.6, -height)
        lumen = lumen * (1 - soft(septum))
        canvas.paint(soft(torch.maximum(septum, distance)), 0.5 * contrast.mucosa)
    canvas.paint(lumen, contrast.air)
    return lumen


def _paint_face_surface(
    canvas: Canvas, points: Tensor, walls: Walls, contrast: Contrast, rng: np.random.Generator
) -> None:
    """Skin and the air before the face, where the cube reaches that far."""
    x, y, _ = points
    depth = rng.uniform(10, 22)
    surface = 0.93 * y - 0.37 * x - (walls.anterior + depth) + 1.5 * smooth_noise(rng, 5)[0]
    canvas.paint(soft(-surface - 2.0), contrast.skin)
    canvas.paint(soft(-surface), contrast.air)
