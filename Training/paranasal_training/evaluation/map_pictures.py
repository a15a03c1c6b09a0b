"""Pictures of test lesions with the maps that are to show them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paranasal_training.evaluation.judged_crops import JudgedCrop, MapSource
from paranasal_training.evaluation.lesion_scores import Thresholds

PICTURES, COLUMNS = 24, 4
TITLE_INCHES = 0.35  # above the pictures


def draw_lesions(
    source: MapSource, test: np.ndarray, region: np.ndarray, thresholds: Thresholds
) -> Figure:
    """Crop, reconstruction and evidence of some test lesions, in the lesion's largest axial plane."""
    rows = test[source.has_lesion(test)]
    count = min(PICTURES, len(rows))
    rows = np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
    lines = -(-count // COLUMNS)
    figure = Figure(figsize=(5.1 * COLUMNS, 2.0 * lines + 0.5))
    axes = figure.subplots(lines, 3 * COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, crop in enumerate(source.of(rows, "picture")):
        line, column = divmod(number, COLUMNS)
        panels = list(axes[line, 3 * column : 3 * column + 3])
        mask = region & (crop.maps["evidence"] > thresholds.healthy)
        _draw_planes(panels, source.store.crops[crop.row], crop, mask)
    simulated = "simulated " if source.store.info.get("simulated", False) else ""
    figure.suptitle(
        f"{count} {simulated}test lesions (red): crop, healthy reconstruction, evidence with its "
        f"mask (yellow) above {thresholds.healthy:.3f}"
    )
    top = 1 - TITLE_INCHES / figure.get_figheight()
    figure.tight_layout(pad=0.3, h_pad=1.0, rect=(0, 0, 1, top))
    return figure


def _draw_planes(panels: list[Axes], image: np.ndarray, crop: JudgedCrop, mask: np.ndarray) -> None:
    at = int(crop.lesion.sum(axis=(0, 1)).argmax())
    shown = ((image / 255, 1.0), (crop.rebuilt, 1.0), (crop.maps["evidence"], 0.6))
    for panel, (values, top) in zip(panels, shown, strict=True):
        panel.imshow(values[:, :, at].T, cmap="gray", origin="lower", vmin=0, vmax=top)
    _outline(panels[0], crop.lesion[:, :, at], "tab:red")
    _outline(panels[2], crop.lesion[:, :, at], "tab:red")
    _outline(panels[2], mask[:, :, at], "gold")
    title = f"{crop.kind} {crop.lesion.sum() / 1000:.1f} ml"
    panels[0].set_title(title, fontsize=7, loc="left")


def _outline(panel: Axes, mask: np.ndarray, color: str) -> None:
    if mask.any() and not mask.all():
        panel.contour(mask.T, [0.5], colors=color, linewidths=0.7)
