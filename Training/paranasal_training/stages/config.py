"""Settings of the four stages. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paranasal_training.data.config import AugmentConfig, CoarseNoiseConfig
from paranasal_training.runs.config import OptimizerConfig, Recipe, RunConfig
from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import CAEConfig, EncoderConfig, ResidualConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """`paranasal train`. Defaults: the paper (L1 loss, Adam, no augmentation, plain input)."""

    epochs: int = 100
    """Passes over the training crops, 1 or more."""
    batch_size: int = 16
    """Crops in a batch, 2 or more."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser and learning rate."""
    normal_fraction: float = 1.0
    """Fraction of the healthy training patients to use, above 0 to 1; smaller fractions are nested
    in larger ones (the paper's Table 3).
    """
    jittered: bool = False
    """Train on crops of shifted boxes too, where the store has them: those of `paranasal prepare
    --jitter`. A simulated store has none, its boxes are off as they are.
    """
    network: CAEConfig = field(default_factory=CAEConfig)
    """Architecture of the autoencoder."""
    coarse_noise: CoarseNoiseConfig = field(default_factory=CoarseNoiseConfig)
    """Lesion-like noise on the input, which the autoencoder learns to remove."""


@dataclass(frozen=True, kw_only=True)
class MapsConfig:
    """Which residuals an autoencoder gives."""

    store: Path
    """Crop store."""
    cae: Path
    """Folder of a finished `train` run, the autoencoder."""
    output: Path
    """Folder for the result."""
    kind: Literal["published", "calibrated", "oracle"] = "published"
    """published: the paper's |x - x'|; calibrated: measured by the 95 % quantile of held-out healthy
    sinuses at each voxel, where sinuses lie; oracle: a simulation's true lesions, the ceiling.
    """
    splits: Path | None = None
    """CSV file of `paranasal split` that the autoencoder was trained with (unset: the parts that the
    store's own table names).
    """
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    """How a residual follows from crop and reconstruction."""
    device: DeviceName = "auto"
    """What computes: a GPU where there is one (auto), the CPU, an NVIDIA GPU (of several the one that
    CUDA_VISIBLE_DEVICES names) or an Apple GPU.
    """


