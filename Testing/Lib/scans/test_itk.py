"""SimpleITK images and the formats that it reads: NRRD and MetaImage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.scans.itk import from_sitk, to_sitk
from ParanasalSSLLib.scans.volume import Volume


def test_simpleitk_round_trip_keeps_everything(affine: np.ndarray, files: Any) -> None:
    volume = Volume(files.noise(), affine)
    back = from_sitk(to_sitk(volume))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


def test_detached_header_without_its_data_file(tmp_path: Path, files: Any) -> None:
    path = files.save(tmp_path / "scan.mhd", files.noise())
    (tmp_path / "scan.raw").unlink()
    assert "not beside it" in files.refusal(path, UnreadableScan)
