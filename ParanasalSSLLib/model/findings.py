"""The parts of what fills a sinus, one by one: how large each is, on which wall, of what form.

All arrays lie in a crop's grid, whose axes run from lateral to medial, from back to front and from
floor to roof for both sides, so that a wall is found in the same way on the left and on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.sinuses import Form, Wall

LEAST_FINDING_ML = 0.1
MOST_POINTS = 400  # of a finding's surface, to measure its diameter
WALLS = (
    Wall.LATERAL,
    Wall.MEDIAL,
    Wall.BACK,
    Wall.FRONT,
    Wall.FLOOR,
    Wall.ROOF,
)  # -x +x -y +y -z +z
EDGE_MM = 1.0  # half of the outermost voxels of a full cavity is bone: they are seldom marked
COMPLETE_FRACTION = 0.9
BAND_RATIO = 0.25  # mean thickness to width of the contact
BAND_DEPTH = 0.7  # of the cavity's greatest depth
BAND_COVER = 0.55  # of the whole wall
LOBE_MM = 1.0


@dataclass(frozen=True)
class Finding:
    """One connected part of the opacity.

    Attributes:
        ml: volume.
        diameter_mm: greatest distance between two of its voxels.
        depth_mm: of its deepest voxel from the cavity's wall.
        wall: that with which it has most of its contact; None where it touches none.
        form: what it looks like, no diagnosis; see `form_of`.
        centre: (3,) mean index in the crop.
    """

    ml: float
    diameter_mm: float
    depth_mm: float
    wall: Wall | None
    form: Form
    centre: tuple[float, float, float]


def find_findings(
    filled: np.ndarray, cavity: np.ndarray, inside: np.ndarray, spacing_mm: float
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """The connected parts of at least `LEAST_FINDING_ML`.

    Args:
        filled, cavity: bool (n, n, n), what is not air, and all inside the bony walls.
        inside: bool (n, n, n), the voxel lies in the scan's image.
        spacing_mm: edge of a voxel.

    Returns:
        bool (n, n, n), all parts together, and the parts, the largest first.
    """
    kept = np.zeros_like(filled)
    if not filled.any():
        return kept, ()
    window = _window_around(cavity)
    filled, cavity, inside = filled[window], cavity[window], inside[window]
    labels, _ = ndimage.label(filled, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    least = LEAST_FINDING_ML * 1000.0 / spacing_mm**3
    order = np.argsort(-sizes, kind="stable")
    parts = [labels == number + 1 for number in order if sizes[number] >= least]
    kept[window] = np.any(parts, axis=0) if parts else False
    depth, faces = wall_depth_mm(cavity, spacing_mm), wall_faces(cavity, inside)
    corner = np.array([axis.start for axis in window])
    return kept, tuple(_describe(part, depth, faces, corner, spacing_mm) for part in parts)


def _window_around(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The block that holds the mask, and a voxel more on every side where there is one."""
    x, y, z = ndimage.find_objects(mask.astype(np.uint8))[0]
    wider = [slice(max(0, axis.start - 1), axis.stop + 1) for axis in (x, y, z)]
    return wider[0], wider[1], wider[2]


def wall_depth_mm(cavity: np.ndarray, spacing_mm: float) -> np.ndarray:
    """float (n, n, n): distance of each voxel of the cavity from its wall; 0 outside."""
    depth = np.zeros(cavity.shape)
    if cavity.any():
        window = _window_around(cavity)
        depth[window] = ndimage.distance_transform_edt(cavity[window]) * spacing_mm
    return depth


def fills(filled: np.ndarray, depth_mm: np.ndarray) -> bool:
    """Whether no air worth the name is left: nine tenths of all that is off the wall are filled.

    What lies within `EDGE_MM` of the wall does not count: of a sinus that is really full the network
    leaves out the outermost voxels, half of which are bone, and they are a fifth of the cavity.

    Args:
        filled: bool (n, n, n).
        depth_mm: of the cavity, see `wall_depth_mm`.
    """
    core = depth_mm > EDGE_MM
    return bool(core.any()) and float(filled[core].mean()) >= COMPLETE_FRACTION


