"""Make `data/atlas/` again: `python -m paranasal_training.release.build_atlas`.

Needs `pip install pydeface --no-deps`. The mean T1 head of many subjects with complete faces, which
pydeface (MIT) ships, is resampled to 2 mm along the RAS axes and stored as bytes.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.atlas import CENTROIDS, TEMPLATE
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.geometry import Grid

SPACING_MM = 2.0
BRIGHTEST = 540.0  # the mean image's 99.9th percentile becomes 255
# Air centres over 38 open scans of about 30 heads (FLAIR, T1, T2, PD), each segmentation seen:
# mean and standard deviation in the mean image's RAS mm.
SINUSES = {
    "right": {"center_ras_mm": [20.1, 59.5, -58.3], "spread_mm": [2.2, 3.2, 3.9]},
    "left": {"center_ras_mm": [-23.5, 62.1, -56.7], "spread_mm": [2.7, 4.2, 4.6]},
}


def resampled(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The image on a 2 mm grid along the RAS axes that covers the whole of it, as uint8."""
    i, j, k = image.shape[:3]
    source = Grid((i, j, k), image.affine)
    low, high = source.corners().min(axis=0), source.corners().max(axis=0)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = low
    i, j, k = (np.ceil((high - low) / SPACING_MM).astype(int) + 1).tolist()
    grid = Grid((i, j, k), affine)
    smooth = ndimage.gaussian_filter(np.asarray(image.dataobj, np.float32), 0.6)
    to_source = grid.index_to(source)
    data = ndimage.affine_transform(
        smooth, to_source[:3, :3], to_source[:3, 3], output_shape=grid.shape, order=1
    )
    scaled = np.clip(data / BRIGHTEST * 255, 0, 255).round().astype(np.uint8)
    return nib.Nifti1Image(scaled, affine)


def main() -> None:
    """Write the template and the centroids."""
    package = importlib.util.find_spec("pydeface")
    if package is None or package.origin is None:
        raise SystemExit(
            f"pydeface is not installed: `{sys.executable} -m pip install pydeface --no-deps`"
        )
    source = nib.load(Path(package.origin).parent / "data" / "mean_reg2mean.nii.gz")
    assert isinstance(source, nib.Nifti1Image)
    with write_whole(TEMPLATE) as temporary:
        nib.save(resampled(source), temporary)
    write_json(CENTROIDS, SINUSES)
    print(f"Wrote {TEMPLATE} and {CENTROIDS}.")


if __name__ == "__main__":
    main()
