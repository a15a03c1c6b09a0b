"""The HTML report of one scan: one file with pictures, a table and words.

Pictures are planes resampled in a box's own frame, so that an oblique or tilted scan looks upright,
in the radiological convention (the patient's right on the viewer's left).
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.sinuses import SINUSES, Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ParanasalSSLLib.predict import ScanResult, SinusResult

_TEMPLATE = Path(__file__).parents[1] / "data" / "report_template.html"
_SIDE_FIELD_MM = 92.0  # edge of a sinus picture: the box and some surroundings
_HEAD_FIELD_MM = 230.0
_SIDE_PIXELS = 230
_HEAD_PIXELS = 230
_RESIDUAL_TOP = 0.5  # residual shown in the brightest colour, the same in all reports
_RESIDUAL_CLEAR = 0.03  # residual below which the colour is fully transparent
_DPI = 110
_OUTLINE = "#19f0ff"

VERDICT_WORDS = {
    "ok": "The automatic checks found nothing wrong with the position of the boxes.",
    "review": "Look at the boxes below before you use the scores: a check was not satisfied.",
    "failed": "The boxes are not to be trusted.",
}
DECISION_WORDS = {
    "anomaly": "Anomaly suspected",
    "clear": "No anomaly suspected",
}


# ----------------------------------------------------------------------------------- planes


@dataclass(frozen=True)
class Orientation:
    """A plane in a box's frame (x right, y front, z up).

    right, up: axis and sign that run to the right and up on the screen
    letters: at the left, right, top and bottom of the picture
    """

    name: str
    right: tuple[int, int]
    up: tuple[int, int]
    letters: tuple[str, str, str, str]


AXIAL = Orientation("Axial", (0, -1), (1, 1), ("R", "L", "A", "P"))
CORONAL = Orientation("Coronal", (0, -1), (2, 1), ("R", "L", "S", "I"))
SAGITTAL = Orientation("Sagittal", (1, -1), (2, 1), ("A", "P", "S", "I"))
ORIENTATIONS = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True, eq=False)
class Plane:
    """A square picture plane in the head.

    center: (3,) RAS mm; right, up: (3,) unit vectors in RAS; field_mm: edge of the square
    """

    orientation: Orientation
    center: np.ndarray
    right: np.ndarray
    up: np.ndarray
    field_mm: float

    @classmethod
    def through(
        cls, center: np.ndarray, rotation: np.ndarray, orientation: Orientation, field_mm: float
    ) -> Plane:
        """The plane of that orientation through `center` in the frame `rotation` (a box's)."""
        (right, right_sign), (up, up_sign) = orientation.right, orientation.up
        return cls(
            orientation,
            np.asarray(center, float),
            right_sign * rotation[:, right],
            up_sign * rotation[:, up],
            field_mm,
        )

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.right, self.up)

    def sample(
        self, data: np.ndarray, affine: np.ndarray, pixels: int, outside: float = 0.0
    ) -> np.ndarray:
        """(pixels, pixels) linear samples of `data`; row 0 is the lowest row of the picture."""
        steps = (np.arange(pixels) + 0.5) / pixels * self.field_mm - self.field_mm / 2
        to_index = np.linalg.inv(affine)
        origin = to_index[:3, :3] @ self.center + to_index[:3, 3]
        along, upward = to_index[:3, :3] @ self.right, to_index[:3, :3] @ self.up
        indices = (
            origin[:, None, None]
            + upward[:, None, None] * steps[None, :, None]
            + along[:, None, None] * steps[None, None, :]
        )
        return ndimage.map_coordinates(data, indices, order=1, cval=outside, output=np.float32)

    def on_screen(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) RAS mm -> (N, 2) mm to the right of and above the picture's centre."""
        offsets = np.asarray(points) - self.center
        return np.stack([offsets @ self.right, offsets @ self.up], axis=1)

    def cut(self, box: SinusBox) -> np.ndarray:
        """Corners (N, 2) on screen of the polygon in which the plane cuts the box; N may be 0."""
        ends = np.array(list(_edges(box)))
        heights = (ends - self.center) @ self.normal
        crossing = (heights[:, 0] < 0) != (heights[:, 1] < 0)
        ends, heights = ends[crossing], heights[crossing]
        if len(ends) < 3:
            return np.empty((0, 2))
        part = heights[:, 0] / (heights[:, 0] - heights[:, 1])
        points = self.on_screen(ends[:, 0] + part[:, None] * (ends[:, 1] - ends[:, 0]))
        angle = np.arctan2(*(points - points.mean(axis=0)).T[::-1])
        return points[np.argsort(angle)]


def _edges(box: SinusBox) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """The twelve edges of a box, as pairs of RAS points."""
    corners = box.corners_ras_mm()
    for first, second in combinations(corners, 2):
        if np.count_nonzero(np.abs((second - first) @ box.rotation) > box.edge_mm / 2) == 1:
            yield first, second


def point_of_interest(sinus: SinusResult) -> np.ndarray:
    """RAS mm through which the three planes of a sinus pass.

    The middle of the largest marked part (the voxel of it that is nearest to its centre), or the
    box's centre where nothing is marked.
    """
    parts, number = ndimage.label(sinus.opacity)
    if number == 0:
        return np.asarray(sinus.box.center_ras_mm, float)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    voxels = np.argwhere(parts == sizes.argmax())
    middle = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return sinus.crop.affine[:3, :3] @ middle + sinus.crop.affine[:3, 3]


