"""The errors that users can meet. Each message says what was wrong, with which file, what to do."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


class ParanasalError(Exception):
    """Root of every error that is the input's fault, not the program's."""


class UnreadableScan(ParanasalError):
    """The file is missing, truncated, empty or of a format that is not read."""


class UnsupportedScan(ParanasalError):
    """The file is readable, but not one three-dimensional MR image of plausible size."""


class SeveralSeries(UnsupportedScan):
    """A DICOM folder or archive holds more than one series."""


class NotAHead(ParanasalError):
    """The registration with the head template is not to be trusted."""


class SinusOutsideImage(ParanasalError):
    """A crop box lies (partly) outside the image, too much of it to judge the sinus."""


class BadBoxes(ParanasalError):
    """A file of crop boxes is malformed."""


class BadBundle(ParanasalError):
    """A model bundle is missing, damaged or of another version."""


class DeviceUnavailable(ParanasalError):
    """The asked-for compute device is not present."""


class MissingPackage(ParanasalError):
    """An optional package that is needed for what was asked is not installed."""


class BadStore(ParanasalError):
    """A crop store is missing, damaged, incomplete or of another version."""


class BadCheckpoint(ParanasalError):
    """A checkpoint is missing, damaged or of another architecture."""


class BadConfig(ParanasalError):
    """An option has a value that makes no sense."""


class Cancelled(ParanasalError):
    """The user stopped the work."""


class UnsafeOutput(ParanasalError):
    """Something lies where results are to be written that must not be replaced."""


def install_line(extra: str) -> str:
    """The command that adds an extra of this project to the Python that runs now."""
    root = Path(__file__).resolve().parents[1]
    what = str(root) if (root / "pyproject.toml").is_file() else "paranasal-ssl"
    return shlex.join([sys.executable, "-m", "pip", "install", f"{what}[{extra}]"])