def wall_faces(cavity: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """bool (6, n, n, n): the voxel of the cavity has a wall on that side, in the order of `WALLS`.

    The edges of the crop and of the scan's image are no walls.
    """
    open_ = cavity | ~inside
    return np.stack([cavity & ~_moved(open_, wall, -1, True) for wall in range(6)])


def contact_with(part: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """bool (6, n, n, n): the faces of the wall on which a part lies, or which it misses by a voxel."""
    near = [part | _moved(part, wall, 1, False) for wall in range(6)]
    return faces & np.stack(near)


def wall_of(contact: np.ndarray) -> Wall | None:
    """The wall with most of the contact, by its area as seen along each of the crop's axes."""
    areas = contact.sum(axis=(1, 2, 3))
    return WALLS[int(areas.argmax())] if areas.any() else None


def form_of(part: np.ndarray, faces: np.ndarray, depth_mm: np.ndarray, spacing_mm: float) -> Form:
    """What a finding looks like, by its shape alone.

    complete: it fills the cavity (`fills`). band: it covers more than half of the wall; or it keeps
    to the wall, that is, does not reach the cavity's middle, and its mean thickness, volume over the
    area of contact, is below a quarter of the contact's width, the square root of that area (a
    half-ball on a flat wall has 0.38, a cap a quarter as high as its base is wide 0.15). lobulated:
    more than one lobe (`count_lobes`). dome: the rest, one rounded part, a high level of fluid among
    them.

    Args:
        part: bool (n, n, n).
        faces: of the cavity, see `wall_faces`.
        depth_mm: of the cavity, see `wall_depth_mm`.
        spacing_mm: edge of a voxel.
    """
    if fills(part, depth_mm):
        return Form.COMPLETE
    area = contact_area(contact_with(part, faces))  # in faces of a voxel
    keeps_to_wall = depth_mm[part].max() <= BAND_DEPTH * depth_mm.max()
    thin = part.sum() < BAND_RATIO * area**1.5
    if area > BAND_COVER * contact_area(faces) or (keeps_to_wall and thin):
        return Form.BAND
    return Form.LOBULATED if count_lobes(part, spacing_mm) > 1 else Form.DOME


def contact_area(contact: np.ndarray) -> float:
    """Area of faces (6, n, n, n), in faces of a voxel.

    A voxel with one, two or three faces stands for 1, 1.41 or 1.73 of them: exact for walls along the
    axes and at 45 degrees, where adding up the faces would give 1.41 or 1.73 times too much.
    """
    axes = contact.reshape(3, 2, *contact.shape[1:]).any(axis=1)
    return float(np.sqrt(axes.sum(axis=0)).sum())


def count_lobes(part: np.ndarray, spacing_mm: float) -> int:
    """Parts that a waist sets apart, each `LOBE_MM` thicker in radius than the waist, or more."""
    radius = ndimage.distance_transform_edt(np.pad(part[_window_around(part)], 1)) * spacing_mm
    most = 1
    for waist in np.arange(spacing_mm, radius.max() - LOBE_MM + 0.01, spacing_mm / 2):
        labels, count = ndimage.label(radius > waist)
        largest = ndimage.maximum(radius, labels, np.arange(1, count + 1))
        most = max(most, int((np.asarray(largest) >= waist + LOBE_MM).sum()))
    return most


def _describe(
    part: np.ndarray, depth_mm: np.ndarray, faces: np.ndarray, corner: np.ndarray, spacing_mm: float
) -> Finding:
    """corner: (3,) index in the crop of the first voxel of the arrays."""
    x, y, z = (corner + ndimage.center_of_mass(part)).tolist()
    return Finding(
        ml=float(part.sum()) * spacing_mm**3 / 1000.0,
        diameter_mm=_diameter_mm(part, spacing_mm),
        depth_mm=float(depth_mm[part].max()),
        wall=wall_of(contact_with(part, faces)),
        form=form_of(part, faces, depth_mm, spacing_mm),
        centre=(x, y, z),
    )


def _diameter_mm(part: np.ndarray, spacing_mm: float) -> float:
    """Greatest distance between two voxels' outer faces, about: centres, and one voxel more."""
    surface = np.argwhere(part & ~ndimage.binary_erosion(part))
    points = surface[:: max(1, len(surface) // MOST_POINTS)].astype(np.int16)
    squared = ((points[:, None] - points) ** 2).sum(axis=-1)
    return (float(squared.max()) ** 0.5 + 1.0) * spacing_mm


def _moved(mask: np.ndarray, wall: int, voxels: int, beyond: bool) -> np.ndarray:
    """The mask moved towards a wall (its place in `WALLS`), or away from it where `voxels` is -1."""
    axis, sign = wall // 2, 2 * (wall % 2) - 1
    padded = np.pad(mask, 1, constant_values=beyond)
    return np.roll(padded, sign * voxels, axis)[1:-1, 1:-1, 1:-1]
