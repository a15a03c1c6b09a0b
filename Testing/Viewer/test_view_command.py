"""`paranasal view` on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ParanasalSSLLib.cli.main import run_command
from ParanasalSSLViewer.commands import COMMANDS

HELP = """
import sys
from ParanasalSSLLib.cli.main import run_command
from ParanasalSSLViewer.commands import COMMANDS
try:
    run_command(COMMANDS[0], ["--help"])
finally:
    heavy = {"trame", "slicer", "vtk", "numpy", "aiohttp"} & set(sys.modules)
    assert not heavy, heavy
"""


def test_help_imports_nothing_heavy() -> None:
    subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True)


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(COMMANDS[0], [str(tmp_path / "gone"), "-o", str(tmp_path)]) == 1
    assert "gone does not exist" in capsys.readouterr().err
