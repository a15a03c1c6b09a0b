"""The pictures of a scan's page: each sinus in three planes, and the head with its boxes, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.results.planes import (
    AXIAL,
    CORONAL,
    ORIENTATIONS,
    SAGITTAL,
    Plane,
    point_of_interest,
)
from ParanasalSSLLib.scans.volume import window_width
from ParanasalSSLLib.sinuses import SINUSES, Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ParanasalSSLLib.predict import ScanResult, SinusResult

DPI = 110
_SIDE_FIELD_MM = 92.0  # edge of a sinus picture: the box and some surroundings
_HEAD_FIELD_MM = 230.0
_SIDE_PIXELS = 230
_HEAD_PIXELS = 230
_RESIDUAL_TOP = 0.5  # residual shown in the brightest colour, the same in all reports
_RESIDUAL_CLEAR = 0.03  # residual below which the colour is fully transparent
_OUTLINE, _CAVITY_OUTLINE = "#19f0ff", "#5be36b"


def side_picture(result: ScanResult, side: Side) -> bytes:
    """PNG: three planes of one sinus, above the scan alone, below with residual and outlines."""
    sinus = result.sinuses[side]
    center = point_of_interest(sinus)
    figure, axes = _dark_figure(rows=2, columns=3, right_margin=0.075)
    painted = None
    for column, orientation in enumerate(ORIENTATIONS):
        plane = Plane.through(center, sinus.box.rotation, orientation, _SIDE_FIELD_MM)
        grey = plane.sample(
            result.volume.data, result.volume, _SIDE_PIXELS, outside=sinus.crop.window[0]
        )
        for row in (0, 1):
            _show_grey(axes[row][column], plane, grey, sinus.crop.window)
        axes[0][column].set_title(orientation.name, color="white", fontsize=9, pad=3)
        painted = _show_residual(axes[1][column], plane, sinus)
        _show_box(axes[1][column], plane, sinus.box, SINUSES[side].color)
        _show_scale(axes[0][column])
    assert painted is not None
    _show_color_bar(figure, painted)
    return _png(figure)


def head_picture(result: ScanResult) -> bytes:
    """PNG: the whole head with both boxes, axial, coronal and one sagittal plane for each box."""
    boxes = {side: sinus.box for side, sinus in result.sinuses.items()}
    planes = list(_head_planes(boxes))
    volume = result.volume
    dark = float(volume.data.min())
    greys = [plane.sample(volume.data, volume, _HEAD_PIXELS, outside=dark) for plane in planes]
    window = tuple(np.percentile(np.stack(greys), (2, 99.5)))
    figure, axes = _dark_figure(rows=1, columns=len(planes))
    for axis, (title, plane), grey in zip(axes[0], _titled(planes, boxes), greys, strict=True):
        _show_grey(axis, plane, grey, window)
        axis.set_title(title, color="white", fontsize=9, pad=3)
        for side, box in boxes.items():
            _show_box(axis, plane, box, SINUSES[side].color, label=side.value)
    return _png(figure)


def _head_planes(boxes: Mapping[Side, SinusBox]) -> Iterable[Plane]:
    middle = np.mean([box.center_ras_mm for box in boxes.values()], axis=0)
    frame = next(iter(boxes.values())).rotation
    # The sinuses lie low and in front: move the picture's middle up and back into the head.
    shift = frame @ np.array([0.0, -45.0, 30.0])
    for orientation in (AXIAL, CORONAL):
        normal = frame[:, 2] if orientation is AXIAL else frame[:, 1]
        center = middle + shift - normal * (shift @ normal)
        yield Plane.through(center, frame, orientation, _HEAD_FIELD_MM)
    for box in boxes.values():
        aside = frame[:, 0] * ((box.center_ras_mm - middle) @ frame[:, 0])
        yield Plane.through(middle + shift + aside, frame, SAGITTAL, _HEAD_FIELD_MM)


def _titled(planes: list[Plane], boxes: Mapping[Side, SinusBox]) -> Iterable[tuple[str, Plane]]:
    titles = [AXIAL.name, CORONAL.name, *(f"Sagittal, {side.value}" for side in boxes)]
    return zip(titles, planes, strict=True)


def _dark_figure(
    rows: int, columns: int, right_margin: float = 0.004
) -> tuple[Figure, list[list[Axes]]]:
    """A black figure of square axes without frames, laid out by hand (fast)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title, cell, gap = 0.22, 2.9 if columns == 3 else 2.3, 0.04
    width = (columns * (cell + gap) + gap) / (1 - right_margin)
    height = title + rows * (cell + gap) + gap
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="black")
    FigureCanvasAgg(figure)
    axes = []
    for row in range(rows):
        bottom = height - title - (row + 1) * (cell + gap)
        lefts = [gap + column * (cell + gap) for column in range(columns)]
        axes.append(
            [
                figure.add_axes((left / width, bottom / height, cell / width, cell / height))
                for left in lefts
            ]
        )
    for axis in (axis for line in axes for axis in line):
        axis.set_axis_off()
    return figure, axes


