"""Settings of splits, augmentation and files of residuals. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class ViewConfig:
    """Changes of brightness that two views of one crop differ in, for methods that compare views.

    Without them the histogram of grey values alone tells whose sinus it is.
    """

    log_gamma: float = 0.5
    """Largest logarithm of the exponent of brightness, either way, 0 or more."""
    bias: float = 0.3
    """Standard deviation of the logarithm of a smooth gain over the cube, 0 or more."""
    softness: float = 0.7
    """Largest part of each voxel that its neighbourhood of 3^3 takes, 0 to 1."""
    log_contrast: float = 0.3
    """Largest logarithm of the factor on differences from the crop's mean, either way, 0 or more."""

    def __post_init__(self) -> None:
        if min(self.log_gamma, self.bias, self.log_contrast) < 0 or not 0 <= self.softness <= 1:
            raise BadConfig(
                "views: log_gamma, bias and log_contrast are 0 or more, softness is between 0 and 1."
            )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes; each of the three kinds (affine, flips, noise) happens with `probability`.

    Defaults are the paper code's, but for flips: after the right side is mirrored, all sinuses look
    the same way, and the paper's flips along all axes make heads that stand on theirs.
    """

    probability: float = 0.5
    """Probability of each kind of change for each crop, 0 to 1."""
    scale: tuple[float, float] = (0.8, 1.2)
    """Lowest and highest factor of size, above 0; the same along all axes."""
    rotation_deg: float = 10.0
    """Largest rotation about each axis in degrees, either way; 0 or more."""
    translation_mm: float = 10.0
    """Largest shift along each axis in mm, either way; 0 or more."""
    flip_axes: tuple[int, ...] = ()
    """Axes that may be flipped, of 0 (lateral-medial), 1 (front-back) and 2 (up-down)."""
    noise: float = 0.25
    """Largest standard deviation of the Gaussian noise, 0 or more; crops are 0..1."""
    views: ViewConfig = field(default_factory=ViewConfig)
    """What views differ in besides."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise BadConfig(f"augment.probability is between 0 and 1, not {self.probability}.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise BadConfig(f"augment.scale is (low, high) with 0 < low <= high, not {self.scale}.")
        if min(self.rotation_deg, self.translation_mm, self.noise) < 0:
            raise BadConfig("augment: rotation_deg, translation_mm and noise are 0 or more.")
        if not set(self.flip_axes) <= {0, 1, 2}:
            raise BadConfig(f"augment.flip_axes holds only 0, 1 and 2, not {self.flip_axes}.")


@dataclass(frozen=True)
class CoarseNoiseConfig:
    """Smooth random shapes of one grey value, painted over the autoencoder's input."""

    probability: float = 0.0
    """Probability that a crop is painted over, 0 (the paper's autoencoder) to 1."""
    knots: tuple[int, int] = (3, 8)
    """Fewest and most random values along the cube's edge, 2 or more; few make large shapes."""
    level: tuple[float, float] = (0.4, 1.6)
    """Lowest and highest level above which the random field is painted, in its standard deviations;
    high levels make few shapes.
    """
    edge: float = 0.08
    """Softness of the shapes' borders in standard deviations of the field, above 0."""
    bright: tuple[float, float] = (0.25, 1.0)
    """Darkest and brightest grey of most shapes, 0 to 1."""
    dark: tuple[float, float] = (0.0, 0.2)
    """Darkest and brightest grey of the dark shapes, 0 to 1."""
    dark_fraction: float = 0.2
    """Fraction of dark shapes, 0 to 1."""
    grain: float = 0.1
    """Largest standard deviation of the multiplicative noise inside the shapes, 0 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not 2 <= self.knots[0] <= self.knots[1]:
            raise BadConfig("coarse_noise: probability is 0..1; knots are 2 or more, ascending.")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """`paranasal split`. Defaults: the paper."""

    store: Path
    """Crop store whose labelled patients are divided."""
    output: Path
    """CSV file to write; an equal file may be there already, another one may not."""
    folds: int = 5
    """Folds of the cross-validation, 2 or more."""
    test_fraction: float = 0.30
    """Fraction of the labelled patients in the fixed test set, between 0 and 1."""
    seed: int = 0
    """Seed of the division, a whole number of 0 or more."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise BadConfig(f"folds is 2 or more, not {self.folds}.")
        if not 0 < self.test_fraction < 1:
            raise BadConfig(f"test_fraction lies between 0 and 1, not {self.test_fraction}.")


@dataclass(frozen=True, kw_only=True)
class ResidualFilesConfig:
    """`paranasal residual-files`."""

    store: Path
    """Crop store."""
    residuals: Path
    """Residual store of these crops."""
    output: Path
    """Folder for the images `sub-ID_desc-crops.nii.gz` and `sub-ID_desc-residual_map.nii.gz`."""
    patients: int = 20
    """How many patients, the first in order that have residuals; 0: all."""
