"""What an adaptation did, for people: Markdown, a page, and a sheet of pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paranasal_training.adapt.learn import AFTER, BEFORE, LearnJob, read_masks
from paranasal_training.adapt.look import Looked, read_crops
from paranasal_training.adapt.outcome import Outcome, SideOutcome, called
from ParanasalSSLLib.files import write_whole_folder
from ParanasalSSLLib.sinuses import probability_words

PAGE, TEXT, SHEET, TABLE = "adaptation.html", "adaptation.md", "adaptation.png", "sides.csv"
COLUMNS = 8  # sides in a row of the sheet
USED, LEFT, DOUBT = "#2e7d32", "#777777", "#c0392b"


@dataclass(frozen=True)
class SizeRow:
    """Painted lesions of one size: how many, and the fraction found; None where there are none."""

    words: str
    sinuses: int
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Report:
    """Everything that page and Markdown say; `of_sides`: words for each side."""

    name: str
    persons: int
    scans: int
    refused: Sequence[Looked]
    outcome: Outcome
    groups: Sequence[Sequence[str]]
    with_donors: bool
    threshold_before: float

    @property
    def used(self) -> list[SideOutcome]:
        """Sides that were learnt from."""
        return [side for side in self.outcome.sides if side.choice.used]

    @property
    def doubtful(self) -> list[SideOutcome]:
        """Sides that were learnt from and should not have been, perhaps."""
        return [side for side in self.used if side.doubtful]

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why sides were not used, the commonest first."""
        return Counter(r for side in self.outcome.sides for r in side.choice.reasons).most_common()

    @property
    def all_called(self) -> tuple[int, int]:
        """Of all sides, called anomalous before and after."""
        return called(self.outcome.sides)

    @property
    def used_called(self) -> tuple[int, int]:
        """Of the sides that were learnt from, likewise."""
        return called(self.used)

    @property
    def clear_samples(self) -> int:
        """Samples of used sinuses as they are, of doubtful ones none."""
        return int(self.outcome.painted[AFTER]["as_they_are_called_clear"]["samples"])

    @property
    def clear_kept(self) -> list[float | None]:
        """Fraction of these that is called clear, before and after."""
        return [
            self.outcome.painted[when]["as_they_are_called_clear"]["fraction"]
            for when in (BEFORE, AFTER)
        ]

    @property
    def sizes(self) -> list[SizeRow]:
        """Painted disease by its volume."""
        before, after = (self.outcome.painted[w]["found"]["volume"] for w in (BEFORE, AFTER))
        return [
            SizeRow(size, row["samples"], row["fraction"], after[size]["fraction"])
            for size, row in before.items()
        ]


def write_report(report: Report, jobs: Sequence[LearnJob], output: Path) -> str:
    """Write page, Markdown, sheet and table to a folder of their own; returns the Markdown."""
    sheet = draw_sheet(report.outcome, jobs)
    text = _render(f"{TEXT}.jinja", report, {}, autoescape=False)
    picture = {"sheet": base64.b64encode(sheet).decode("ascii")}
    page = _render(f"{PAGE}.jinja", report, picture, autoescape=True)
    with write_whole_folder(output, take_over=lambda older, new: None) as new:
        (new / SHEET).write_bytes(sheet)
        (new / TEXT).write_text(text + f"\n![all sides]({SHEET})\n", encoding="utf-8")
        (new / PAGE).write_text(page, encoding="utf-8")
        pd.DataFrame(map(row_of, report.outcome.sides)).to_csv(new / TABLE, index=False)
    return text


def row_of(side: SideOutcome) -> dict[str, object]:
    """A line of the table of all sides."""
    after = {
        "used": side.choice.used,
        "after": round(side.after, 4),
        "called_before": side.called_before,
        "called_after": side.called_after,
        "opacity_ml_after": side.opacity_ml,
        "doubtful": side.doubtful,
        "why_not": " ".join(side.choice.reasons),
    }
    return asdict(side.choice.facts) | after


def _render(template: str, report: Report, more: Mapping[str, str], autoescape: bool) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["probability"] = probability_words
    environment.filters["percent"] = percent
    return environment.get_template(template).render(report=report, **more)


def percent(fraction: float | None) -> str:
    """In words for a table."""
    return "none there" if fraction is None else f"{100 * fraction:.0f} %"


# ---------------------------------------------------------------------------------------- sheet


def draw_sheet(outcome: Outcome, jobs: Sequence[LearnJob]) -> bytes:
    """PNG: an axial plane of every side through the middle of its cavity, as seen afterwards."""
    rows = -(-len(outcome.sides) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 1.9 * rows), layout="tight")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    of_scan = {scan: job for job in jobs for scan in job.scans}
    for side, axis in zip(outcome.sides, axes.flat, strict=False):
        _draw(side, of_scan[side.choice.facts.scan], axis)
    content = io.BytesIO()
    figure.savefig(content, dpi=80, format="png")
    return content.getvalue()


def _draw(side: SideOutcome, job: LearnJob, axis: Axes) -> None:
    facts = side.choice.facts
    image = read_crops(job.looked, facts.scan)[facts.side][0]
    masks = read_masks(job, facts.scan)
    cavity, opacity = (masks[f"{facts.side.value}_{name}"] for name in ("cavity", "opacity"))
    shown = opacity if opacity.any() else cavity
    at = int(np.argwhere(shown)[:, 2].mean()) if shown.any() else image.shape[2] // 2
    axis.imshow(image[:, :, at].T, cmap="gray", origin="lower", vmin=0, vmax=0.9)
    for mask, color in ((cavity, "lime"), (opacity, "red")):
        if mask[:, :, at].any():
            axis.contour(mask[:, :, at].T, [0.5], colors=color, linewidths=0.7)
    color = DOUBT if side.doubtful else USED if side.choice.used else LEFT
    words = "doubtful" if side.doubtful else "used" if side.choice.used else "not used"
    title = (
        f"{facts.key} {facts.modality}\n{words}; "
        f"{probability_words(side.before)} → {probability_words(side.after)}"
    )
    axis.set_title(title, fontsize=6, color=color)
