"""One HTML page that holds a comparison together; it needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from paranasal_training.evaluation.comparison.figures import Picture
from paranasal_training.evaluation.comparison.tables import Table

SIMULATED = "Simulated cohort: sinuses and anomalies are computed, no patient's images are in it."
TEMPLATE = "page.html.jinja"


def make_page(
    *,
    title: str,
    simulated: bool,
    notes: Sequence[str],
    tally: Sequence[str],
    tables: Sequence[Table],
    open_cells: Sequence[str],
    pictures: Mapping[str, Picture],
    kinds: Sequence[Table],
    reading: Sequence[str],
    experiment: Mapping[str, str],
) -> str:
    """The page's text; `pictures` are called shares, paired and reliability."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=title,
        notice=SIMULATED if simulated else "",
        notes=notes,
        tally=tally,
        tables=tables,
        open_cells=open_cells,
        pictures=pictures,
        kinds=kinds,
        reading=reading,
        experiment=experiment,
        svg_address=svg_address,
    )


def svg_address(picture: Picture) -> str:
    """A picture as the address of an `<img>`."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture.svg).decode("ascii")
