"""Boxes, results and residual maps with nothing installed beyond what Slicer ships."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "ParanasalSSL" / "Resources" / "requirements.txt"
# Imported before all else by every Python that has its folder in PYTHONPATH.
SITE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that lacks the requirements, as Slicer's does at first."""
    lines = REQUIREMENTS.read_text().splitlines()
    wanted = {line.partition(">")[0].replace("-", "_") for line in lines if line[:1] != "#"}
    names = wanted - {"pillow"} | {"PIL", "torch"}
    assert "nibabel" in names
    (tmp_path / "sitecustomize.py").write_text(SITE.format(names=names))
    known = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), known])}


@pytest.fixture
def runBare(bare: dict[str, str]) -> Callable[[str], str]:
    def run(code: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_that_python_lacks_them(runBare: Callable[[str], str]) -> None:
    assert "No module named 'nibabel'" in runBare(
        "try:\n    import nibabel\nexcept ImportError as error:\n    print(error)"
    )


def test_boxes_are_placed_in_a_process_that_can_be_cancelled(
    bare: dict[str, str],
    openPanel: Callable[[Any], Any],
    slicer: Any,
    sample_head: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import headless
    from ParanasalSSLPanel.boxes import boxesOf
    from ParanasalSSLPanel.packages import PackagesMissing
    from ParanasalSSLPanel.separateProcess import SeparateProcess

    from ParanasalSSLLib.boxes.registration import find_boxes
    from ParanasalSSLLib.scans.read import read_volume

    def ensure(path: str) -> None:
        raise PackagesMissing("Nothing is to be installed for boxes.")

    monkeypatch.setenv("PYTHONPATH", bare["PYTHONPATH"])
    panel = openPanel(SeparateProcess())
    panel.logic._ensure = ensure
    scan = slicer.util.loadVolume(str(sample_head))
    panel.ui.placeBoxesButton.click()
    assert panel.ui.cancelButton.enabled and not panel.ui.runButton.enabled
    panel.ui.cancelButton.click()
    headless.wait_until(lambda: not panel.activity.isRunning, 60)
    assert panel.ui.messageLabel.text == "Cancelled. Nothing was changed."
    assert boxesOf(scan) == {}
    panel.ui.placeBoxesButton.click()
    headless.wait_until(lambda: not panel.activity.isRunning, 120)
    assert panel.ui.messageLabel.text == ""
    found = boxesOf(scan)
    for side, box in find_boxes(read_volume(sample_head)).boxes.items():
        np.testing.assert_allclose(found[side].center_ras_mm, box.center_ras_mm, atol=0.5)


OPEN = """
import sys
from pathlib import Path
sys.path.insert(0, {testing!r})
import headless
slicer = headless.install()
headless.load_module(Path({module!r}))
from ParanasalSSLPanel import results, tables
from ParanasalSSLPanel.openResult import openResult
from ParanasalSSLPanel.segments import loadResidualFile
from ParanasalSSLPanel.export import exportScan
from ParanasalSSLLib.results.layout import ScanFiles
out = Path({out!r})
scan = openResult(Path({scan!r}), out, "sub-slicer")
print(slicer.util.arrayFromVolume(scan).sum())
print(tables.tableOf(scan).GetNumberOfRows())
results.showResidualFile(loadResidualFile(ScanFiles.in_output(out, "sub-slicer").residual_map, 0.3))
files, remarks = exportScan(scan, out / "exported", "sub-0001", False)
print(files.segmentation.is_file(), remarks)
"""


def test_a_result_is_opened_and_exported_and_a_residual_file_opened(
    runBare: Callable[[str], str],
    panel: Any,
    scan: Any,
    writing: Any,
    slicer: Any,
    tmp_path: Path,
) -> None:
    from ParanasalSSLPanel.kept import resultOf

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    result = resultOf(scan)
    assert result is not None
    path = tmp_path / "scan.nii.gz"
    assert slicer.util.saveNode(scan, str(path))
    module = str(ROOT / "ParanasalSSL" / "ParanasalSSL.py")
    words = {"testing": str(Path(__file__).parent), "module": module}
    code = OPEN.format(out=str(result.folder.parent), scan=str(path), **words)
    total, rows, exported = runBare(code).splitlines()[-3:]
    assert float(total) == pytest.approx(slicer.util.arrayFromVolume(scan).sum(), rel=1e-4)
    assert (rows, exported) == ("2", "True []")


def test_a_scan_that_was_turned_since_is_not_shown_under_old_results(
    panel: Any, scan: Any, writing: Any, slicer: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.kept import resultOf
    from ParanasalSSLPanel.openResult import openResult

    from ParanasalSSLLib.errors import UnreadableScan

    panel.ui.placeBoxesButton.click()
    panel.ui.runButton.click()
    result = resultOf(scan)
    assert result is not None
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0]) @ slicer.util.arrayFromVTKMatrix(
        ijkToRas(slicer, scan)
    )
    scan.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(mirrored))
    assert slicer.util.saveNode(scan, str(tmp_path / "mirrored.nii"))
    with pytest.raises(UnreadableScan, match="changed since it was scored"):
        openResult(tmp_path / "mirrored.nii", result.folder.parent, "sub-slicer")


def ijkToRas(slicer: Any, node: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
