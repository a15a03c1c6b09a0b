"""Installs what the library needs beyond what Slicer ships: on first need, and after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError, install_line
from ParanasalSSLPanel.pipWords import NO_BUILD, failureWords, overheard

REQUESTER = "ParanasalSSL"
HIGHDICOM = "highdicom>=0.27"
TRAINING_COMMANDS = "paranasal.commands"  # entry points, see the library's `cli.main`
TRAINING_PACKAGES = ("paranasal_training", "torch", "pandas", "sklearn")


class PackagesMissing(ParanasalError):
    """The user declined an installation, or it failed; the message says what to do then."""


def ensurePackages(requirementsPath: str) -> None:
    """Have the packages of the requirements file, asking the user before any download.

    PyTorch is none of them: only a GPU needs it, and Slicer's extension PyTorch installs the build
    that fits.

    Raises:
        PackagesMissing: declined, offline, or Slicer itself is too old.
    """
    _pipEnsure(lambda packaging: packaging.load_requirements(requirementsPath))


def ensureHighdicom() -> None:
    """Have what writes DICOM objects; Slicer ships it, unless it was removed.

    Raises:
        PackagesMissing: declined, or offline.
    """
    if importlib.util.find_spec("highdicom") is None:
        _pipEnsure(lambda packaging: [HIGHDICOM])


def requireTraining() -> None:
    """Have what adapts a model; it is no part of this extension, and too much to install in passing.

    Raises:
        PackagesMissing: with the command that installs it.
    """
    has_packages = all(importlib.util.find_spec(name) for name in TRAINING_PACKAGES)
    if not has_packages or not importlib.metadata.entry_points(group=TRAINING_COMMANDS):
        raise PackagesMissing(
            _(
                "Adapting a model needs the training part of this project, which is not installed. "
                "This installs it, in a terminal:\n{command}"
            ).format(command=install_line("training"))
        )


def isTorchInstalled() -> bool:
    """Whether PyTorch is there; it is not loaded for that."""
    return importlib.util.find_spec("torch") is not None


def installFromFolder(requirementsPath: str, folder: Path) -> None:
    """Install the packages of the requirements file from wheels, without network.

    Raises:
        PackagesMissing: a wheel is not there, or does not fit this Slicer; the log says which.
    """
    lines = Path(requirementsPath).read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    with _heldVersions(wanted) as constraints, overheard() as printed:
        where = ["--no-index", "--find-links", str(folder), "-c", str(constraints)]
        try:
            slicer.util.pip_install([*where, *wanted])
        except subprocess.CalledProcessError as error:
            raise PackagesMissing(_folderWords(folder, "".join(printed))) from error


def _folderWords(folder: Path, printed: str) -> str:
    lacking = re.search(NO_BUILD, printed)
    if printed and lacking is None:
        return failureWords(printed)
    return _(
        "The packages could not be installed from {folder}: {package} is missing there, or is not for "
        "Slicer's Python {version} on this system."
    ).format(
        folder=folder,
        package=lacking[1] if lacking is not None else _("a wheel"),
        version=".".join(map(str, sys.version_info[:2])),
    )


def _pipEnsure(requirements: Callable[[Any], list[Any]]) -> None:
    """requirements: makes the list of them with Slicer's own module for packages."""
    try:
        import slicer.packaging as packaging
    except ImportError as error:
        raise PackagesMissing(
            _("Slicer 5.12 or newer is needed to install the Python packages.")
        ) from error
    try:
        wanted = requirements(packaging)
        with _heldVersions(wanted) as constraints, overheard() as printed:
            packaging.pip_ensure(wanted, constraints=constraints, requester=REQUESTER)
    except RuntimeError as error:
        raise PackagesMissing(
            _(
                "The Python packages were not installed, so this cannot be done. Try again and "
                "agree to the installation."
            )
        ) from error
    except subprocess.CalledProcessError as error:
        failed = _("Installing the Python packages failed. {reason}")
        raise PackagesMissing(failed.format(reason=failureWords("".join(printed)))) from error


@contextmanager
def _heldVersions(wanted: list[Any]) -> Iterator[Path]:
    """A file for pip that holds what is installed already, but for what is wanted itself.

    Otherwise a dependency could bring another NumPy or SimpleITK than those that Slicer was built with.
    """
    names = {_plainName(re.split(r"[^\w.-]", str(each), maxsplit=1)[0]) for each in wanted}
    held = {
        _plainName(found.name): found.version
        for found in importlib.metadata.distributions()
        if found.name and _plainName(found.name) not in names
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constraints.txt"
        lines = (f"{name}=={version}\n" for name, version in sorted(held.items()))
        path.write_text("".join(lines), encoding="utf-8")
        yield path


def _plainName(name: str) -> str:
    """As pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
