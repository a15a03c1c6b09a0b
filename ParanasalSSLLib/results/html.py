"""The page of one scan: one HTML file with pictures, a table and words, from its record."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.levels import RADIOLOGICAL
from ParanasalSSLLib.results.next_step import next_step
from ParanasalSSLLib.results.pictures import ReportPictures, Row, png
from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.sinuses import (
    DECISION_WORDS,
    GRADE_WORDS,
    SINUSES,
    UNKNOWN,
    number_words,
    probability_words,
)

_TEMPLATES = Path(__file__).parents[1] / "data"

VERDICT_WORDS = {
    "ok": "The automatic checks found nothing wrong with where the boxes lie. They say nothing of "
    "whether the model reads the sinuses rightly.",
    "review": "Look at the boxes below before you use the scores: a check was not satisfied.",
    "failed": "The boxes are not to be trusted.",
}


def write_html_report(pictures: ReportPictures, record: ScanRecord, path: Path) -> None:
    """Write the page; all its words and figures come from the record."""
    text = _template().render(
        record=record,
        sinuses=[(side, record.sinuses[side]) for side in RADIOLOGICAL if side in record.sinuses],
        next_step=next_step(record),
        files=ScanFiles(Path(), record.scan),
        outlined=any(sinus.grade is not None for sinus in record.sinuses.values()),
        spacing=" × ".join(f"{mm:.2f}" for mm in record.image.spacing_mm),
        verdicts=VERDICT_WORDS,
        decisions=DECISION_WORDS,
        grades=GRADE_WORDS,
        unknown=UNKNOWN,
        repeatability=record.model.repeatability or {},
        colors={side: _css_color(facts.color) for side, facts in SINUSES.items()},
        boxes=_encoded(pictures.boxes),
        levels=[(level, _encoded(row)) for level, row in pictures.levels],
        residual=_encoded(pictures.residual),
    )
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = number_words
    environment.filters["probability"] = probability_words
    environment.filters["ml"] = _ml
    return environment.get_template("report_template.html")


def _ml(volume: float | None, percent: float | None = None) -> str:
    """A volume, and how much it varies from position to position where that is known."""
    if volume is None:
        return UNKNOWN
    if not percent or not volume:
        return f"{volume:.1f} ml"
    return f"{volume:.1f} ± {max(volume * percent / 100, 0.05):.1f} ml"


def _encoded(row: Row) -> list[tuple[str, str]]:
    """What each picture shows, and its PNG as base64."""
    return [(words, base64.b64encode(png(image)).decode("ascii")) for words, image in row.pictures]


def _css_color(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
