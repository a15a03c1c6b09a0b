"""Settings of experiments and studies. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """`paranasal experiment`: one table of the paper, or of ours beside it.

    Runs in the working folder are shared by all experiments, and only what is missing is run. The same
    command resumes a stopped experiment.
    """

    name: str
    """Experiment: core (the main rows of table2), table2, table3, figure3, labels, postprocessing,
    loss, autoencoder, spark, beyond.
    """
    preset: str = "cpu"
    """Size of everything: smoke, cpu, paper, or a YAML file like theirs."""
    cohort: str | None = None
    """Simulated cohort: many (scanners and protocols), one-protocol, or a YAML file with settings of
    `paranasal simulate` (unset: many).
    """
    donors: Path | None = None
    """Folder of healthy whole-head scans that lend 60 % of the simulated patients their anatomy
    (unset: procedural anatomy only).
    """
    output: Path | None = None
    """Working folder (unset: experiments/PRESET-COHORT)."""
    crops: Path | None = None
    """Crop store of `paranasal prepare` (unset: the simulated cohort is made)."""
    splits: Path | None = None
    """CSV file of `paranasal split` for `crops` (unset: the column split of the table of scans where
    it has one, otherwise a division is made).
    """
    folds: int | None = None
    """Folds of the cross-validation, 2 or more; with `splits` its first ones (unset: the preset's
    number, or all of `splits`).
    """
    medicalnet: Path | None = None
    """File resnet_18_23dataset.pth of MedicalNet (unset: the row `transfer` stays open)."""
    cores: int = 2
    """CPU cores, or jobs on a cluster, to use at the same time, 1 or more."""
    gpus: int = 1
    """GPUs to use at the same time, 0 or more; on this machine each run gets one of its own."""
    executor: str = "local"
    """Where the steps run: Snakemake's executor, such as slurm (package snakemake-executor-plugin-
    slurm).
    """
    dry_run: bool = False
    """Only say what would be run."""

    def __post_init__(self) -> None:
        if self.crops and (self.cohort or self.donors):
            raise BadConfig(
                "--cohort and --donors are of simulated crops, --crops are there already."
            )
        _require_places(self.cores, self.gpus)

    @property
    def folder(self) -> Path:
        """The working folder."""
        names = [Path(self.preset).stem, *([Path(self.cohort).stem] if self.cohort else [])]
        return self.output or Path("experiments") / "-".join(names)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Scores a folder of any size in steps that Snakemake runs, on this machine or on a cluster.

    The results are those of `paranasal predict`, with the overview index.html and results.csv. The same
    command resumes after a stop or a kill at any moment: scans that have ended are not scored again.
    Which scan is which, and why one could not be scored, stays in the private folder beside the
    results. Exit status: 0 all scans have ended, 1 some have failed, or a step broke.
    """

    scans: list[Path]
    """Folders and files as `paranasal predict` takes them; one or more."""
    output: Path
    """Folder for the results."""
    work: Path | None = None
    """Private folder for plan, progress and logs (unset: OUTPUT.work)."""
    device: DeviceName = "auto"
    """Where the networks run: cpu, cuda, mps, or a GPU if there is one (auto)."""
    model: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    note: str | None = None
    """Sentence about the scans that the reports will show (unset: none)."""
    scans_a_step: int = 20
    """Scans that one process scores, one after another, 1 or more; it loads the model once."""
    threads: int = 1
    """CPU threads of one process, 1 or more."""
    cores: int = 2
    """CPU cores, or jobs on a cluster, to use at the same time, 1 or more."""
    gpus: int = 1
    """GPUs to use at the same time, 0 or more; a step takes one with --device cuda."""
    executor: str = "local"
    """Where the steps run: Snakemake's executor, such as slurm (package snakemake-executor-plugin-
    slurm).
    """
    add: bool = False
    """Search the folders again, for scans that are new."""
    again: bool = False
    """Score again what has failed."""

    def __post_init__(self) -> None:
        if self.scans_a_step < 1:
            raise BadConfig(f"--scans-a-step {self.scans_a_step}: at least one scan a step")
        if self.output.exists() and not self.output.is_dir():
            raise BadConfig(f"--output {self.output} is a file; name a folder")
        _require_places(self.cores, self.gpus)


def _require_places(cores: int, gpus: int) -> None:
    """Raise `BadConfig` for no core at all, on which Snakemake would wait for ever."""
    if cores < 1 or gpus < 0:
        raise BadConfig(f"--cores {cores} --gpus {gpus}: cores are 1 or more, gpus 0 or more.")
