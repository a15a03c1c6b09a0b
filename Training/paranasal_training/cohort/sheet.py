"""A picture sheet of a crop store, to look at before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paranasal_training.cohort.config import SheetConfig
from paranasal_training.data.store import CropStore
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.sinuses import Kind


def draw_sheet(config: SheetConfig, output: Path) -> Path:
    """Draw axial, coronal and sagittal planes of random crops, lesions outlined in red, to a PNG.

    Planes cut the lesion's densest slice, or the cube's centre. Lateral is left and anterior or
    superior is up, as stored: right sinuses are mirrored.
    """
    store = CropStore.open(config.store)
    rng = np.random.default_rng(config.seed)
    count = min(config.crops, len(store.table))
    rows = np.sort(rng.choice(len(store.table), count, replace=False))
    lines = -(-count // config.columns)
    figure = Figure(figsize=(4.2 * config.columns, 1.65 * lines), facecolor="white")
    axes = figure.subplots(lines, 3 * config.columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for position, row in enumerate(rows):
        line, column = divmod(position, config.columns)
        lesion = None if store.lesions is None else np.asarray(store.lesions[row]) > 0
        panels = list(axes[line, 3 * column : 3 * column + 3])
        _draw_crop(panels, np.asarray(store.crops[row]), lesion)
        axes[line, 3 * column].set_title(_title(store.table.iloc[row]), fontsize=6, loc="left")
    simulated = store.info.get("simulated", False)
    figure.suptitle(f"{'Simulated crops' if simulated else 'Crops'}: {count} of {len(store.table)}")
    figure.tight_layout(pad=0.3, h_pad=1.6, rect=(0, 0, 1, 0.97))
    with write_whole(output) as temporary:
        figure.savefig(temporary, dpi=110)
    return Path(output)


def _draw_crop(axes: list[Axes], crop: np.ndarray, lesion: np.ndarray | None) -> None:
    center = [n // 2 for n in crop.shape]
    if lesion is not None and lesion.any():
        center = [int(lesion.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]
    for axis, panel in zip((2, 1, 0), axes, strict=True):
        plane = crop.take(center[axis], axis=axis).T
        panel.imshow(plane, cmap="gray", origin="lower", vmin=0, vmax=255)
        if lesion is not None:
            outline = lesion.take(center[axis], axis=axis).T
            if outline.any() and not outline.all():
                panel.contour(outline, [0.5], colors="tab:red", linewidths=0.7)


def _title(row: object) -> str:
    kind = getattr(row, "true_class", None)
    name = "" if kind is None else Kind(int(kind)).name.lower()
    ml = getattr(row, "lesion_ml", 0) or 0
    size = f" {ml:.1f} ml" if ml else ""
    return f"{row.patient} {row.side} {name}{size}\n{row.source}"  # type: ignore[attr-defined]
