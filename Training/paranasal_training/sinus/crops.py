"""A training sample: both sinuses of a real head, painted as acquired, cut as `cut_crop` cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from paranasal_training.sinus.healthy import draw_surround
from paranasal_training.sinus.looks import (
    NO_LOOK,
    SIZE,
    HeadPose,
    Look,
    Pose,
    crop_mm,
    draw_head_pose,
    draw_look,
    draw_pose,
    draw_table,
    merge_parts,
    only_placed,
    rescan_grid,
    shaded,
    slice_gains,
    truncated,
    with_noise,
)
from paranasal_training.sinus.painting import Painting, draw_kind, paint
from paranasal_training.sinus.references import BLOCK, Reference
from paranasal_training.sinus.scanning import Canvas, identity_table, map_points, sample
from ParanasalSSLLib.crop import scale_intensities

PAINTED = 0.75  # share of the samples with disease
OTHER_PAINTED = 0.3
PLAIN = 0.25  # of the clear ones: contrast as it is, no look-alikes
SHARE_CRYPTS = 0.15  # of all others


@dataclass(frozen=True, eq=False)
class Sample:
    """One crop and its truth.

    Attributes:
        image: float32 (2, 64, 64, 64) in 0..1; the side, and the other side mirrored alike.
        cavity: float32 (64, 64, 64), share of each voxel inside the walls.
        opacity: float32 (64, 64, 64), share of each voxel that is diseased.
        valid: bool (64, 64, 64), inside the scan's image.
        facts: what stands in the store's table.
    """

    image: np.ndarray
    cavity: np.ndarray
    opacity: np.ndarray
    valid: np.ndarray
    facts: dict[str, object]


class Heads:
    """All references, with the other side of each."""

    def __init__(self, references: Sequence[Reference]) -> None:
        self.canvases = [Canvas(r) for r in references]
        by_side = {(c.reference.scan, c.reference.side): c for c in self.canvases}
        self._other = {}
        for (scan, side), canvas in by_side.items():
            others = [c for (s, d), c in by_side.items() if s == scan and d != side]
            self._other[id(canvas)] = others[0] if others else None
        self.clear = [c for c in self.canvases if c.reference.clear]

    def other(self, canvas: Canvas) -> Canvas | None:
        """The other side of the same scan."""
        return self._other[id(canvas)]

    def draw(self, rng: np.random.Generator) -> Canvas:
        """A clear side: first a person, then one of the person's scans and sides."""
        groups = sorted({c.reference.group for c in self.clear})
        group = groups[rng.integers(len(groups))]
        of_group = [c for c in self.clear if c.reference.group == group]
        return of_group[rng.integers(len(of_group))]


def draw_sample(heads: Heads, rng: np.random.Generator) -> Sample:
    """One training sample from `rng` alone."""
    canvas = heads.draw(rng)
    reference = canvas.reference
    kind = draw_kind(rng) if rng.random() < PAINTED else "clear"
    plain = kind == "clear" and rng.random() < PLAIN
    table, contrast = (identity_table(), "as is") if plain else draw_table(reference.air, rng)
    crypts = not plain and rng.random() < SHARE_CRYPTS  # a child has them on both sides
    tissue = canvas.tissue(table)
    painting = paint(canvas.cavity, tissue, kind, rng, healthy=not plain, crypts=crypts)
    head = draw_head_pose(rng)
    look = draw_look(max(reference.spacing_mm), rng)
    if painting.kind != "clear":  # what is painted can be told from the air
        look = replace(look, noise=min(look.noise, 0.8 * (painting.level - reference.air)))
    pose = draw_pose(head, False, rng)
    at = pose.crop_to_cavity()
    image, valid = _scan(canvas, painting, table, pose, at, look, rng)
    beside, other_kind = _beside(heads.other(canvas), table, head, look, crypts, rng)
    cavity, opacity = _truth(canvas, painting, at)
    facts = {
        **_facts(reference, painting, look), "contrast": contrast, "other_kind": other_kind,
        "opacity_ml": _ml(opacity * valid), "cavity_ml": _ml(cavity * valid),
        "shift_mm": round(float(np.linalg.norm(pose.shift_mm)), 1),
    }  # fmt: skip
    return Sample(np.stack([image, beside]), cavity, opacity, valid, facts)


def side_as_it_is(heads: Heads, number: int, rng: np.random.Generator) -> Sample:
    """A clear side as it was scanned, in a box that lies otherwise each time.

    Args:
        heads: where it comes from.
        number: sides take turns.
        rng: source of the box's position.
    """
    canvas = heads.clear[number % len(heads.clear)]
    same, head = identity_table(), draw_head_pose(rng)
    nothing = paint(canvas.cavity, canvas.tissue(same), "clear", rng, healthy=False)
    images = []
    for side, mirrored in ((canvas, False), (heads.other(canvas), True)):
        pose = only_placed(draw_pose(head, mirrored, rng), head)
        if side is None:
            images.append(np.zeros((SIZE, SIZE, SIZE), np.float32))
            continue
        at = pose.crop_to_cavity()
        image, inside = _scan(side, None, same, pose, at, NO_LOOK, rng, altered=False)
        images.append(image)
        if not mirrored:
            valid, (cavity, opacity) = inside, _truth(canvas, nothing, at)
            shift_mm = round(float(np.linalg.norm(pose.shift_mm)), 1)
    facts = {
        **_facts(canvas.reference, nothing, NO_LOOK), "contrast": "as is", "other_kind": "as is",
        "opacity_ml": 0.0, "cavity_ml": _ml(cavity * valid), "shift_mm": shift_mm,
    }  # fmt: skip
    return Sample(np.stack(images), cavity, opacity, valid, facts)


