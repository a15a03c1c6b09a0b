"""Alignment of two images by mutual information, with SimpleITK.

Each search has one thread, and as many run side by side as SimpleITK may use: an iteration takes two
to four milliseconds, too little to be divided among threads, and so its sums never vary with their
number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ParanasalSSLLib.geometry import transform_lps_to_ras
from ParanasalSSLLib.scans.volume import Volume, window_width

if TYPE_CHECKING:
    import SimpleITK as sitk

Matrix = TypeVar("Matrix", "sitk.Similarity3DTransform", "sitk.AffineTransform")
Start = TypeVar("Start")
End = TypeVar("End")


def side_by_side(work: Callable[[Start], End], starts: Iterable[Start]) -> list[End]:
    """The work on each, in threads: SimpleITK leaves Python's lock free while it computes."""
    import SimpleITK as sitk

    with ThreadPoolExecutor(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()) as pool:
        return list(pool.map(work, starts))


def windowed(volume: Volume) -> Volume:
    """Intensities clipped at percentiles 1 and 98 and compressed (power 0.6), for even histograms.

    Without the compression, dark scans with a few bright vessels or fat align wrongly.
    """
    step = tuple(slice(None, None, max(1, n // 64)) for n in volume.shape)
    low, high = np.percentile(volume.data[step], [1, 98])
    with np.errstate(over="ignore"):  # beyond the window
        scaled = volume.data - np.float32(low)  # one array in memory, and in float32
        scaled /= np.float32(window_width(low, high))
    np.clip(scaled, 0, 1, out=scaled)
    np.power(scaled, np.float32(0.6), out=scaled)
    scaled *= np.float32(255)
    return Volume(scaled, volume.affine, volume.provenance)


def shrunk(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Averaged to about `spacing_mm`; axes with thicker slices stay as they are."""
    import SimpleITK as sitk

    factors = [
        max(1, min(round(spacing_mm / s), n // 4))
        for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    return sitk.BinShrink(image, factors)


def alignment(
    bins: int, step_mm: float, iterations: int, sampling: tuple[float, int] | None = None
) -> sitk.ImageRegistrationMethod:
    """A search by Mattes mutual information; sampling: fraction of the voxels, and the seed."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(bins)
    if sampling is not None:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(*sampling)
    method.SetInterpolator(sitk.sitkLinear)
    # The slow relaxation matters: with the usual 0.5 the search stops short of the optimum.
    method.SetOptimizerAsRegularStepGradientDescent(
        step_mm, 0.02, iterations, relaxationFactor=0.8, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def value_at(
    method: sitk.ImageRegistrationMethod,
    start: sitk.Transform,
    fixed: sitk.Image,
    moving: sitk.Image,
) -> float:
    """The metric, lower is better, where a search would start."""
    method.MetricUseMovingImageGradientFilterOff()  # a value needs no gradients: most of its time
    method.SetInitialTransform(start)
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # the images do not overlap
        return 0.0


def aligned(
    method: sitk.ImageRegistrationMethod, start: Matrix, fixed: sitk.Image, moving: sitk.Image
) -> tuple[float, Matrix]:
    """The metric, lower is better, and where a search ends; `start` stays as it is."""
    transform = type(start)(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # all samples left the image: keep the start, with the worst metric
        return 0.0, start
    return float(method.GetMetricValue()), transform


def ras_of(transform: sitk.Similarity3DTransform | sitk.AffineTransform) -> np.ndarray:
    """(4, 4) RAS affine of a SimpleITK matrix transform (LPS)."""
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    center = np.array(transform.GetCenter())
    lps = np.eye(4)
    lps[:3, :3] = matrix
    lps[:3, 3] = np.array(transform.GetTranslation()) + center - matrix @ center
    return transform_lps_to_ras(lps)


def sitk_of(affine: np.ndarray, center_ras_mm: np.ndarray) -> sitk.AffineTransform:
    """The way back: a SimpleITK transform (LPS) that turns about a point of the fixed image."""
    import SimpleITK as sitk

    lps = transform_lps_to_ras(affine)
    center = np.array(center_ras_mm) * [-1, -1, 1]
    transform = sitk.AffineTransform(3)
    transform.SetCenter(center.tolist())
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation((lps[:3, :3] @ center + lps[:3, 3] - center).tolist())
    return transform
