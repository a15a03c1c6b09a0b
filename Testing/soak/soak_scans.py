"""What the soak's inputs are made of: small scans of known content, and whether a volume is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ParanasalSSLLib.scans.volume import Volume

Rng = np.random.Generator
Expectation = Literal["read", "refuse", "any"]


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: what it is, in words.
        path: what is given to the program.
        expect: "read" and "refuse" where that is certain; "any" must end in one of them.
        truth: what it shows, where it can be said; then a volume that is read must be the same.
        in_doubt: a volume that is read must say that its sides are in doubt.
    """

    kind: str
    path: Path
    expect: Expectation
    truth: Volume | None = None
    in_doubt: bool = False


def head(rng: Rng, least: int = 11) -> Volume:
    """Noise, every voxel its own, on a grid of any of the 48 axis orders, oblique or not."""
    shape = rng.integers(least, 17, 3)
    spacing = 82 / shape + rng.uniform(0, 1.5, 3)
    directions = np.eye(3)[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    if rng.random() < 0.5:
        directions = _rotation(rng) @ directions
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2) + rng.uniform(-20, 20, 3)
    return Volume(rng.integers(0, 4000, shape).astype(np.float32), affine)


def _rotation(rng: Rng) -> np.ndarray:
    """(3, 3) of at most about 25 degrees."""
    skew = np.zeros((3, 3))
    skew[[0, 0, 1], [1, 2, 2]] = rng.uniform(-0.25, 0.25, 3)
    skew -= skew.T
    return np.linalg.solve(np.eye(3) + skew / 2, np.eye(3) - skew / 2)


def turned(volume: Volume, rng: Rng) -> Volume:
    """The same scan with its axes in another order and direction."""
    order = rng.permutation(3)
    data, affine = volume.data.transpose(order), volume.affine[:, [*order, 3]].copy()
    for axis in np.flatnonzero(rng.random(3) < 0.5).tolist():
        data = np.flip(data, axis)
        affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Volume(data, affine)


def difference(found: Volume, truth: Volume) -> str | None:
    """In words, where a volume does not show at each place in RAS mm what the truth shows there.

    Slices that the reader says to have made up are left out.
    """
    index = np.stack(np.indices(found.shape), axis=-1).reshape(-1, 3)
    index = index[~np.isin(index[:, 2], found.provenance.interpolated_slices)]
    mapped = truth.to_index(found.to_world(index))
    nearest = np.rint(mapped).astype(int)
    if np.abs(mapped - nearest).max() > 0.02:
        return "lies elsewhere"
    if (nearest < 0).any() or (nearest >= truth.shape).any():
        return "reaches beyond the scan"
    there = truth.data[tuple(nearest.T)]
    here = found.data[tuple(index.T)]
    if not np.allclose(here, there, rtol=1e-4, atol=1e-4 * float(np.ptp(truth.data))):
        return "shows other values"
    return None


def cut(path: Path, rng: Rng) -> None:
    """End the file anywhere."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(rng.integers(0, len(whole)))])


def damage(path: Path, rng: Rng, first: int = 400) -> None:
    """Change a few bytes, most of them near the start, where headers are."""
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        end = min(first, len(content)) if rng.random() < 0.8 else len(content)
        if end:
            content[int(rng.integers(0, end))] = int(rng.integers(0, 256))
    path.write_bytes(bytes(content))
