"""One HTML page that holds a comparison together; it needs no other file and no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from string import Template

from paranasal_training.evaluation.comparison.figures import Picture
from paranasal_training.evaluation.comparison.tables import Table

SIMULATED = "Simulated cohort: sinuses and anomalies are computed, no patient's images are in it."
_TEMPLATE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { --ink: #1d2733; --soft: #5b6875; --line: #d9dfe5; --accent: #17607d; }
  body { font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
         color: var(--ink); background: #fff; max-width: 80rem; margin: 0 auto; padding: 1.5rem; }
  h1 { font-size: 1.5rem; margin: 0; }
  h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; color: var(--accent); }
  p, ul, dl { max-width: 52rem; }
  .soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
  .notice { border-left: 4px solid #b3541e; background: #fdf4ec; padding: .6rem .9rem; margin: 1rem 0; }
  .wide { overflow-x: auto; margin: 1rem 0 1.6rem; }
  table { border-collapse: collapse; font-size: .78rem; font-variant-numeric: tabular-nums; }
  caption { text-align: left; padding-bottom: .3rem; }
  th, td { padding: .3rem .4rem; border-bottom: 1px solid var(--line); white-space: nowrap;
           text-align: left; }
  thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
  tbody th { font-weight: 500; }
  tr.chosen { background: #eaf3f7; }
  tr.chosen th { font-weight: 700; color: var(--accent); }
  figure { margin: 1rem 0; }
  figure img { max-width: 100%; height: auto; display: block; }
  dt { font-weight: 600; }
  dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
  @media print { body { max-width: none; padding: 0; font-size: 10pt; }
                 figure, .wide, .notice { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
$notice
$notes
<h2>In short</h2>
$tally
<h2>Results</h2>
$tables
$open
<h2>Against the share of labels</h2>
$shares
<h2>Paired differences</h2>
$paired
<h2>Are the probabilities right?</h2>
$reliability
$kinds
<h2>How to read this</h2>
$reading
<h2>What was run</h2>
<dl>$experiment</dl>
</body>
</html>
""")


def make_page(
    *,
    title: str,
    simulated: bool,
    notes: Iterable[str],
    tally: Iterable[str],
    tables: Iterable[Table],
    open_cells: Iterable[str],
    pictures: Mapping[str, Picture],
    kinds: Iterable[Table],
    reading: Iterable[str],
    experiment: Mapping[str, str],
) -> str:
    """The page's text; `pictures` are called shares, paired and reliability."""
    kind_tables = "\n".join(table.html() for table in kinds)
    open_list = _list(open_cells)
    return _TEMPLATE.substitute(
        title=html.escape(title),
        notice=f'<div class="notice">{html.escape(SIMULATED)}</div>' if simulated else "",
        notes=_paragraphs(notes),
        tally=_list(tally) or "<p>There is nothing to compare.</p>",
        tables="\n".join(table.html() for table in tables),
        open=f"<p>Cells that are open, and why:</p>\n{open_list}" if open_list else "",
        kinds=f"<h2>Which lesions are found</h2>\n{kind_tables}" if kind_tables else "",
        reading=_paragraphs(reading),
        experiment="\n".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
            for name, value in experiment.items()
        ),
        **{name: _figure(picture) for name, picture in pictures.items()},
    )


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _figure(picture: Picture) -> str:
    words = html.escape(picture.words)
    data = base64.b64encode(picture.svg).decode("ascii")
    return (
        f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{data}">\n'
        f"<figcaption>{words}</figcaption></figure>"
    )
