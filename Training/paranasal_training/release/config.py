"""Settings of model bundles. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from paranasal_training.evaluation.config import CalibrationKind, ThresholdConfig
from ParanasalSSLLib.model.config import ResidualConfig


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """`paranasal bundle`."""

    store: Path
    """Crop store that the classifier was trained on."""
    cae: Path
    """Folder of a finished `train` run, the autoencoder."""
    classifier: Path
    """Folder of a finished `finetune` run."""
    output: Path
    """Folder of the bundle; one of this name and version that is there is made anew."""
    splits: Path | None = None
    """CSV file of `paranasal split` that both were trained with (unset: the parts of the store's own
    table); needed where they are of different folds.
    """
    cae_store: Path | None = None
    """Crop store that the autoencoder was trained on, with other patients (unset: `store`)."""
    name: str = "custom"
    """Name of the bundle."""
    version: str = "1"
    """Version of the bundle."""
    licence: str = "Apache-2.0"
    """Licence of the weights, an SPDX name."""
    calibration: CalibrationKind = "platt"
    """How scores become probabilities: platt fits slope and intercept, temperature a slope only."""
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    """How a residual follows from crop and reconstruction."""
    minimum_part_voxels: int = 100
    """Smallest connected part of a mask that is kept, voxels of 1 mm, 0 or more."""
    thresholds: ThresholdConfig = field(default_factory=ThresholdConfig)
    """How the masks' thresholds are learnt."""


@dataclass(frozen=True, kw_only=True)
class ExperimentBundleConfig:
    """`paranasal bundle-experiment`: a run of an experiment as a model bundle.

    Crops, autoencoder and residual options are those of the run.
    """

    experiment: Path
    """Working folder of `paranasal experiment`."""
    output: Path
    """Folder of the bundle; one of this name and version that is there is made anew."""
    row: str = "residual"
    """Row of the experiment's table, by its name (the folder below `finetune`)."""
    percent: int | None = None
    """Percentage of the labels (unset: the largest that was run)."""
    fold: int = 1
    """Fold, 1 or more."""
    name: str | None = None
    """Name of the bundle (unset: row, percentage and fold)."""
    version: str = "1"
    """Version of the bundle."""


@dataclass(frozen=True, kw_only=True)
class MonaiExportConfig:
    """`paranasal export-monai`: a model bundle as a MONAI Bundle."""

    bundle: Path
    """Folder of the model bundle."""
    output: Path
    """Folder of the MONAI Bundle; must not exist yet, or be empty."""


@dataclass(frozen=True, kw_only=True)
class ModelCardConfig:
    """`paranasal model-card`: write a bundle's README.md again, with more in it."""

    bundle: Path
    """Folder of the model bundle."""
    real_check: Path | None = None
    """Folder of `paranasal check-real`, made with this bundle (unset: the card has no such part).
    """
    notes: Path | None = None
    """Markdown file that goes below the check (unset: none)."""
    commands: Path | None = None
    """Script that made the bundle, quoted in the card (unset: none)."""


@dataclass(frozen=True, kw_only=True)
class AddOnnxConfig:
    """`paranasal add-onnx`: what a bundle needs to run on the CPU without PyTorch.

    `bundle` and `add-sinus` do it themselves; this is for bundles of older formats.
    """

    bundle: Path
    """Folder of the bundle; its weights stay as they are."""


@dataclass(frozen=True, kw_only=True)
class AddSinusConfig:
    """`paranasal add-sinus`: a bundle whose decision and outlines come from sinus networks."""

    bundle: Path
    """Folder of the bundle to start from; it is not changed."""
    weights: list[Path]
    """`sinus.safetensors` of runs of `train-sinus`, one or more: their probabilities are averaged.
    The persons that each run left out (`run.json` beside it) give calibration, threshold, figures.
    """
    store: list[Path]
    """Stores of `paint-sinuses`, one or more: for calibration and figures."""
    clear: list[Path]
    """Stores of `paint-sinuses --as-they-are`, one or more: for the threshold."""
    output: Path
    """Folder of the new bundle."""
    version: str = "6"
    """Version of the new bundle."""
    notes: Path | None = None
    """Markdown for the model card: what was seen on real scans (unset: none)."""
    samples: int = 1000
    """Samples of either kind that each network is asked about, at most, all of persons that it never
    saw.
    """
    specificity: float = 0.95
    """Fraction of their clear sides, as they are, that is called clear, 0 to 1."""
    seed: int = 0
    """Seed of the choice of samples."""


@dataclass(frozen=True, kw_only=True)
class SinusDecisionsConfig:
    """`paranasal compare-decisions`: ways to call a sinus diseased, side by side."""

    bundle: Path
    """Folder of the bundle whose classifier is compared."""
    weights: list[Path]
    """`sinus.safetensors` of runs of `train-sinus`; each is asked about persons that it left out."""
    store: list[Path]
    """Stores of `paint-sinuses`, one or more."""
    clear: list[Path]
    """Stores of `paint-sinuses --as-they-are`, one or more: for the thresholds."""
    output: Path
    """Folder for `decisions.csv` and `decisions.md`."""
    samples: int = 500
    """Samples of either kind that each network is asked about, at most."""
    specificity: float = 0.95
    """Fraction of clear sides, as they are, that every decision calls clear, 0 to 1."""
    resamples: int = 500
    """Draws of persons for the intervals, 1 or more."""
    seed: int = 0
    """Seed of the choice of samples and of the draws."""