def _ml(share: np.ndarray) -> float:
    return round(float(share.sum()) / 1000, 3)


def _facts(reference: Reference, painting: Painting, look: Look) -> dict[str, object]:
    """What the store's table says of the scan, what was painted and how it was scanned."""
    return {
        "group": reference.group, "scan": reference.scan, "side": str(reference.side),
        "modality": reference.modality, "kind": painting.kind,
        "signal": round(painting.level, 4), "air": round(reference.air, 4),
        "slice_mm": round(look.rescan.slice_mm or _thickness(reference), 2),
        "plane": "ijk"[look.rescan.axis] if look.rescan.slice_mm else "own",
        "nearest": int(look.rescan.nearest), "noise": round(look.noise, 4),
        "cut": int(look.cut_axis >= 0),
    }  # fmt: skip


def _thickness(reference: Reference) -> float:
    """Thickness of a scan's slices, of copied ones as acquired."""
    copies = [len(s) / len(np.unique(s)) for s in reference.slices]
    return float(max(d * c for d, c in zip(reference.spacing_mm, copies, strict=True)))


def _beside(
    other: Canvas | None,
    table: np.ndarray,
    head: HeadPose,
    look: Look,
    crypts: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, str]:
    """The other side's image in the same scan, and what was painted into it."""
    if other is None:
        return np.zeros((SIZE, SIZE, SIZE), np.float32), "none"
    painting, kind = None, "as is"
    if other.reference.clear:
        kind = draw_kind(rng) if rng.random() < OTHER_PAINTED else "clear"
        painting = paint(other.cavity, other.tissue(table), kind, rng, crypts=crypts)
    pose = draw_pose(head, True, rng)
    return _scan(other, painting, table, pose, pose.crop_to_cavity(), look, rng)[0], kind


def _scan(
    canvas: Canvas,
    painting: Painting | None,
    table: np.ndarray,
    pose: Pose,
    at: np.ndarray,
    look: Look,
    rng: np.random.Generator,
    altered: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Image in 0..1 and valid mask of one side, (64, 64, 64); `at`: the crop in cavity mm.

    altered: what lies outside a clear side may be made brighter.
    """
    tissue = canvas.tissue(table)
    surround = draw_surround(tissue, rng) if altered and canvas.reference.clear else None
    native = canvas.painted(painting, table, surround)
    index = map_points(canvas.reference.box_to_native, at)
    valid = _valid(index, canvas.reference, look)
    if look.rescan.slice_mm:
        image = _rescanned(canvas.reference, native, pose, look, rng)
    else:
        image = with_noise(sample(native[None], index)[0], look.noise, rng)
    image, _ = scale_intensities(shaded(image, look, rng), inside=valid)
    return image, valid


def _valid(index: np.ndarray, reference: Reference, look: Look) -> np.ndarray:
    """Inside the image, and above (or behind) where this acquisition ends."""
    shape = (3, 1, 1, 1)
    low, high = (b.reshape(shape) for b in reference.image_bounds)
    valid = ((index >= low - 0.5) & (index <= high + 0.5)).all(axis=0)
    if look.cut_axis == 2:
        valid[:, :, : round(look.cut_mm)] = False
    elif look.cut_axis == 1:
        valid[:, SIZE - round(look.cut_mm) :] = False
    return valid


def _rescanned(
    reference: Reference, native: np.ndarray, pose: Pose, look: Look, rng: np.random.Generator
) -> np.ndarray:
    """Another acquisition's slices, resampled to the crop."""
    rescan = look.rescan
    grid = rescan_grid(rescan)
    index = map_points(reference.box_to_native, pose.to_cavity(grid.mm))
    slices = merge_parts(sample(native[None], index)[0], grid, rescan.axis)
    if rescan.pixel_mm > 1.5:
        in_plane = [0.0 if axis == rescan.axis else 0.4 for axis in range(3)]
        slices = ndimage.gaussian_filter(slices, in_plane)
    if rescan.ringing < 1:
        slices = truncated(slices, rescan.ringing, (rescan.axis + 1) % 3)
    slices = with_noise(slices * slice_gains(slices.shape, rescan.axis, rng), look.noise, rng)
    at = map_points(grid.from_crop, crop_mm())
    if rescan.nearest:
        at[rescan.axis] = np.rint(at[rescan.axis])
    return sample(slices[None], at)[0]


def _truth(canvas: Canvas, painting: Painting, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cavity and opacity in the crop's grid, whose voxels lie at `at` (3, 64, 64, 64), mm."""
    start = np.array([s.start for s in canvas.cavity.window], np.float32).reshape(3, 1, 1, 1)
    index = at + np.float32((BLOCK - 1) / 2) - start
    fields = np.stack([painting.cavity, painting.opacity]).astype(np.float32)
    cavity, opacity = sample(fields, index)
    inside = cavity.clip(0, 1)
    return inside, np.minimum(opacity, inside)
