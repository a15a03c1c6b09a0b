"""Draws the pictures of Docs/tutorial.md: the panel in its states, and the slices with the overlay.

    .venv/bin/python Docs/make_pictures.py        # some minutes; writes Docs/tutorial/*.png

It needs the extra `test` (`pip install -e '.[test]'`: slicer-core, PySide6) and Qt's system libraries,
as the panel's tests do. The panel is the module's own .ui file and Widget class, drawn by Qt with
stand-ins for the application (`Testing/Slicer/headless`); the boxes are placed and the sample head is
scored in earnest. The slices are resampled from the scene's nodes, at the place, in the colours and
with the opacity that the module has given them.

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

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "Docs" / "tutorial"
SAMPLE = ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
FIELD_MM, PIXELS = 200.0, 280  # edge of a slice picture
GAP = 0.004  # between slices, of the picture's width
COLORS, GREYS = 128, 40  # of a picture: few, so that the files stay small
EXACT: dict[str, Any] = {"interpolation": "nearest"}  # a pixel of the plane is one of the picture
LONGEST_S = 600.0  # of one computation

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Slicer")]

import headless  # noqa: E402

slicer = headless.install()
module = headless.load_module(ROOT / "ParanasalSSL" / "ParanasalSSL.py")

from ParanasalSSLPanel import results  # noqa: E402
from ParanasalSSLPanel.boxes import boxFromNode, boxNode  # noqa: E402
from ParanasalSSLPanel.logic import ParanasalSSLLogic  # noqa: E402
from ParanasalSSLPanel.scanNodes import nodeOf  # noqa: E402

from ParanasalSSLLib.geometry import Grid  # noqa: E402
from ParanasalSSLLib.results.planes import ORIENTATIONS, Plane  # noqa: E402
from ParanasalSSLLib.sinuses import SINUSES, Side  # noqa: E402


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
    draw_slices(scan, "slices_boxes")

    drag(boxNode(scan, Side.RIGHT), (6.0, -4.0, 3.0))
    take(panel, "box_moved", ui.scanCollapsibleButton)
    headless.click(ui.rightResetButton)

    headless.click(ui.runButton)
    headless.wait_until(lambda: ui.progressBar.value > 0, LONGEST_S)
    take(panel, "running", ui.runCollapsibleButton)
    headless.wait_until(lambda: not panel.activity.isRunning, LONGEST_S)
    take(panel, "results", ui.resultsCollapsibleButton)

    headless.click(ui.nextFindingButton)
    draw_slices(scan, "slices_residual")
    ui.thresholdSlider.setValue(0.35)
    draw_slices(scan, "slices_threshold")
    ui.thresholdSlider.setValue(0.2)
    headless.click(ui.levelsButton)
    draw_slices(scan, "slices_levels", nodeOf(scan, "levels"))

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


# ----------------------------------------------------------------------------------- the slices


def draw_slices(scan: Any, name: str, outlined: Any = None) -> None:
    """Axial, coronal and sagittal, each through where its slice view is, with boxes and residual.

    outlined: a segmentation other than what is marked.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * PIXELS / 100, PIXELS / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    for column, (view, orientation) in enumerate(
        zip(("Red", "Green", "Yellow"), ORIENTATIONS, strict=True)
    ):
        axis = figure.add_axes((column / 3 + GAP / 2, 0, 1 / 3 - GAP, 1))
        axis.set_axis_off()
        center = slice_center(view)
        plane = Plane.through(center, np.eye(3), orientation, FIELD_MM)
        draw_slice(axis, scan, plane, outlined or results.segmentationOf(scan))
    canvas.draw()
    save(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), OUT / f"{name}.png")


def slice_center(view: str) -> np.ndarray:
    node = slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")
    return slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]


def draw_slice(axis: Any, scan: Any, plane: Plane, outlined: Any) -> None:
    from matplotlib import colormaps
    from matplotlib.patheffects import withStroke

    half = plane.field_mm / 2
    how: dict[str, Any] = {"origin": "lower", "extent": (-half, half, -half, half)}
    grey = sample(scan, plane)
    greys = colormaps["gray"].resampled(GREYS)
    axis.imshow(grey, cmap=greys, vmin=0, vmax=np.percentile(grey, 99.5), **how, **EXACT)
    if results.residualOf(scan) is not None:
        draw_residual(axis, scan, plane, how)
        draw_outlines(axis, scan, plane, how, outlined)
    for side in Side:
        corners = plane.cut(boxFromNode(side, boxNode(scan, side)))
        if len(corners):
            x, y = np.vstack([corners, corners[:1]]).T
            axis.plot(x, y, color=SINUSES[side].color, linewidth=1.2)
    places = ((0.03, 0.3), (0.97, 0.3), (0.5, 0.96), (0.5, 0.04))
    how = {"ha": "center", "va": "center", "path_effects": [withStroke(linewidth=3)]}
    for letter, (x, y) in zip(plane.orientation.letters, places, strict=True):
        axis.text(x, y, letter, color="#ffe08a", fontsize=9, transform=axis.transAxes, **how)
    axis.set_xlim(-half, half)
    axis.set_ylim(-half, half)


def draw_residual(axis: Any, scan: Any, plane: Plane, how: dict[str, Any]) -> None:
    """As the module shows it: colours, window, threshold and opacity are those of the nodes."""
    from matplotlib.colors import ListedColormap

    node = results.residualOf(scan)
    display = node.GetDisplayNode()
    values = sample(node, plane)
    table, rgba = display.GetColorNode(), np.zeros(4)
    colors = []
    for index in range(table.GetNumberOfColors()):
        table.GetColor(index, rgba)
        colors.append(tuple(rgba))
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    axis.imshow(
        np.ma.masked_less(values, display.GetLowerThreshold()),
        cmap=ListedColormap(colors),
        vmin=display.GetWindowLevelMin(),
        vmax=display.GetWindowLevelMax(),
        alpha=composite.GetForegroundOpacity(),
        **how,
        **EXACT,
    )


def draw_outlines(axis: Any, scan: Any, plane: Plane, how: dict[str, Any], outlined: Any) -> None:
    segments = outlined.GetSegmentation()
    for index in range(segments.GetNumberOfSegments()):
        segment = segments.GetNthSegment(index)
        identifier = segments.GetNthSegmentID(index)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(outlined, identifier, scan)
        if mask is not None:
            cut = sampled(mask, scan, plane)
            if cut.max() > 0.5:
                axis.contour(cut, [0.5], colors=[segment.GetColor()], linewidths=1, **how)


def sample(node: Any, plane: Plane) -> np.ndarray:
    return sampled(slicer.util.arrayFromVolume(node), node, plane)


def sampled(kji: np.ndarray, node: Any, plane: Plane) -> np.ndarray:
    voxels = kji.transpose(2, 1, 0).astype(np.float32)
    return plane.sample(voxels, Grid(voxels.shape, affine(node)), PIXELS)


def affine(node: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


if __name__ == "__main__":
    main()
