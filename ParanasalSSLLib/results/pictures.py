"""The report's pictures: both sinuses beside one another at some levels, and the head with its boxes.

Radiological convention: the patient's right is on the viewer's left.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.results.layout import PICTURES, ScanFiles
from ParanasalSSLLib.results.levels import RADIOLOGICAL, Level, SinusPair, levels_of
from ParanasalSSLLib.results.panels import (
    CAVITY,
    OPACITY,
    OUTSIDE,
    RESIDUAL_TOP,
    WHITE,
    Color,
    draw_box,
    draw_letters,
    draw_outline,
    draw_residual,
    draw_scale,
    draw_scan,
    residual_colors,
    width_of,
    write,
)
from ParanasalSSLLib.results.planes import (
    AXIAL,
    CORONAL,
    ORIENTATIONS,
    SAGITTAL,
    Orientation,
    Plane,
)
from ParanasalSSLLib.sinuses import SINUSES, Side

if TYPE_CHECKING:
    from ParanasalSSLLib.predict import ScanResult, SinusResult

PIXELS = 320  # edge of one picture
GAP, STRIP = 6, 34  # between pictures; height of a line of words
_HEAD_FIELD_MM = 230.0


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures that belong together, side by side: words for what each shows, and the picture."""

    pictures: tuple[tuple[str, Image.Image], ...]

    def together(self, title: str) -> Image.Image:
        """All of them in one picture, under a title."""
        images = [image for _, image in self.pictures]
        return _sheet([images], [title], gap=4 * GAP)


@dataclass(frozen=True, eq=False)
class ReportPictures:
    """All pictures of one scan.

    boxes: the head with its boxes. levels: the middle of the sinuses first, then the findings.
    residual: at the largest finding, or in the middle where there is none.
    """

    boxes: Row
    levels: tuple[tuple[Level, Row], ...]
    residual: Row


def draw_pictures(result: ScanResult) -> ReportPictures:
    """Draw what the report shows."""
    pair = SinusPair.of(_boxes(result))
    levels = levels_of(result, pair)
    scene = _Scene(result, pair, _window(result))
    return ReportPictures(
        _head_row(result, pair),
        tuple((level, _row(level, scene.outlines)) for level in levels),
        _row(levels[:2][-1], scene.residual),
    )


def write_key_images(pictures: ReportPictures, files: ScanFiles) -> None:
    """Write the boxes and each level as a PNG file of its own, whole or not at all."""
    rows = {"boxes": pictures.boxes} | {level.name: row for level, row in pictures.levels}
    for name, row in rows.items():
        image = row.together(_title(files.scan_id, name))
        with write_whole(files.slices(name)) as temporary:
            temporary.write_bytes(png(image))


def rename_key_images(files: ScanFiles) -> None:
    """Write the scan's id into the titles of pictures that another id stands in, maybe a name."""
    for name in PICTURES:
        path = files.slices(name)
        if path.is_file():
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            image.paste((0, 0, 0), (0, 0, image.width, STRIP))
            write(image, (image.width / 2, STRIP / 2), _title(files.scan_id, name), "mm", WHITE)
            path.write_bytes(png(image))


def _title(scan_id: str, name: str) -> str:
    """Of a picture. name: one of `layout.PICTURES`."""
    levels = [Level((0.0, 0.0, 0.0), side) for side in (None, *Side)]
    words = {"boxes": "The boxes"} | {level.name: level.words for level in levels}
    return f"{scan_id}: {words[name]}. Research use only, no diagnosis."


