"""Between the two resolutions: all crops are 64^3 at 1 mm, some networks look at 32^3 at 2 mm."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

CROP_VOXELS = 64  # edge of the crops that go in and of the maps that come out


def at_voxels(maps: Tensor, voxels: int) -> Tensor:
    """Crops or maps of the same cube with larger or smaller voxels.

    Smaller arrays hold the means of the voxels that each of theirs covers; larger ones are
    interpolated (trilinear). Either way a voxel stays where it is in mm.

    Args:
        maps: float (N, C, E, E, E).
        voxels: the edge that is wanted, E, a part or a multiple of it.

    Returns:
        (N, C, voxels, voxels, voxels); `maps` itself where that is its shape.

    Raises:
        ValueError: no cube, or of another edge (an encoder would take it without a word).
    """
    edge = maps.shape[-1]
    if (
        maps.ndim != 5
        or tuple(maps.shape[2:]) != (edge,) * 3
        or max(edge, voxels) % min(edge, voxels)
    ):
        raise ValueError(f"{tuple(maps.shape)} cannot become (N, C, {voxels}, {voxels}, {voxels})")
    if edge > voxels:
        return F.avg_pool3d(maps, edge // voxels)
    if edge < voxels:
        return F.interpolate(maps, size=(voxels,) * 3, mode="trilinear", align_corners=False)
    return maps
