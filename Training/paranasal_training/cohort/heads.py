"""Whole simulated heads: the template's head, reshaped, with two procedural sinuses painted in.

They serve as sample data and for trying the whole path; cohorts of crops are made by `simulate`.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from paranasal_training.cohort.anatomy import paint_procedural
from paranasal_training.cohort.config import GeometryRange, HeadConfig
from paranasal_training.cohort.contrast import Contrast
from paranasal_training.cohort.fields import rotation_matrix
from paranasal_training.cohort.geometry import draw_variant
from paranasal_training.cohort.lesions import grow_lesion, paint_lesion
from ParanasalSSLLib.boxes.atlas import Atlas, load_atlas
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.sinuses import Kind, Side

# The template is a T1-like mean; tissues painted into it take its brightness (fat = 1).
CONTRAST = Contrast(0.03, 0.08, 0.50, 0.62, 0.36, 0.52, 0.20, 0.52, 0.62)
FEATHER_MM = 7.0


def simulate_head(config: HeadConfig, output: Path) -> Path:
    """Make a head and write it as NIfTI (uint8, oblique affine).

    Raises:
        BadConfig: an unknown kind of lesion.
    """
    rng = np.random.default_rng(config.seed)
    atlas = load_atlas()
    grid, points = _template_points(config, atlas, rng)
    index = atlas.template.to_index(points.T).T
    image = ndimage.map_coordinates(atlas.template.data / 255, index, order=1)
    for side, name in ((Side.LEFT, config.left), (Side.RIGHT, config.right)):
        block = _sinus_block(_kind(name), config, rng)
        image = _blend(image, block, points, side, atlas)
    bias = ndimage.zoom(rng.normal(0, 0.12, (4, 4, 4)), np.array(grid.shape) / 4, order=3)
    noise = config.noise * rng.standard_normal((2, *grid.shape))
    scanned = np.hypot(image.reshape(grid.shape) * np.exp(bias) + noise[0], noise[1])
    data = np.clip(scanned / 1.2 * 255, 0, 255).round().astype(np.uint8)
    header = nib.Nifti1Image(data, grid.affine)
    header.header["descrip"] = b"Simulated head, ParanasalSSL"
    header.set_qform(grid.affine, 1)
    header.set_sform(grid.affine, 1)
    with write_whole(output) as temporary:
        nib.save(header, temporary)
    return Path(output)


def _kind(name: str) -> Kind:
    try:
        return Kind[name.upper()]
    except KeyError:
        kinds = ", ".join(kind.name.lower() for kind in Kind)
        raise BadConfig(f"There is no lesion called {name!r}; choose one of {kinds}.") from None


def _template_points(
    config: HeadConfig, atlas: Atlas, rng: np.random.Generator
) -> tuple[Grid, np.ndarray]:
    """The head's grid, and where each of its voxels lies in the template (3, n), mm."""
    template = atlas.template
    extent = np.array(template.shape) * template.spacing_mm
    i, j, k = np.ceil(extent / config.spacing_mm).astype(int).tolist()
    shape = (i, j, k)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).reshape(3, -1)
    centered = (index - (np.array(shape)[:, None] - 1) / 2) * config.spacing_mm
    scale = np.exp(rng.normal(0, 0.03, 3))[:, None]
    knots = rng.normal(0, 2.0, (3, 5, 5, 5))
    warp = np.stack([ndimage.zoom(k, np.array(shape) / 5, order=3).ravel() for k in knots])
    points = centered / scale + warp + template.center_ras_mm[:, None]
    # The head lies a little obliquely in the scanner.
    turn = rotation_matrix(rng.normal(0, 5, 3)).numpy().astype(float)
    return Grid.around(rng.normal(0, 5, 3), turn * config.spacing_mm, shape), points


def _sinus_block(kind: Kind, config: HeadConfig, rng: np.random.Generator) -> np.ndarray:
    """A painted sinus (64, 64, 64) in the sinus frame, not displaced."""
    still = GeometryRange(shift_sd_mm=(0, 0, 0), rotation_sd_deg=2, hypoplastic_fraction=0)
    anatomy = paint_procedural(draw_variant(rng, still), CONTRAST, rng)
    image, lumen = anatomy.image.numpy(), anatomy.lumen.numpy() > 0.5
    if kind != Kind.NORMAL:
        ml = 0.95 * lumen.sum() / 1000 if kind == Kind.FULL else config.lesion_ml
        lesion = grow_lesion(lumen, kind, ml, rng)
        image = paint_lesion(image, lesion, CONTRAST.lesion, rng)
    return np.ascontiguousarray(image, np.float32)


def _blend(
    image: np.ndarray, block: np.ndarray, points: np.ndarray, side: Side, atlas: Atlas
) -> np.ndarray:
    """Blend a sinus block into the head: fully in its middle, fading out towards its faces."""
    mirror = -1.0 if side == Side.RIGHT else 1.0
    local = points - atlas.centroids_ras_mm[side][:, None]
    local[0] *= mirror
    half = (block.shape[0] - 1) / 2
    depth = np.minimum(half - 1 - abs(local).max(axis=0), _to_midline(local, atlas))
    weight = np.clip(depth / FEATHER_MM, 0, 1)
    near = weight > 0
    values = ndimage.map_coordinates(block, local[:, near] + half, order=1, mode="nearest")
    blended = image.copy()
    blended[near] += weight[near] * (values - image[near])
    # The face's surface is the template's: nothing is painted into the air before it.
    outside = image < 0.04
    blended[outside & (local[1] > 18)] = image[outside & (local[1] > 18)]
    return blended


def _to_midline(local: np.ndarray, atlas: Atlas) -> np.ndarray:
    """Distance (mm) on the medial side to the plane between both sinuses, where the blocks meet."""
    centers = atlas.centroids_ras_mm
    half_way = abs(centers[Side.LEFT][0] - centers[Side.RIGHT][0]) / 2
    return half_way + FEATHER_MM / 2 - local[0]
