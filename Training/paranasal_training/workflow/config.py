"""Settings of an experiment. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """`paranasal experiment`: table2, table3, figure3, postprocessing, loss, spark or beyond.

    Runs in the working folder are shared by all experiments, and only what is missing is run. The same
    command resumes a stopped experiment.
    """

    name: str
    """Experiment: table2, table3, figure3, postprocessing, loss, spark or beyond."""
    preset: str = "cpu"
    """Size of everything: smoke, cpu, paper, or a YAML file like theirs."""
    output: Path | None = None
    """Working folder (unset: experiments/PRESET)."""
    crops: Path | None = None
    """Crop store of `paranasal prepare` (unset: the simulated cohort is made)."""
    medicalnet: Path | None = None
    """File resnet_18_23dataset.pth of MedicalNet (unset: the row `transfer` stays open)."""
    cores: int = 2
    """CPU cores, or jobs on a cluster, to use at the same time, 1 or more."""
    gpus: int = 1
    """GPUs to use at the same time, 0 or more."""
    executor: str = "local"
    """Where the steps run: Snakemake's executor, such as slurm (package snakemake-executor-plugin-
    slurm).
    """
    dry_run: bool = False
    """Only say what would be run."""
