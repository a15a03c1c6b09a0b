"""Settings of the sinus network's samples and training. Free of heavy imports: the help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import SinusNetworkConfig


@dataclass(frozen=True, kw_only=True)
class PaintSinusesConfig:
    """`paranasal paint-sinuses`: clear sinuses of real heads with disease painted in."""

    data: Path
    """Folder that the scans of `references.csv` are relative to."""
    samples: int = 6144
    """Samples of the store, 1 or more."""
    groups: list[str] = field(default_factory=list)
    """Persons to take, by the column `group` of `references.csv` (empty: all)."""
    as_they_are: bool = False
    """Clear sides as they were scanned, only the box lying otherwise each time: nothing painted, no
    other contrast. For thresholds."""
    seed: int = 0
    """Seed of all samples, a whole number of 0 or more."""
    processes: int = 1
    """Processes that draw samples at the same time, 1 or more."""


@dataclass(frozen=True, kw_only=True)
class SinusCropsConfig:
    """`paranasal sinus-crops`: painted samples as a crop store, for self-supervision."""

    store: list[Path]
    """Stores of `paint-sinuses`, one or more."""
    leave_out: list[str] = field(default_factory=list)
    """Persons whose samples are not taken."""
    samples: int = 4000
    """Samples to take, at most."""
    seed: int = 0
    """Seed of the choice."""


@dataclass(frozen=True)
class SinusAugmentConfig:
    """What is drawn for each sample, each time that training sees it."""

    warped: float = 0.4
    """Fraction of samples whose shape is changed, 0 to 1: the next three say how far."""
    rotation_deg: float = 8.0
    """Largest rotation about each axis, degrees, 0 or more."""
    size: tuple[float, float] = (0.85, 1.3)
    """Least and largest change of size along each axis, above 0."""
    bend_mm: float = 2.0
    """Largest standard deviation of a smooth bending (its knots lie 16 mm apart), mm, 0 or more."""
    shift_voxels: int = 4
    """Farthest shift along each axis, voxels, 0 or more."""
    log_gamma: float = 0.3
    """Largest logarithm of the exponent of brightness, either way, 0 or more."""
    noisy: float = 0.5
    """Fraction of samples that get noise, 0 to 1."""
    noise: float = 0.05
    """Largest standard deviation of the noise, of the crop's scale."""
    without_other: float = 0.35
    """Fraction of samples whose other side is taken away, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 < self.size[0] <= self.size[1]:
            raise BadConfig("size: the least comes first, and is above 0.")


@dataclass(frozen=True, kw_only=True)
class TrainSinusConfig:
    """`paranasal train-sinus`: the network that outlines the cavity and what fills it."""

    store: list[Path]
    """Stores of `paint-sinuses`, one or more."""
    output: Path
    """Folder of the run; a stopped call is resumed there."""
    leave_out: list[str] = field(default_factory=list)
    """Persons (column `group` of the stores) that are not learnt from."""
    minutes: float = 60.0
    """Length of the training, minutes, above 0; the learning rate falls to nearly 0 at its end."""
    steps: int | None = None
    """Length of the training in steps, 1 or more, whatever time they take (unset: `minutes` say it)."""
    start: Path | None = None
    """Weights to start from, a `sinus.safetensors` (unset: random ones)."""
    encoder: Path | None = None
    """Weights of a pretrained encoder to start from (unset: random ones)."""
    batch_size: int = 8
    """Samples in a batch, 2 or more."""
    learning_rate: float = 2e-3
    """Highest learning rate, above 0."""
    weight_decay: float = 1e-2
    """Weight decay of AdamW, 0 or more."""
    warm_up: float = 0.05
    """Fraction of the run in which the learning rate rises, 0 to 1."""
    ema_decay: float = 0.998
    """Weight of the past in the moving average of the weights, which is what is kept, 0 to 1."""
    save_every_s: float = 180.0
    """Seconds between two checkpoints."""
    threads: int = 1
    """Threads of the CPU, 1 or more."""
    seed: int = 0
    """Seed of weights, order and augmentation, a whole number of 0 or more."""
    network: SinusNetworkConfig = field(default_factory=SinusNetworkConfig)
    """Architecture."""
    augment: SinusAugmentConfig = field(default_factory=SinusAugmentConfig)
    """What is drawn for each sample, each time."""

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch_size < 2 or self.threads < 1:
            raise BadConfig("minutes is above 0, batch_size 2 or more, threads 1 or more.")
        if self.steps is not None and self.steps < 1:
            raise BadConfig("steps is 1 or more.")
        if self.start and self.encoder:
            raise BadConfig("A run starts from whole weights or from an encoder, not from both.")


@dataclass(frozen=True, kw_only=True)
class LookAtSinusesConfig:
    """`paranasal look-at-sinuses`: what the sinus network says of real scans."""

    scans: list[Path]
    """Scans, one or more."""
    weights: list[Path]
    """`sinus.safetensors` of runs of `train-sinus`, one or more: their probabilities are averaged."""
    output: Path
    """Folder for `sinuses.csv` and `sinuses.png`."""


@dataclass(frozen=True, kw_only=True)
class RepeatabilityConfig:
    """`paranasal repeat-sinuses`: how repeatable a bundle's volumes and probabilities are."""

    scans: list[Path]
    """Scans of clear sinuses, one or more; several of one head have its `sub-` in their names."""
    output: Path
    """Folder for `repeatability.csv`, `.json` and `.md`."""
    bundle: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    into_card: bool = False
    """Write the figures into the bundle's card, so that reports state them (default: not)."""