def png(image: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def _row(level: Level, draw: Callable[[Orientation, Level], Image.Image]) -> Row:
    return Row(tuple((o.name, draw(o, level)) for o in ORIENTATIONS))


def _boxes(result: ScanResult) -> dict[Side, SinusBox]:
    return {side: sinus.box for side, sinus in result.sinuses.items()}


def _window(result: ScanResult) -> tuple[float, float]:
    """One for both sides, so that they can be compared: from the darkest to the brightest crop."""
    crops = [sinus.crop for sinus in result.sinuses.values()]
    windows = [crop.window for crop in crops if crop.inside.any()] or [(0.0, 1.0)]
    return min(low for low, _ in windows), max(high for _, high in windows)


# ------------------------------------------------------------------------------------ the sinuses


@dataclass(frozen=True, eq=False)
class _Scene:
    """The pictures of the sinuses, all of one field of view and one window."""

    result: ScanResult
    pair: SinusPair
    window: tuple[float, float]

    def outlines(self, orientation: Orientation, level: Level) -> Image.Image:
        """Both sides: above the scan alone, below with the outlines of cavity and opacity."""
        above, below = [], []
        for side in RADIOLOGICAL:
            plane = self.pair.plane(side, orientation, level)
            scan = draw_scan(plane, self.result.volume, self.window, PIXELS)
            outlined = scan.copy()
            if side in self.result.sinuses:
                _draw_outlines(outlined, plane, self.result.sinuses[side])
            above.append(_furnished(scan, plane))
            below.append(_furnished(outlined, plane))
        return _sheet([above, below], self._titles(orientation), self._legend(orientation, level))

    def residual(self, orientation: Orientation, level: Level) -> Image.Image:
        """Both sides with the residual in colour."""
        pictures = []
        for side in RADIOLOGICAL:
            plane = self.pair.plane(side, orientation, level)
            scan = draw_scan(plane, self.result.volume, self.window, PIXELS)
            if side in self.result.sinuses:
                sinus = self.result.sinuses[side]
                draw_residual(scan, plane, sinus.residual, sinus.crop)
            pictures.append(_furnished(scan, plane))
        return _sheet([pictures], self._titles(orientation), _residual_legend())

    def _titles(self, orientation: Orientation) -> list[str]:
        left, right = (
            side.capitalize() + ("" if side in self.result.sinuses else " (not scored)")
            for side in RADIOLOGICAL
        )
        return [left, orientation.name, right]

    def _legend(self, orientation: Orientation, level: Level) -> Image.Image:
        entries = [(OPACITY, "opacity")]
        if any(sinus.score.measures is not None for sinus in self.result.sinuses.values()):
            entries.insert(0, (CAVITY, "cavity"))
        planes = [self.pair.plane(side, orientation, level) for side in RADIOLOGICAL]
        if not all(plane.inside(self.result.volume, PIXELS).all() for plane in planes):
            entries.append((OUTSIDE, "not in the scan"))
        return _legend(entries)


def _draw_outlines(image: Image.Image, plane: Plane, sinus: SinusResult) -> None:
    if sinus.score.measures is not None:
        cavity = sinus.score.measures.cavity
        draw_outline(image, plane, cavity, sinus.crop, CAVITY, within=False)
    draw_outline(image, plane, sinus.opacity, sinus.crop, OPACITY, within=True)


def _furnished(image: Image.Image, plane: Plane, scale_mm: int = 10) -> Image.Image:
    draw_letters(image, plane.orientation)
    draw_scale(image, plane, scale_mm)
    return image


# --------------------------------------------------------------------------------------- the head


def _head_row(result: ScanResult, pair: SinusPair) -> Row:
    """The head in planes through the middle of the boxes, one sagittal for each box."""
    boxes = _boxes(result)
    planes = dict(_head_planes(boxes, pair))
    window = _head_window(result, list(planes.values()))
    pictures = []
    for words, plane in planes.items():
        image = draw_scan(plane, result.volume, window, PIXELS)
        for side, box in boxes.items():
            draw_box(image, plane, box, _bytes(SINUSES[side].color), side.value)
        pictures.append((words, _sheet([[_furnished(image, plane, 50)]], [words])))
    return Row(tuple(pictures))


def _head_planes(boxes: Mapping[Side, SinusBox], pair: SinusPair) -> Iterable[tuple[str, Plane]]:
    middle = np.mean([box.center_ras_mm for box in boxes.values()], axis=0)
    # The sinuses lie low and in front: move the picture's middle up and back into the head.
    shift = pair.rotation @ np.array([0.0, -45.0, 30.0])
    for orientation in (AXIAL, CORONAL):
        normal = pair.rotation[:, orientation.normal]
        center = middle + shift - normal * (shift @ normal)
        yield orientation.name, Plane.through(center, pair.rotation, orientation, _HEAD_FIELD_MM)
    right = pair.rotation[:, 0]
    for side in (side for side in RADIOLOGICAL if side in boxes):
        center = middle + shift + right * ((boxes[side].center_ras_mm - middle) @ right)
        plane = Plane.through(center, pair.rotation, SAGITTAL, _HEAD_FIELD_MM)
        yield f"{SAGITTAL.name}, {side}", plane


def _head_window(result: ScanResult, planes: Sequence[Plane]) -> tuple[float, float]:
    volume = result.volume
    values = np.stack([plane.sample(volume.data, volume, PIXELS, outside=None) for plane in planes])
    inside = np.stack([plane.inside(volume, PIXELS) for plane in planes])
    low, high = np.percentile(values[inside], (2, 99.5))
    return float(low), float(high)


def _bytes(rgb: Sequence[float]) -> Color:
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


# ----------------------------------------------------------------------------------------- sheets


def _sheet(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    legend: Image.Image | None = None,
    gap: int = GAP,
) -> Image.Image:
    """Pictures of one size in rows, with words above, evenly spread, and a legend below."""
    width, height = rows[0][0].size
    columns, bottom = len(rows[0]), STRIP + len(rows) * (height + gap) - gap
    total = bottom + (STRIP if legend else 0)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, total))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * (width + gap), STRIP + y * (height + gap)))
    for number, words in enumerate(titles):
        place = (sheet.width * (2 * number + 1) / (2 * len(titles)), STRIP / 2)
        write(sheet, place, words, "mm", WHITE)
    if legend:
        sheet.paste(legend, (0, bottom))
    return sheet


def _legend(entries: Iterable[tuple[Color, str]]) -> Image.Image:
    strip, x = Image.new("RGB", (2 * PIXELS + GAP, STRIP)), 8
    for color, words in entries:
        half = 9 if color == OUTSIDE else 3  # an area, a line
        strip.paste(color, (x, STRIP // 2 - half, x + 28, STRIP // 2 + half))
        write(strip, (x + 36, STRIP / 2), words, "lm", WHITE)
        x += 36 + round(width_of(words)) + 28
    return strip


def _residual_legend() -> Image.Image:
    strip, x = Image.new("RGB", (2 * PIXELS + GAP, STRIP)), 8
    colors = np.round(residual_colors(np.linspace(0, RESIDUAL_TOP, 160))).astype(np.uint8)
    write(strip, (x, STRIP / 2), "residual 0", "lm", WHITE)
    x += round(width_of("residual 0")) + 10
    strip.paste(Image.fromarray(np.repeat(colors[None], STRIP // 2, axis=0)), (x, STRIP // 4))
    write(strip, (x + len(colors) + 10, STRIP / 2), f"{RESIDUAL_TOP} or more", "lm", WHITE)
    return strip