@dataclass(frozen=True, kw_only=True)
class ResidualsConfig(MapsConfig):
    """`paranasal residuals`; a stopped call is resumed in its output folder. `calibrated` learns from
    the healthy sinuses of the validation part of `splits`.
    """

    split: str | None = "unlabelled"
    """Part of the store: train, validation, test, labelled or unlabelled; null: all crops."""
    crossed: list[Path] = field(default_factory=list)
    """Further autoencoders, one for every other fold of `splits`: each crop's residual then comes
    from one that has not learnt from that patient, as a classifier that sees residuals needs it.
    """
    gain: float = 1.0
    """Factor on the residuals (0..1) before they are stored in 8 bit, above 0. More than 1 keeps small
    ones finer and cuts off what exceeds 1 / gain (with 2, 0.26 % of the simulated cohort's voxels); it
    is not for what reaches 1 by its nature: calibrated, oracle, `otsu`, percentile scaling.
    """

    def __post_init__(self) -> None:
        if self.gain <= 0:
            raise BadConfig(f"gain is above 0, not {self.gain}.")
        stretched = self.residual.otsu or self.residual.scaling == "percentile"
        if self.gain > 1 and (stretched or self.kind != "published"):
            what = self.kind if self.kind != "published" else "otsu and percentile-scaled"
            raise BadConfig(
                f"A gain of {self.gain:g} cuts {what} residuals, which reach 1, off at "
                f"{1 / self.gain:g}. Give --gain 1."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateResidualsConfig(MapsConfig):
    """`paranasal evaluate-residuals`: the mean residual of a crop as its score, calibrated on the
    validation part.
    """

    fold: int = 1
    """Fold of `splits` that the autoencoder was validated on, 1 or more."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """`paranasal pretrain`. Defaults: ours; epochs, batches and optimiser from the method's recipe."""

    method: str = "residual"
    """Self-supervised method: the name of a file of `paranasal_training/methods`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the method by name, for example {temperature: 0.1}; see `Options` in its file."""
    residuals: Path | None = None
    """Residual store of the unlabelled crops, for methods that learn from it (residual)."""
    network: EncoderConfig = field(default_factory=EncoderConfig)
    """Architecture of the encoder."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes of the crops."""

    def inputs(self) -> dict[str, Path | None]:
        """Files that the run depends on, by name, residuals and weights included."""
        residuals = self.residuals and self.residuals / "residuals.json"
        weights = self.options.get("file")  # of the methods `transfer` and `weights`
        return {
            **super().inputs(),
            "residuals": residuals,
            "file of weights": Path(str(weights)) if weights else None,
        }

    @property
    def own_recipe(self) -> Recipe:
        """The recipe that the method brings."""
        from paranasal_training.methods import method_class  # brings the networks

        return method_class(self.method).recipe


@dataclass(frozen=True, kw_only=True)
class EvaluateFrozenConfig:
    """`paranasal evaluate-frozen`: what a pretrained encoder knows before any fine-tuning."""

    store: Path
    """Crop store with labels."""
    pretrained: Path
    """Folder of a finished `pretrain` run."""
    output: Path
    """Folder for `predictions.csv` and `metrics.json`."""
    probe: Literal["linear", "knn"] = "linear"
    """What learns on the frozen features: linear (logistic regression), knn (20 nearest neighbours)."""
    splits: Path | None = None
    """CSV file of `paranasal split` (unset: the parts that the store's own table names)."""
    fold: int = 1
    """Fold of `splits` that validates, 1 or more."""
    label_fraction: float = 1.0
    """Fraction of the training patients whose labels are used, above 0 to 1."""
    device: DeviceName = "auto"
    """What computes: a GPU where there is one (auto), the CPU, an NVIDIA GPU (of several the one that
    CUDA_VISIBLE_DEVICES names) or an Apple GPU.
    """

    def __post_init__(self) -> None:
        if not 0 < self.label_fraction <= 1:
            raise BadConfig(f"label_fraction is above 0 and at most 1, not {self.label_fraction}.")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """`paranasal finetune`. Defaults: the paper (AdamW, 1e-4, 100 epochs, batches of 16)."""

    epochs: int = 100
    """Passes over the training crops, 1 or more."""
    batch_size: int = 16
    """Crops in a batch, 2 or more."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="adamw"))
    """Optimiser and learning rate."""
    pretrained: Path | None = None
    """Folder of a finished `pretrain` run, or of a `finetune` run to continue from, head and all
    (unset: random initial weights).
    """
    keep_pretrained: float = 0.0
    """Fraction of the `pretrained` classifier's weights in the result, 0 to below 1: the weighted
    mean of both (WiSE-FT, Wortsman et al. 2022) holds better on other data; needs a `finetune`
    run.
    """
    network: EncoderConfig | None = None
    """Architecture of the encoder (unset: that of the pretrained run)."""
    label_fraction: float = 1.0
    """Fraction of the training patients whose labels are used, above 0 to 1; smaller fractions are
    nested in larger ones.
    """
    residuals: Path | None = None
    """Residual store of all labelled crops; the classifier then sees crop and residual."""
    jittered: bool = False
    """Train on crops of shifted boxes too, where the store has them: those of `paranasal prepare
    --jitter`. A simulated store has none, its boxes are off as they are.
    """
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes of the training crops."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.label_fraction <= 1:
            raise BadConfig(f"label_fraction is above 0 and at most 1, not {self.label_fraction}.")
        if not 0 <= self.keep_pretrained < 1:
            raise BadConfig(
                f"keep_pretrained is 0 or more and below 1, not {self.keep_pretrained}."
            )
        if self.keep_pretrained and self.pretrained is None:
            raise BadConfig("keep_pretrained needs a pretrained run.")

    def inputs(self) -> dict[str, Path | None]:
        """Files that the run depends on, by name, encoder and residuals included."""
        return {
            **super().inputs(),
            "pretrained": self.pretrained and self.pretrained / "model.safetensors",
            "residuals": self.residuals and self.residuals / "residuals.json",
        }