def _extent(plane: Plane) -> tuple[float, float, float, float]:
    half = plane.field_mm / 2
    return (-half, half, -half, half)


def _show_grey(axis: Axes, plane: Plane, grey: np.ndarray, window: tuple[float, ...]) -> None:
    low, high = window
    axis.imshow(
        (grey - low)
        / window_width(low, high),  # in the scan's own unit it may be beyond Matplotlib
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        origin="lower",
        extent=_extent(plane),
        interpolation="bilinear",
    )
    style: dict[str, Any] = {
        "color": "#ffe08a",
        "fontsize": 9,
        "fontweight": "bold",
        "transform": axis.transAxes,
        "path_effects": _readable(),
    }
    left, right, top, bottom = plane.orientation.letters
    axis.text(0.02, 0.5, left, va="center", ha="left", **style)
    axis.text(0.98, 0.5, right, va="center", ha="right", **style)
    axis.text(0.5, 0.985, top, va="top", ha="center", **style)
    axis.text(0.5, 0.015, bottom, va="bottom", ha="center", **style)


def _readable() -> list[Any]:
    """A dark rim that keeps letters readable on bright tissue."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2, foreground="black")]


def _show_residual(axis: Axes, plane: Plane, sinus: SinusResult) -> Any:
    """Residual in colour, more solid the greater it is, and the outlines of cavity and opacity."""
    residual = plane.sample(sinus.residual, sinus.crop, _SIDE_PIXELS)
    solid = np.clip((residual - _RESIDUAL_CLEAR) / (_RESIDUAL_TOP / 2 - _RESIDUAL_CLEAR), 0, 1)
    painted = axis.imshow(
        residual,
        cmap="inferno",
        vmin=0.0,
        vmax=_RESIDUAL_TOP,
        alpha=0.8 * solid,
        origin="lower",
        extent=_extent(plane),
        interpolation="nearest",
    )
    if sinus.score.measures is not None:
        _show_outline(axis, plane, sinus, sinus.score.measures.cavity, _CAVITY_OUTLINE)
    _show_outline(axis, plane, sinus, sinus.opacity, _OUTLINE)
    return painted


def _show_outline(
    axis: Axes, plane: Plane, sinus: SinusResult, mask: np.ndarray, color: str
) -> None:
    """The outline of a bool mask (64, 64, 64) of the crop's grid, where the plane meets it."""
    values = plane.sample(mask.astype(np.float32), sinus.crop, _SIDE_PIXELS)
    if values.max() > 0.5:
        axis.contour(values, levels=[0.5], colors=[color], linewidths=1.1, extent=_extent(plane))


def _show_box(
    axis: Axes,
    plane: Plane,
    box: SinusBox,
    color: tuple[float, float, float],
    label: str | None = None,
) -> None:
    corners = plane.cut(box)
    if not len(corners):
        return
    closed = np.vstack([corners, corners[:1]])
    # Solid where boxes are what the picture is about (they have labels), else unobtrusive.
    style: Any = "solid" if label else (0, (4, 2))
    axis.plot(closed[:, 0], closed[:, 1], color=color, linewidth=1.3, linestyle=style)
    if label:
        x, y = corners[:, 0].mean(), corners[:, 1].min()
        text = axis.text(x, y - 2, label, color=color, fontsize=8, ha="center", va="top")
        text.set_path_effects(_readable())


def _show_scale(axis: Axes) -> None:
    """A bar of 10 mm in the lower left corner."""
    start = -_SIDE_FIELD_MM / 2 + 5
    axis.plot([start, start + 10], [start, start], color="white", linewidth=2)
    axis.text(start + 5, start + 1.5, "10 mm", color="white", fontsize=7, ha="center", va="bottom")


def _show_color_bar(figure: Figure, painted: Any) -> None:
    from matplotlib.cm import ScalarMappable

    axis = figure.add_axes((0.938, 0.08, 0.014, 0.34))
    # The mappable of its own is opaque, unlike the painted image.
    bar = figure.colorbar(ScalarMappable(painted.norm, painted.cmap), cax=axis, extend="max")
    bar.outline.set_edgecolor("white")
    bar.set_ticks([0.0, 0.25, 0.5])
    axis.tick_params(colors="white", labelsize=7)
    axis.set_title("residual", color="white", fontsize=7)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="black", pil_kwargs={"compress_level": 4})
    return stream.getvalue()
