"""Settings of the evaluation. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import ResidualConfig

CalibrationKind = Literal["platt", "temperature"]
SCAN_TABLE = Path(__file__).parent / "real_scans.csv"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """`paranasal evaluate`: score a run again, with options that go past the paper."""

    store: Path
    """Crop store with labels."""
    classifier: Path
    """Folder of a finished `finetune` run."""
    output: Path
    """Folder for `predictions.csv`, `metrics.json` and `curves.png`."""
    splits: Path | None = None
    """CSV file of `paranasal split` (unset: the parts that the store's own table names)."""
    fold: int = 1
    """Fold of `splits` that the run was validated on, 1 or more."""
    residuals: Path | None = None
    """Residual store of the labelled crops, for a classifier that sees crop and residual."""
    jitter: int = 0
    """Copies of each crop, shifted by about 1.3 mm, whose scores are averaged with its own; 0 or
    more.
    """
    calibration: CalibrationKind = "platt"
    """How scores become probabilities: platt fits slope and intercept, temperature a slope only."""
    device: DeviceName = "auto"
    """What computes: a GPU where there is one (auto), the CPU, an NVIDIA GPU (of several the one that
    CUDA_VISIBLE_DEVICES names) or an Apple GPU.
    """

    def __post_init__(self) -> None:
        if self.jitter < 0 or self.calibration not in get_args(CalibrationKind):
            raise BadConfig(f"jitter is 0 or more; calibration is of {get_args(CalibrationKind)}.")


@dataclass(frozen=True, kw_only=True)
class EvaluateMapsConfig:
    """`paranasal evaluate-maps`. Give the `splits` and `fold` that the autoencoder was trained with."""

    store: Path
    """Crop store with lesion masks (simulated)."""
    cae: Path
    """Folder of a finished `train` run, the autoencoder."""
    output: Path
    """Folder for `metrics.json`, `by_kind.csv` and `lesions.png`."""
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    """How a residual follows from crop and reconstruction."""
    limit: int = 0
    """Crops of each part, validation and test, in a fixed random choice; 0: all."""
    splits: Path | None = None
    """CSV file of `paranasal split` (unset: the parts that the store's own table names)."""
    fold: int = 1
    """Fold of `splits` that the autoencoder was validated on, 1 or more."""
    device: DeviceName = "auto"
    """What computes: a GPU where there is one (auto), the CPU, an NVIDIA GPU (of several the one that
    CUDA_VISIBLE_DEVICES names) or an Apple GPU.
    """

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise BadConfig(f"limit is 0 (all crops) or more, not {self.limit}.")


@dataclass(frozen=True)
class RealCheckConfig:
    """`paranasal check-real`: which bundle is tried on which scans."""

    scans: Path
    """Folder with the scans that the table names."""
    table: Path = SCAN_TABLE
    """CSV file, a line for each sinus: scan (a file or folder below `scans`), side (left or right,
    the patient's), clear (yes: lesions are inserted; no: scored only). Unset: that of our own check.
    """
    bundle: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    repeats: int = 3
    """Lesions of each kind and volume that are inserted into each clear side, 1 or more."""
    seed: int = 0
    """Seed of the lesions, a whole number of 0 or more."""


@dataclass(frozen=True)
class LocalisationConfig:
    """`paranasal check-localisation`: where boxes land on heads whose cavities are known."""

    scans: Path
    """Folder that the scans of `sinus/references.csv` are relative to."""
    references: Path
    """Folder of the outlined cavities; those that it lacks are made."""
    bundle: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    only: tuple[str, ...] = ()
    """Words in the paths of the scans to take (empty: all)."""
    views: tuple[str, ...] = ()
    """Names of the views to take, as in the result (empty: all)."""


@dataclass(frozen=True)
class ThresholdConfig:
    """How the threshold of each voxel of the cube is learnt from healthy validation sinuses.

    Only the region where healthy sinuses hold air is ever marked: orbit, cheek and nose differ from
    person to person and are not judged.
    One half of the patients gives the quantile of the residual at each voxel; on the other half each
    level is raised until a fraction of the sinuses shows no more than some ml: nearly all of them
    next to nothing for sinuses that are called normal, half of them little for those called anomalous.
    """

    quantile: float = 0.97
    """Quantile of the healthy sinuses' evidence that is a voxel's threshold, 0 to 1."""
    smoothing_mm: float = 2.0
    """Standard deviation of the Gaussian that smooths the thresholds, mm, 0 or more."""
    floor: float = 0.05
    """Lowest threshold: evidence below it is never called anomalous at level 1."""
    air_fraction: float = 0.5
    """Fraction of the healthy reconstructions with air in a voxel that makes it part of the region,
    0 to 1.
    """
    margin_mm: float = 3.0
    """Margin around the region, mm, 1 or more."""
    normal_fraction: float = 0.95
    """Fraction of healthy sinuses called normal that show at most `normal_ml`, 0 to 1."""
    normal_ml: float = 0.5
    """What they may show, ml."""
    anomalous_fraction: float = 0.5
    """Fraction of healthy sinuses called anomalous that show at most `anomalous_ml`, 0 to 1."""
    anomalous_ml: float = 1.0
    """What they may show, ml."""
