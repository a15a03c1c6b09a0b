"""A scan, and `paranasal predict` with stand-ins for what takes long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from cli_calls import Run

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.results import pictures


@pytest.fixture
def scan(toolbox: Any, tmp_path: Path) -> Path:
    """A readable head, under a name that must not spread."""
    volume = toolbox.head()
    path = tmp_path / "Mustermann_Erika_1970.nii.gz"
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_qform(volume.affine, code=1)
    nib.save(image, path)
    return path


@pytest.fixture
def run(stand_ins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`paranasal predict ...` with the networks and the registration replaced by stand-ins."""
    monkeypatch.setattr(pictures, "PIXELS", 40)  # small pictures are drawn faster

    def predicting(*arguments: str | Path) -> int:
        return main(["predict", *map(str, arguments), "-o", str(tmp_path / "out")])

    return predicting
