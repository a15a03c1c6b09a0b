"""A sheet of lesions that were inserted into real sinuses, with the mask that was found."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.predict import SinusResult

DRAWN = 24


class LesionPictures:
    """A random 24 of all lesions (reservoir sampling); the others are not kept in memory."""

    def __init__(self, seed: int) -> None:
        self.rng, self.seen = np.random.default_rng(seed), 0
        self.kept: list[tuple[int, str, SinusResult]] = []

    def add(self, title: str, result: SinusResult) -> None:
        """Keep one, perhaps, in the place of another."""
        self.seen += 1
        if len(self.kept) < DRAWN:
            self.kept.append((self.seen, title, result))
        elif (place := int(self.rng.integers(self.seen))) < DRAWN:
            self.kept[place] = (self.seen, title, result)

    def draw(self, path: Path) -> None:
        """PNG: three planes of each crop, with the mask outlined in yellow."""
        figure = Figure(figsize=(20, 14))
        axes = figure.subplots(6, 12, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for position, (_, title, result) in enumerate(sorted(self.kept, key=itemgetter(0))):
            line, column = divmod(position, 4)
            _draw_planes(list(axes[line, 3 * column : 3 * column + 3]), result)
            words = f"{title}\np = {result.score.probability:.2f}"
            axes[line, 3 * column].set_title(words, fontsize=6)
        figure.tight_layout(pad=0.3, h_pad=1.6)
        with write_whole(path) as temporary:
            figure.savefig(temporary, dpi=80)


def _draw_planes(axes: list[Axes], result: SinusResult) -> None:
    for axis, panel in zip((2, 1, 0), axes, strict=True):
        at = int(result.opacity.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) or 32
        panel.imshow(result.crop.data.take(at, axis).T, cmap="gray", origin="lower")
        outline = result.opacity.take(at, axis).T
        if outline.any():
            panel.contour(outline, [0.5], colors="gold", linewidths=0.8)
