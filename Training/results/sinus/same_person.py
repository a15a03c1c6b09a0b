"""Whether two of the site's heads are one person: `python same_person.py SITE` makes same_person.csv.

Every pair of T1s is aligned rigidly; then their fine detail (folds, vessels) is correlated within the
head. Two persons' agree little; the same one's agree whatever the day and the position.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

HERE = Path(__file__).parent
SPACING_MM = 2.5


def read(path: Path) -> sitk.Image:
    """A head, smoothed, in voxels of 2.5 mm."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path), sitk.sitkFloat32), "LPS")
    image = sitk.SmoothingRecursiveGaussian(image, 1.2)
    size = [
        round(n * mm / SPACING_MM)
        for n, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    grid = (image.GetOrigin(), [SPACING_MM] * 3, image.GetDirection())
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, *grid, 0)


def aligned(fixed: sitk.Image, moving: sitk.Image) -> np.ndarray:
    """The moving head in the fixed one's grid; 0 outside."""
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsCorrelation()
    search.SetMetricSamplingStrategy(search.RANDOM)
    search.SetMetricSamplingPercentage(0.2, 1)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(2.0, 0.005, 60)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel([2, 1])
    search.SetSmoothingSigmasPerLevel([1, 0])
    search.SetInitialTransform(start, True)
    search.Execute(fixed, moving)
    return sitk.GetArrayFromImage(sitk.Resample(moving, fixed, start, sitk.sitkLinear, 0.0))


def agreement(fixed: sitk.Image, moving: sitk.Image) -> float:
    """Correlation of the fine detail of two heads, -1..1."""
    one, other = sitk.GetArrayFromImage(fixed), aligned(fixed, moving)
    inside = (one > np.percentile(one, 60)) & (other > 0)
    details = [(image - gaussian_filter(image, 2))[inside] for image in (one, other)]
    return float(np.corrcoef(*details)[0, 1])


def main(site: Path) -> None:
    """Write a line for each pair, the most alike first."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    heads = {p.name[:6]: read(p) for p in sorted(site.glob("sub-*/anat/*_T1w.nii.gz"))}
    rows = [
        {"one": a, "other": b, "agreement": agreement(heads[a], heads[b])}
        for a, b in tqdm(list(combinations(heads, 2)))
    ]
    table = pd.DataFrame(rows).sort_values("agreement", ascending=False).round(3)
    table.to_csv(HERE / "same_person.csv", index=False)
    print(table.head(8).to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
