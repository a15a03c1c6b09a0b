"""The page of one scan: one HTML file with pictures, a table and words, from its record."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.next_step import next_step
from ParanasalSSLLib.results.pictures import head_picture, side_picture
from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.sinuses import DECISION_WORDS, SINUSES, Side, probability_words

if TYPE_CHECKING:
    from ParanasalSSLLib.predict import ScanResult

_TEMPLATES = Path(__file__).parents[1] / "data"

RADIOLOGICAL = (Side.RIGHT, Side.LEFT)  # the patient's right is on the viewer's left
VERDICT_WORDS = {
    "ok": "The automatic checks found nothing wrong with where the boxes lie. They say nothing of "
    "whether the model reads the sinuses rightly.",
    "review": "Look at the boxes below before you use the scores: a check was not satisfied.",
    "failed": "The boxes are not to be trusted.",
}


def write_html_report(result: ScanResult, record: ScanRecord, path: Path) -> None:
    """Write the page: pictures of the result; all words and figures from its record."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["probability"] = probability_words
    text = environment.get_template("report_template.html").render(
        record=record,
        sinuses=[(side, record.sinuses[side]) for side in RADIOLOGICAL if side in record.sinuses],
        next_step=next_step(record),
        files=ScanFiles(Path(), record.scan),
        outlined=all(sinus.cavity_ml is not None for sinus in record.sinuses.values()),
        spacing=" × ".join(f"{mm:.2f}" for mm in record.image.spacing_mm),
        verdicts=VERDICT_WORDS,
        decisions=DECISION_WORDS,
        colors={side: _css_color(facts.color) for side, facts in SINUSES.items()},
        head=_encoded(head_picture(result)),
        sides={side: _encoded(side_picture(result, side)) for side in result.sinuses},
    )
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def _css_color(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
