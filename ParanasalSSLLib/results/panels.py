"""One picture of a plane: grey values, outlines, colours, letters and a scale, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.results.planes import Orientation, Plane
from ParanasalSSLLib.scans.volume import Volume, window_width

Color = tuple[int, int, int]

# Blue and orange are told apart in all forms of colour blindness, and from the grey scan.
CAVITY: Color = (0, 213, 255)
OPACITY: Color = (255, 140, 26)
OUTSIDE: Color = (52, 62, 76)  # where the scan ends; air is black
WHITE: Color = (255, 255, 255)
LETTERS: Color = (255, 224, 138)
TEXT_PIXELS = 20
GREYS = 85  # of a scan: so few that the files stay small, and no step between them is seen
_LINE_PIXELS = 3.0
_APART_PIXELS = 1.5  # of an outline from the edge: two outlines at the same edge are both seen
RESIDUAL_TOP = 0.5  # residual in the brightest colour, the same in all reports
_RESIDUAL_CLEAR = 0.03  # residual below which the colour is fully transparent


def draw_scan(
    plane: Plane, volume: Volume, window: tuple[float, float], pixels: int
) -> Image.Image:
    """The scan in a plane, window[0] black and window[1] white; `OUTSIDE` where it has no voxel."""
    low, high = window
    values = plane.sample(volume.data, volume, pixels, outside=None).astype(np.float64)
    grey = np.clip((values - low) / window_width(low, high), 0.0, 1.0)
    levels = np.round(GREYS * grey) * (255 // GREYS)
    rgb = np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)
    rgb[~plane.inside(volume, pixels)] = OUTSIDE
    return Image.fromarray(rgb[::-1].copy())


def draw_outline(
    image: Image.Image, plane: Plane, mask: np.ndarray, grid: Grid, color: Color, within: bool
) -> None:
    """The outline of a bool mask of that grid, where the plane meets it.

    within: just inside its edge, else just outside.
    """
    filled = plane.sample(mask.astype(np.float32), grid, image.width) > 0.5
    if not filled.any():
        return
    depth = ndimage.distance_transform_edt(filled) - ndimage.distance_transform_edt(~filled)
    depth -= np.sign(depth) / 2
    away = abs(depth + (-_APART_PIXELS if within else _APART_PIXELS))[::-1]
    _paint(image, (0, 0, 0), 0.6 * np.clip(_LINE_PIXELS / 2 + 1.5 - away, 0, 1))
    _paint(image, color, np.clip(_LINE_PIXELS / 2 + 0.5 - away, 0, 1))


def draw_residual(image: Image.Image, plane: Plane, residual: np.ndarray, grid: Grid) -> None:
    """The residual in colour, more solid the greater it is."""
    values = plane.sample(residual, grid, image.width)[::-1]
    solid = (values - _RESIDUAL_CLEAR) / (RESIDUAL_TOP / 2 - _RESIDUAL_CLEAR)
    _paint(image, residual_colors(values), 0.8 * np.clip(solid, 0, 1))


def residual_colors(values: np.ndarray) -> np.ndarray:
    """(...) residual -> (..., 3) 0..255: black, red, yellow, white at `RESIDUAL_TOP`."""
    scaled = 3 * np.clip(values / RESIDUAL_TOP, 0, 1)[..., None]
    return 255 * np.clip(scaled - np.arange(3), 0, 1)


def _paint(image: Image.Image, color: Color | np.ndarray, opacity: np.ndarray) -> None:
    """Put a colour, or (n, n, 3) colours, over the image; opacity (n, n) 0..1."""
    over = np.broadcast_to(np.round(color).astype(np.uint8), (*opacity.shape, 3))
    mask = Image.fromarray(np.round(255 * opacity).astype(np.uint8))
    image.paste(Image.fromarray(np.ascontiguousarray(over)), mask=mask)


def draw_box(
    image: Image.Image, plane: Plane, box: SinusBox, color: Color, label: str = ""
) -> None:
    """Where the plane cuts the box, and a word below."""
    corners = plane.cut(box)
    if not len(corners):
        return
    scale = image.width / plane.field_mm
    points = [((x * scale + image.width / 2), (image.width / 2 - y * scale)) for x, y in corners]
    ImageDraw.Draw(image).line([*points, points[0], points[1]], fill=color, width=3, joint="curve")
    below = (np.mean([x for x, _ in points]), max(y for _, y in points) + 4)
    write(image, below, label, "ma", color)


def draw_letters(image: Image.Image, orientation: Orientation) -> None:
    """Which way is right, left, front, back, up and down."""
    size, edge = image.width, 7
    places = [(edge, size / 2), (size - edge, size / 2), (size / 2, edge), (size / 2, size - edge)]
    for letter, place, anchor in zip(
        orientation.letters, places, ("lm", "rm", "ma", "md"), strict=True
    ):
        write(image, place, letter, anchor, LETTERS)


def draw_scale(image: Image.Image, plane: Plane, mm: int) -> None:
    """A bar of that length in the lower left corner, white with a dark rim, and the length."""
    left, bottom, length = 14, image.height - 14, mm * image.width / plane.field_mm
    drawing = ImageDraw.Draw(image)
    bar = (left, bottom - 5, left + round(length) - 1, bottom)
    drawing.rectangle((bar[0] - 2, bar[1] - 2, bar[2] + 2, bar[3] + 2), fill=(0, 0, 0))
    drawing.rectangle(bar, fill=WHITE)
    write(image, (left, bottom - 10), f"{mm} mm", "ls", WHITE)


def write(
    image: Image.Image,
    place: Sequence[float],
    words: str,
    anchor: str,
    color: Color,
) -> None:
    """Words with a dark rim, readable on any tissue; anchor as Pillow names it."""
    ImageDraw.Draw(image).text(
        (float(place[0]), float(place[1])), words, color, _font(), anchor, stroke_width=2,
        stroke_fill=(0, 0, 0),
    )  # fmt: skip


@lru_cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PIXELS)


def width_of(words: str) -> float:
    """Of written words, pixels."""
    return _font().getlength(words)
