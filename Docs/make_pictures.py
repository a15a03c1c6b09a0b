"""Draws the pictures of the panel in Docs/tutorial.md; `make_view_pictures.py` draws those of views.

    .venv/bin/python Docs/make_pictures.py        # some minutes; writes Docs/tutorial/*.png

It needs the extra `test` (`pip install -e '.[test]'`: slicer-core, PySide6) and Qt's system libraries,
as the panel's tests do. The panel is the module's own .ui file and Widget class, drawn by Qt with
stand-ins for the application (`Testing/Slicer/headless`); the boxes are placed and the sample head is
scored in earnest.

The README's Docs/report.jpg is no picture of this script: it is the upper part of the page that
`make demo` writes, in a browser's window 1060 pixels wide.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "Docs" / "tutorial"
SAMPLE = ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
COLORS = 128  # of a picture: few, so that the files stay small
LONGEST_S = 600.0  # of one computation

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Slicer")]

import headless  # noqa: E402

slicer = headless.install()
module = headless.load_module(ROOT / "ParanasalSSL" / "ParanasalSSL.py")

from ParanasalSSLPanel.boxes import boxNode  # noqa: E402
from ParanasalSSLPanel.logic import ParanasalSSLLogic  # noqa: E402

from ParanasalSSLLib.sinuses import Side  # noqa: E402


def main() -> None:
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.gettempdir()) / "sinuses"  # the pictures show its name
    folder.mkdir()
    panel = headless.open_module(module)
    panel.logic = ParanasalSSLLogic(ensure=lambda path: None)  # all is installed
    try:
        go_through(panel, folder)
    finally:
        panel.cleanup()
        shutil.rmtree(folder)
    for path in sorted(OUT.glob("*.png")):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def go_through(panel: Any, folder: Path) -> None:
    """The steps of the tutorial, in its order."""
    ui = panel.ui
    headless.wait_until(
        lambda: "(" in ui.deviceComboBox.currentText, LONGEST_S
    )  # devices are known
    take(panel, "panel_empty")

    scan = slicer.util.loadVolume(str(SAMPLE), {"name": "Simulated head"})
    headless.click(ui.placeBoxesButton)
    headless.wait_until(lambda: not panel.activity.isRunning, LONGEST_S)
    take(panel, "boxes_placed", ui.scanCollapsibleButton)

    drag(boxNode(scan, Side.RIGHT), (6.0, -4.0, 3.0))
    take(panel, "box_moved", ui.scanCollapsibleButton)
    headless.click(ui.rightResetButton)

    headless.click(ui.runButton)
    headless.wait_until(lambda: ui.progressBar.value > 0, LONGEST_S)
    take(panel, "running", ui.runCollapsibleButton)
    headless.wait_until(lambda: not panel.activity.isRunning, LONGEST_S)
    take(panel, "results", ui.resultsCollapsibleButton)

    ui.exportCollapsibleButton.collapsed = False
    ui.exportFolderEdit.currentPath = str(folder / "exported")
    headless.click(ui.exportButton)
    take(panel, "export", ui.exportCollapsibleButton)

    ui.exportCollapsibleButton.collapsed = True
    ui.worklistCollapsibleButton.collapsed = False
    ui.worklistFolderEdit.currentPath = str(folder / "worklist")
    panel.worklistSection.sources.addFolder(two_scans(folder))
    headless.wait_until(lambda: not panel.worklistSection.isRunning, LONGEST_S)
    headless.click(ui.addLoadedButton)
    headless.click(ui.runWorklistButton)
    headless.wait_until(lambda: not panel.worklistSection.isRunning, LONGEST_S)
    take(panel, "worklist", ui.worklistCollapsibleButton)
    ui.worklistCollapsibleButton.collapsed = True

    ui.installCollapsibleButton.collapsed = False
    take(panel, "packages", ui.installCollapsibleButton)


def two_scans(folder: Path) -> Path:
    """A folder with a scan for each of two patients, one of them damaged."""
    scans = folder / "scans"
    for patient in ("A", "B"):
        (scans / f"patient {patient}").mkdir(parents=True)
    shutil.copy(SAMPLE, scans / "patient A" / "head.nii.gz")
    (scans / "patient B" / "head.nii.gz").write_bytes(SAMPLE.read_bytes()[:1000])
    return scans


def drag(box: Any, shift_mm: tuple[float, float, float]) -> None:
    """As a user drags a box in a slice."""
    matrix = slicer.util.arrayFromVTKMatrix(box.GetObjectToWorldMatrix())
    matrix[:3, 3] += shift_mm
    box.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))


# ------------------------------------------------------------------------------------ the panel


def take(panel: Any, name: str, section: Any = None) -> None:
    """Draw the panel, or one section of it."""
    path = headless.picture(panel.parent, OUT / f"{name}.png")
    image = Image.open(path).convert("RGB")
    if section is not None:
        corner = section.mapTo(panel.parent, section.rect.topLeft())
        x, y = corner.x(), corner.y()
        image = image.crop((x - 4, y - 4, x + section.width + 4, y + section.height + 4))
    save(image, path)


def save(image: Image.Image, path: Path) -> None:
    """As a small PNG."""
    image.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
