"""`paranasal experiment`: run what is missing of one experiment, with Snakemake."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from paranasal_training.workflow.checks import (
    keep_to_its_crops,
    require_own_folder,
    require_settings,
)
from paranasal_training.workflow.config import ExperimentConfig
from paranasal_training.workflow.failures import failures, forget_failures
from paranasal_training.workflow.plan import HERE, Plan
from paranasal_training.workflow.usable_crops import division, require_usable
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import BadConfig

SETTINGS = "settings/*/*.yaml"  # that steps are given, see the Snakefile
PROGRESS = re.compile(r"steps \(\d+%\) done|Finished jobid")


def run_experiment(config: ExperimentConfig) -> Path | None:
    """Run an experiment; returns the page with its results (None: it was a dry run).

    Raises:
        BadConfig: no such experiment or preset, a folder that holds other things, or one of the runs
            failed (its message stands above).
        BadStore: the crops are too few for it.
        KeyboardInterrupt: stopped by the user.
    """
    plan = read_plan(config)
    plan.experiment(config.name)
    require_settings(plan, config.name)
    require_usable(plan, config.name)
    if told := division(plan):
        say(*told)
    folder = config.folder
    require_own_folder(folder, plan, config.name)
    folder.mkdir(parents=True, exist_ok=True)
    keep_to_its_crops(folder, plan, note=not config.dry_run)
    command = snakemake_command(config, plan, folder)
    done = look_ahead(command, folder) if config.dry_run else run_alone(command, folder)
    if done.returncode < 0:
        raise KeyboardInterrupt
    if done.returncode:
        raise BadConfig(
            f"The experiment {config.name} stopped: see what the failed step said above. What was "
            "finished is kept; the same command resumes."
        )
    if config.dry_run:
        return None
    say(*next_step(plan, config.name, folder))
    return folder / "results" / config.name / "page.html"


def next_step(plan: Plan, name: str, folder: Path) -> list[str]:
    """How one of the runs becomes a bundle."""
    if not (folder / "residuals").is_dir():  # nor an autoencoder, which a bundle needs
        return []
    rows = plan.closed_rows(name)
    ours = plan.experiment(name).ours
    row = ours if ours in rows else rows[-1]
    return [
        "To use a run on scans (any row of the table, any fold), make a bundle of it:",
        f"  paranasal bundle-experiment {shlex.quote(str(folder))} --row {row} "
        f"--percent {plan.percents(name)[-1]} --fold 1 --output bundle",
        "  paranasal predict SCANS --output RESULTS --model bundle",
    ]


def read_plan(config: ExperimentConfig) -> Plan:
    """The plan that the settings ask for. Errors: see `Plan.read`."""
    return Plan.read(
        config.preset,
        config.crops,
        config.medicalnet,
        config.splits,
        config.folds,
        config.cohort,
        config.donors,
    )


def run_quietly(command: list[str], held: Sequence[int]) -> subprocess.CompletedProcess[str]:
    """Run Snakemake and show its progress only; the rest of what it says is in the result.

    held: open files that it keeps open.
    """
    rest = []
    with subprocess.Popen(
        command, env=steps_environment(), stderr=subprocess.PIPE, text=True, pass_fds=held
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if PROGRESS.search(line):
                    say(line.rstrip(), error=True)
                else:
                    rest.append(line)
        except KeyboardInterrupt:
            process.communicate()  # it was interrupted too, and ends its steps
            raise
    return subprocess.CompletedProcess(command, process.returncode, stderr="".join(rest))


def run_alone(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Snakemake while no other experiment runs in the folder, and remove what a killed one left.

    Raises:
        BadConfig: another experiment runs there.
    """
    with _alone(folder) as lock:
        if any(folder.glob(".snakemake/locks/*")):  # Snakemake would refuse to start
            unlock = [*command, "--unlock"]
            subprocess.run(unlock, env=steps_environment(), capture_output=True, check=False)
        # Snakemake holds the lock too: it may outlive this process.
        held = () if sys.platform == "win32" else (lock,)
        forget_failures(folder)
        done = run_quietly(command, held)
        if done.returncode > 0:
            say(*(list(failures(folder)) or [done.stderr]), error=True)
        return done


def look_ahead(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A dry run, after which the settings of all steps are as they were, and as old.

    Raises:
        BadConfig: another experiment runs there; its steps have yet to read their settings.
    """
    with _alone(folder):
        files = {path: path.stat().st_mtime_ns for path in folder.glob(SETTINGS)}
        before = {path: path.read_bytes() for path in files}
        try:
            return subprocess.run(command, env=steps_environment(), check=False, text=True)
        finally:
            for path in folder.glob(SETTINGS):
                if path not in before:
                    path.unlink()
                elif path.read_bytes() != before[path]:
                    path.write_bytes(before[path])
                    os.utime(path, ns=(files[path], files[path]))


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """The open file that locks a working folder. Raises `BadConfig`: somebody else has locked it."""
    with (folder / ".experiment.lock").open("w") as lock:
        if not _locked(lock.fileno()):
            raise BadConfig(
                f"Another experiment runs in {folder}. Wait until it has finished, or give another "
                "folder with --output."
            )
        yield lock.fileno()


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
    values["preset"] = _word(config.preset)
    values |= {"crops": plan.crops} if plan.crops else {}
    values |= {"cards": config.gpus} if config.executor == "local" else {}
    values |= {"splits": plan.splits} if plan.splits else {}
    values |= {"folds": config.folds} if config.folds else {}
    values |= {"medicalnet": plan.medicalnet} if plan.medicalnet else {}
    values |= {"cohort": _word(config.cohort)} if config.cohort else {}
    values |= {"donors": config.donors.resolve()} if config.donors else {}
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
    words += ["--keep-going", "--quiet=host", *more]
    return [*words, "--config", *(f"{name}={value}" for name, value in values.items())]


def _word(name: str) -> str:
    """A preset's or cohort's name, or where its file lies."""
    path = Path(name)
    return str(path.resolve()) if path.is_file() else name


def steps_environment() -> dict[str, str]:
    """Steps call `paranasal` by name: that of this Python."""
    here = Path(sys.executable).parent
    return os.environ | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
