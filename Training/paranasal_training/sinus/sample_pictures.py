"""Pictures of samples and of real crops beside one another, to look at before training on them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ParanasalSSLLib.files import write_whole

Panel = tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None]


def stored_panels(folder: Path, rows: Sequence[int]) -> list[Panel]:
    """Title, image, cavity and opacity of samples of a store."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        table = {int(line["sample"]): line for line in csv.DictReader(file)}
    maps = {n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("image", "cavity", "opacity")}
    panels = []
    for row in rows:
        facts = table[row]
        signal = "" if facts["signal"] == "nan" else f" s{float(facts['signal']):.2f}"
        title = (
            f"{facts['kind']} {float(facts['opacity_ml']):.1f}/{float(facts['cavity_ml']):.0f} ml"
            f"{signal} {facts['contrast']}\n{Path(facts['scan']).name.split('.')[0]} {facts['side']}"
            f" {facts['slice_mm']}{facts['plane']}"
        )
        image = np.concatenate([maps["image"][row][0], maps["image"][row][1]], axis=0) / 255
        panels.append((title, image, maps["cavity"][row] / 255, maps["opacity"][row] / 255))
    return panels


def draw_sheet(panels: Sequence[Panel], output: Path, columns: int = 4) -> Path:
    """Axial, coronal and sagittal planes of each panel: cavity outlined green, opacity red.

    Lateral is left, the other side (mirrored alike) on the right of the axial and coronal planes.
    """
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(6.4 * columns, 1.75 * lines), facecolor="white")
    ratios = {"width_ratios": [2, 2, 1] * columns}
    axes = figure.subplots(lines, 3 * columns, squeeze=False, gridspec_kw=ratios)
    for axis in axes.flat:
        axis.set_axis_off()
    for position, panel in enumerate(panels):
        line, column = divmod(position, columns)
        _draw(list(axes[line, 3 * column : 3 * column + 3]), panel)
    figure.subplots_adjust(0, 0, 1, 0.985, 0.02, 0.2)
    with write_whole(output) as temporary:
        figure.savefig(temporary, dpi=60)
    return Path(output)


def _draw(axes: list[Axes], panel: Panel) -> None:
    title, image, cavity, opacity = panel
    n = image.shape[1]
    center = np.array([n // 2] * 3)
    shown = opacity if opacity is not None and opacity.sum() > 50 else cavity
    if shown is not None and shown.sum() > 50:
        center = np.array(
            [int((np.indices(shown.shape)[a] * shown).sum() / shown.sum()) for a in range(3)]
        )
    for axis, area in zip((2, 1, 0), axes, strict=True):
        whole = image if axis else image[:n]
        area.imshow(whole.take(center[axis], axis).T, cmap="gray", origin="lower", vmin=0, vmax=1)
        for field, color in ((cavity, "lime"), (opacity, "red")):
            if field is not None and field.take(center[axis], axis).max() > 0.5:
                area.contour(field.take(center[axis], axis).T, [0.5], colors=color, linewidths=0.7)
    axes[0].set_title(title, fontsize=8, loc="left")