# ---------------------------------------------------------------------------------- pictures


def side_picture(result: ScanResult, side: Side) -> bytes:
    """PNG: three planes of one sinus, above the scan alone, below with residual and outlines."""
    sinus = result.sinuses[side]
    center = point_of_interest(sinus)
    figure, axes = _dark_figure(rows=2, columns=3, right_margin=0.075)
    painted = None
    for column, orientation in enumerate(ORIENTATIONS):
        plane = Plane.through(center, sinus.box.rotation, orientation, _SIDE_FIELD_MM)
        grey = plane.sample(
            result.volume.data, result.volume.affine, _SIDE_PIXELS, outside=sinus.crop.window[0]
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
    data, affine = result.volume.data, result.volume.affine
    greys = [plane.sample(data, affine, _HEAD_PIXELS) for plane in planes]
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
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="black")
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
    axis.imshow(
        grey,
        cmap="gray",
        vmin=window[0],
        vmax=max(window[1], window[0] + 1e-6),
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
    """Residual in colour, more solid the greater it is, and the outline of the marked part."""
    residual = plane.sample(sinus.residual, sinus.crop.affine, _SIDE_PIXELS)
    marked = plane.sample(sinus.opacity.astype(np.float32), sinus.crop.affine, _SIDE_PIXELS)
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
    if marked.max() > 0.5:
        axis.contour(marked, levels=[0.5], colors=[_OUTLINE], linewidths=1.1, extent=_extent(plane))
    return painted


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


# ------------------------------------------------------------------------------------- words


def write_html_report(result: ScanResult, report: Mapping[str, Any], path: Path) -> None:
    """Write the report; `report` is the content of report.json, from which all figures come."""
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        scan=html.escape(report["scan"]),
        image=html.escape(_image_words(report["image"])),
        notices=_notices(report),
        rows="\n".join(_row(side, report["sinuses"][side.value]) for side in result.sinuses),
        threshold=f"{report['model']['decision_threshold']:.2f}",
        verdict=report["quality"]["verdict"],
        quality=_quality_words(report["quality"]),
        head=base64.b64encode(head_picture(result)).decode("ascii"),
        sides="\n".join(_side_section(result, side) for side in result.sinuses),
        footer=html.escape(_footer(report)),
        **{name: html.escape(report["files"][name]) for name in _LINKED},
    )
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_LINKED = ("segmentation", "boxes", "residual_map")


def _image_words(image: Mapping[str, Any]) -> str:
    shape = " × ".join(str(n) for n in image["shape"])
    spacing = " × ".join(f"{mm:.2f}" for mm in image["spacing_mm"])
    return f"{shape} voxels of {spacing} mm"


def _notices(report: Mapping[str, Any]) -> str:
    note = [f"About this scan: {report['note']}"] if report["note"] else []
    sentences = [*note, report["notice"], *report["model"]["notices"]]
    return "<br>".join(html.escape(sentence) for sentence in sentences)


def _row(side: Side, sinus: Mapping[str, Any]) -> str:
    color = "#" + "".join(f"{round(255 * part):02x}" for part in SINUSES[side].color)
    decision, probability = sinus["decision"], sinus["probability"]
    shown = min(max(probability, 0.01), 0.99)  # nothing is ever certain
    word_class = ' class="anomaly-word"' if decision == "anomaly" else ""
    return (
        f'<tr><td><span class="swatch" style="background:{color}"></span>'
        f"{html.escape(sinus['name'])}</td>"
        f'<td class="number">{shown:.2f}<span class="bar {decision}">'
        f'<i style="width:{probability:.1%}"></i>'
        f'<b style="left:{sinus["threshold"]:.1%}"></b></span></td>'
        f"<td{word_class}>{DECISION_WORDS[decision]}</td>"
        f'<td class="number">{sinus["anomaly_ml"]:.1f} ml</td>'
        f'<td class="number">{sinus["share_of_cube"]:.1%}</td></tr>'
    )


def _quality_words(quality: Mapping[str, Any]) -> str:
    words = html.escape(VERDICT_WORDS[quality["verdict"]])
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in quality["reasons"])
    return f"{words}<ul>{reasons}</ul>" if reasons else words


def _side_section(result: ScanResult, side: Side) -> str:
    sinus = result.sinuses[side]
    where = (
        "the middle of the largest marked part"
        if sinus.opacity.any()
        else "the middle of the box (nothing is marked)"
    )
    picture = base64.b64encode(side_picture(result, side)).decode("ascii")
    name = html.escape(SINUSES[side].name)
    return (
        f"<h2>{name}</h2>\n<figure>"
        f'<img alt="{name} in three planes, with the residual in colour" '
        f'src="data:image/png;base64,{picture}">\n'
        f"<figcaption>Planes through {where}. Above: the scan. Below: the same with the residual "
        f"in colour, the outline of what is marked (light blue) and the box.</figcaption></figure>"
    )


def _footer(report: Mapping[str, Any]) -> str:
    model, software = report["model"], report["software"]
    return (
        f"{software['name']} {software['version']} · model {model['name']} {model['version']} "
        f"(SHA-256 of the weights {model['weights_sha256']}) · {report['notice']}"
    )
