"""Scans, boxes and tables of a site, as `paranasal prepare` reads them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from paranasal_training.prepare.config import PrepareConfig

import ParanasalSSLLib
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, write_placement
from ParanasalSSLLib.sinuses import Side

SAMPLE = Path(ParanasalSSLLib.__file__).parent / "data/sample/simulated_head.nii.gz"


CENTERS = {Side.LEFT: np.array([-24.0, 30.0, -20.0]), Side.RIGHT: np.array([24.0, 30.0, -20.0])}


def save_head(path: Path, seed: int = 0, flipped: bool = False) -> Path:
    """A simulated block of tissue with a bright ball in the left sinus and a dark one in the right.

    Flipped: the same anatomy, stored from left to right.
    """
    shape, affine = (60, 60, 60), np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -88.5
    ras = np.indices(shape).reshape(3, -1).T * 3.0 - 88.5
    data = 500 + 50 * np.random.default_rng(seed).random(len(ras))
    for side, value in ((Side.LEFT, 900), (Side.RIGHT, 50)):
        data[np.linalg.norm(ras - CENTERS[side], axis=1) < 15] += value - 500
    data = data.reshape(shape)
    if flipped:
        data, affine = data[::-1], affine @ np.diag([-1.0, 1, 1, 1])
        affine[0, 3] = 88.5
    image = nib.Nifti1Image(np.float32(data), affine)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_boxes(path: Path, shift_mm: float = 0.0, sides: tuple[Side, ...] = tuple(Side)) -> None:
    path.parent.mkdir(exist_ok=True)
    boxes = {s: SinusBox(s, CENTERS[s] + shift_mm, origin="hand") for s in sides}
    write_placement(Placement(boxes), path)


def save_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def by_hand(site: Path, **options: object) -> PrepareConfig:
    return PrepareConfig(scans=site, boxes=site.parent / "boxes", **options)  # type: ignore[arg-type]
