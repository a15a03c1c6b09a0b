"""`paranasal experiment`: run what is missing of one experiment, with Snakemake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.own_crops import division, require_usable
from paranasal_training.workflow.plan import HERE, Plan
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import BadConfig


def run_experiment(config: ExperimentConfig) -> Path | None:
    """Run an experiment; returns the page with its results (None: it was a dry run).

    Raises:
        BadConfig: no such experiment or preset, or one of the runs failed (its message stands above).
        BadStore: the crops are too few for it.
        KeyboardInterrupt: stopped by the user.
    """
    plan = read_plan(config)
    plan.experiment(config.name)
    require_usable(plan, config.name)
    say(*division(plan))
    folder = config.output or Path("experiments") / Path(config.preset).stem
    folder.mkdir(parents=True, exist_ok=True)
    command = snakemake_command(config, plan, folder)
    if config.dry_run:
        done = subprocess.run(command, env=steps_environment(), check=False)
    else:
        done = run_alone(command, folder)
    if done.returncode < 0:
        raise KeyboardInterrupt
    if done.returncode:
        raise BadConfig(
            f"The experiment {config.name} stopped: see the message of the failed step above. What was "
            "finished is kept; the same command resumes."
        )
    return None if config.dry_run else folder / "results" / config.name / "page.html"


def read_plan(config: ExperimentConfig) -> Plan:
    """The plan that the settings ask for. Errors: see `Plan.read`."""
    return Plan.read(config.preset, config.crops, config.medicalnet, config.splits, config.folds)


def run_alone(command: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run Snakemake while no other experiment runs in the folder, and remove what a killed one left.

    Raises:
        BadConfig: another experiment runs there.
    """
    with (folder / ".experiment.lock").open("w") as lock:
        if not _locked(lock.fileno()):
            raise BadConfig(
                f"Another experiment runs in {folder}. Wait until it has finished, or give another "
                "folder with --output."
            )
        if any(folder.glob(".snakemake/locks/*")):  # Snakemake would refuse to start
            unlock = [*command, "--unlock"]
            subprocess.run(unlock, env=steps_environment(), capture_output=True, check=False)
        # Snakemake holds the lock too: it may outlive this process.
        held = () if sys.platform == "win32" else (lock.fileno(),)
        return subprocess.run(command, env=steps_environment(), check=False, pass_fds=held)


def _locked(file: int) -> bool:
    """Lock an open file until its last holder has ended; False when somebody else has done so."""
    if sys.platform == "win32":  # without locks of this kind
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def snakemake_command(config: ExperimentConfig, plan: Plan, folder: Path) -> list[str]:
    """The Snakemake command line that does it in a working folder."""
    values: dict[str, object] = {"experiment": config.name}
    values["preset"] = _preset_word(config.preset)
    values |= {"crops": plan.crops} if plan.crops else {}
    values |= {"splits": plan.splits} if plan.splits else {}
    values |= {"folds": config.folds} if config.folds else {}
    values |= {"medicalnet": plan.medicalnet} if plan.medicalnet else {}
    more = ("--dry-run",) if config.dry_run else ()
    return snakemake_words(HERE / "Snakefile", folder, config, values, more)


class Places(Protocol):
    """Where steps run, and how many at the same time; see `ExperimentConfig`."""

    @property
    def cores(self) -> int: ...
    @property
    def gpus(self) -> int: ...
    @property
    def executor(self) -> str: ...


def snakemake_words(
    snakefile: Path,
    folder: Path,
    places: Places,
    values: Mapping[str, object],
    more: Sequence[str] = (),
) -> list[str]:
    """The command line that runs what is missing. values: the Snakefile's `config`."""
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    words += ["--directory", str(folder.resolve()), "--executor", places.executor]
    words += ["--cores" if places.executor == "local" else "--jobs", str(places.cores)]
    words += ["--resources", f"gpu={places.gpus}"]
    words += ["--rerun-incomplete", "--rerun-triggers", "mtime"]
    words += ["--keep-going", "--show-failed-logs", "--quiet=host", *more]
    return [*words, "--config", *(f"{name}={value}" for name, value in values.items())]


def _preset_word(preset: str) -> str:
    path = Path(preset)
    return str(path.resolve()) if path.is_file() else preset


def steps_environment() -> dict[str, str]:
    """Steps call `paranasal` by name: that of this Python."""
    here = Path(sys.executable).parent
    return os.environ | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
